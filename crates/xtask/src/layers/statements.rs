//! SQL: which layers may hold statements, and that each is named by its first line. A function that makes one statement has the
//! name of the statement, so that a name in PostgreSQL's log leads to the code.
//!
//! A text counts as a statement if it begins with a name (`-- record_list`) or with a verb of SQL, and whatever is given to
//! `Query::new` is one. A statement that is joined of several texts is known by its first.

use std::collections::BTreeMap;

use syn::{
    Expr, ExprCall, ImplItem, Item, ItemMod, Lit, LitStr, Macro, Token,
    punctuated::Punctuated,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::layers::{
    order::Order,
    tree::{FileId, Tree, attributes, is_for_tests},
};

/// What is wrong with the statements of a tree, in words.
pub fn faults(order: &Order, tree: &Tree) -> Vec<String> {
    let (mut faults, mut names) = (Vec::new(), BTreeMap::<String, String>::new());
    let statements = of(tree);
    let mut made = BTreeMap::<(FileId, String), usize>::new();
    for function in statements.iter().filter(|statement| statement.is_query).filter_map(|it| it.function.clone()) {
        *made.entry(function).or_default() += 1;
    }
    let is_alone = |function: &(FileId, String)| made.get(function) == Some(&1);
    for statement in statements {
        let path = &tree.files[statement.file].path;
        let place = format!("{path}:{}", statement.line);
        if let [layer] = order.layers_of(path).as_slice()
            && order.holds_no_statements(layer)
        {
            faults.push(format!(
                "{place}: {layer} must not hold SQL: put the statement into the layer that owns its tables"
            ));
        }
        if !statement.is_query {
            continue;
        }
        match statement.name {
            None => faults.push(format!("{place}: the statement's first line must be its name: `-- record_list`")),
            Some(name) => {
                if let Some(function) = statement.function.filter(|function| is_alone(function) && *function.1 != name)
                {
                    faults.push(format!(
                        "{place}: the function `{}` makes the statement `{name}` and must have its name",
                        function.1
                    ));
                }
                if let Some(other) = names.insert(name.clone(), place.clone()) {
                    faults.push(format!("{place}: the statement at {other} is named `{name}` too"));
                }
            }
        }
    }
    faults
}

struct Statement {
    file: FileId,
    line: usize,
    /// What its first line says.
    name: Option<String>,
    /// Whether it is an argument of `Query::new`.
    is_query: bool,
    /// The free function around it.
    function: Option<(FileId, String)>,
}

fn of(tree: &Tree) -> Vec<Statement> {
    let mut finder = Finder { file: 0, function: None, found: Vec::new() };
    for module in &tree.modules {
        finder.file = module.file;
        module.items.iter().for_each(|item| finder.visit_item(item));
    }
    finder.found
}

/// A text of the code, and where it begins.
struct Text {
    value: String,
    line: usize,
}

impl Text {
    fn of(literal: &LitStr) -> Self {
        Self { value: literal.value(), line: literal.span().start().line }
    }
}

struct Finder {
    file: FileId,
    function: Option<String>,
    found: Vec<Statement>,
}

impl Finder {
    fn note(&mut self, text: &Text, is_query: bool) {
        let function = self.function.clone().map(|name| (self.file, name));
        self.found.push(Statement { file: self.file, line: text.line, name: name_of(&text.value), is_query, function });
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes(item)) {
            return;
        }
        self.function = match item {
            Item::Fn(function) => Some(function.sig.ident.to_string()),
            _ => None,
        };
        visit::visit_item(self, item);
        self.function = None;
    }

    /// Modules are visited on their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !matches!(item, ImplItem::Fn(item) if is_for_tests(&item.attrs)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let is_new = matches!(&*call.func, Expr::Path(path) if ends_with(&path.path, &["Query", "new"]));
        match call.args.first().and_then(first_text) {
            Some(text) if is_new => {
                self.note(&text, true);
                call.args.iter().skip(1).for_each(|argument| self.visit_expr(argument));
            }
            _ => {
                // Wherever its text comes from, it is a statement.
                if is_new {
                    let line = call.func.span().start().line;
                    self.note(&Text { value: String::new(), line }, false);
                }
                visit::visit_expr_call(self, call);
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let Some(text) = text_of_macro(call).filter(|text| is_statement(&text.value)) {
            self.note(&text, false);
        }
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        if is_statement(&text.value()) {
            self.note(&Text::of(text), false);
        }
    }
}

fn ends_with(path: &syn::Path, end: &[&str]) -> bool {
    let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    names.ends_with(&end.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

/// The text that an expression is, or begins with.
fn first_text(expression: &Expr) -> Option<Text> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(Text::of(text)),
            _ => None,
        },
        Expr::Macro(call) => text_of_macro(&call.mac),
        _ => None,
    }
}

fn text_of_macro(call: &Macro) -> Option<Text> {
    let arguments = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated).ok()?;
    arguments.first().and_then(first_text)
}

fn name_of(text: &str) -> Option<String> {
    let name = text.strip_prefix("-- ")?.lines().next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then(|| name.to_owned())
}

fn is_statement(text: &str) -> bool {
    const VERBS: [&str; 5] = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "WITH "];
    name_of(text).is_some_and(|_| text.contains('\n')) || VERBS.iter().any(|verb| text.trim_start().starts_with(verb))
}
