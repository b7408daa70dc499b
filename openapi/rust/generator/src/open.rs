//! Opens enumerations, because the server may gain members of them at any time (`docs/versions.md`): a text that this
//! client does not know becomes `Newer` instead of an error.

use syn::{Expr, Fields, File, ImplItem, Item, ItemEnum, ItemImpl, Stmt, Type, parse_quote};

/// Adds `Newer` to every enumeration of texts in `mod types`.
///
/// # Panics
/// Panics if an enumeration has a member of that name.
pub fn open(file: &mut File) {
    let types = file.items.iter_mut().find_map(|item| match item {
        Item::Mod(module) if module.ident == "types" => module.content.as_mut(),
        _ => None,
    });
    let (_, items) = types.expect("the client has a module of types");
    let mut opened = Vec::new();
    for item in items.iter_mut() {
        if let Item::Enum(choice) = item
            && is_of_texts(choice)
        {
            choice.variants.push(parse_quote! {
                /// A member that this client does not know yet.
                #[serde(other)]
                Newer
            });
            opened.push(choice.ident.clone());
        }
    }
    for item in items {
        if let Item::Impl(display) = item
            && let Type::Path(path) = &*display.self_ty
            && path.path.get_ident().is_some_and(|name| opened.contains(name))
        {
            show_unknown(display);
        }
    }
}

fn is_of_texts(choice: &ItemEnum) -> bool {
    assert!(choice.variants.iter().all(|variant| variant.ident != "Newer"), "{} has a member `newer`", choice.ident);
    choice.variants.iter().all(|variant| matches!(variant.fields, Fields::Unit))
}

/// Adds the variant to the `match` of `Display`.
fn show_unknown(implementation: &mut ItemImpl) {
    let is_display = implementation
        .trait_
        .as_ref()
        .and_then(|(path, _)| path.segments.last())
        .is_some_and(|name| name.ident == "Display");
    for item in implementation.items.iter_mut().filter(|_| is_display) {
        if let ImplItem::Fn(function) = item
            && let Some(Stmt::Expr(Expr::Match(choice), _)) = function.block.stmts.last_mut()
        {
            choice.arms.push(parse_quote! { Self::Newer => f.write_str("newer"), });
        }
    }
}
