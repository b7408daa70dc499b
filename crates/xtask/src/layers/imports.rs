//! The imports of the repository: each `use`, and each path in the code, that leads from one file to another.
//!
//! Paths count in types, expressions and patterns, and in the arguments of macros and attributes. Comments,
//! documentation and text in quotes do not count, and neither does code that only tests have.

use std::collections::BTreeSet;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, VisRestricted, Visibility,
    ext::IdentExt,
    visit::{self, Visit},
};

use crate::layers::{
    resolve::Target,
    tree::{FileId, ModuleId, Tree, attributes, is_for_tests},
    use_tree::{CRATES, leaves},
};

/// An import, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: FileId,
    pub line: usize,
    /// The path as it is written, with groups spread out.
    pub path: String,
    pub to: FileId,
    /// Whether a `use` in the same module binds the first name of the path, so that the `use` counts already.
    is_by_use: bool,
    /// Whether it is a `pub use`, which gives a name and uses nothing. It must keep to the layers, but is no part of a
    /// circle.
    pub is_re_export: bool,
}

/// All imports. A path that begins with an imported name counts once, and only if no other import leads to its file.
pub fn of(tree: &Tree) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for (module, it) in tree.modules.iter().enumerate() {
        let mut finder = Finder { tree, module, found: &mut found };
        it.items.iter().for_each(|item| finder.visit_item(item));
    }
    let mut known: BTreeSet<(FileId, FileId)> =
        found.iter().filter(|import| !import.is_by_use).map(|import| (import.from, import.to)).collect();
    found.into_iter().filter(|import| !import.is_by_use || known.insert((import.from, import.to))).collect()
}

struct Finder<'t> {
    tree: &'t Tree,
    module: ModuleId,
    found: &'t mut BTreeSet<Import>,
}

impl Finder<'_> {
    /// Notes a path of the code. A single name counts if `use path::*` brings it in.
    fn note_path(&mut self, path: &[String], line: usize) {
        let Some(first) = path.first() else { return };
        if path.len() == 1 {
            self.note(&self.tree.resolve_by_glob(self.module, first), first.clone(), line, false, false);
        } else {
            let is_by_use = self.tree.is_imported(self.module, first);
            self.note(&self.tree.resolve(self.module, path), written(path), line, is_by_use, false);
        }
    }

    fn note(&mut self, places: &[Target], path: String, line: usize, is_by_use: bool, is_re_export: bool) {
        let from = self.tree.modules[self.module].file;
        for to in places.iter().map(|place| self.tree.file_of(*place)).filter(|to| *to != from) {
            self.found.insert(Import { from, line, path: path.clone(), to, is_by_use, is_re_export });
        }
    }

    /// Notes the paths among tokens that are not parsed: `name`, `name::name`, `::name::name`, `$crate::name`.
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(it)) if it.as_char() == sign);
        let is_joint = |at: usize| matches!(&tokens[at], TokenTree::Punct(it) if it.spacing() == Spacing::Joint);
        let is_colons = |at: usize| is(at, ':') && is_joint(at) && is(at + 1, ':');
        let mut at = 0;
        while at < tokens.len() {
            let begins = at;
            let mut path = Vec::new();
            if is_colons(at) && !(begins > 0 && is(begins - 1, '>')) {
                path.push(CRATES.to_owned());
                at += 2;
            }
            while let Some(TokenTree::Ident(name)) = tokens.get(at) {
                path.push(name.unraw().to_string());
                at += 1;
                if !(is_colons(at) && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)))) {
                    break;
                }
                at += 2;
            }
            if at == begins {
                if let TokenTree::Group(group) = &tokens[at] {
                    self.scan(group.stream());
                }
                at += 1;
                continue;
            }
            // `.name` is a field or a method; `$name` is a parameter of a macro.
            let is_part = begins > 0 && (is(begins - 1, '.') || is(begins - 1, '$') && path[0] != "crate");
            if !is_part {
                self.note_path(&path, tokens[begins].span().start().line);
            }
        }
    }
}

impl Visit<'_> for Finder<'_> {
    fn visit_item(&mut self, item: &Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        let is_test = matches!(item, ImplItem::Fn(item) if is_for_tests(&item.attrs));
        if !is_test {
            visit::visit_impl_item(self, item);
        }
    }

    /// Modules are visited on their own; modules within functions are not known.
    fn visit_item_mod(&mut self, _: &ItemMod) {}

    fn visit_item_use(&mut self, item: &ItemUse) {
        let is_re_export = !matches!(item.vis, Visibility::Inherited);
        for leaf in leaves(item) {
            let end = if leaf.is_glob { "::*" } else { "" };
            let places = self.tree.resolve(self.module, &leaf.path);
            self.note(&places, format!("{}{end}", written(&leaf.path)), leaf.line, false, is_re_export);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let mut names: Vec<String> = path.leading_colon.iter().map(|_| CRATES.to_owned()).collect();
        names.extend(path.segments.iter().map(|segment| segment.ident.unraw().to_string()));
        if let Some(first) = path.segments.first() {
            self.note_path(&names, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    /// `pub(in path)` imports nothing.
    fn visit_vis_restricted(&mut self, _: &VisRestricted) {}
}

fn written(path: &[String]) -> String {
    match path.split_first() {
        Some((first, rest)) if first == CRATES => format!("::{}", rest.join("::")),
        _ => path.join("::"),
    }
}
