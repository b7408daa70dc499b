//! A `use` item, spread out: one leaf for each name that it brings in.

use syn::{ItemUse, UseTree, ext::IdentExt};

/// The first segment of a path that begins with `::`: the next one is the name of a crate.
pub const CRATES: &str = "::";

/// One name, or one `*`, of a `use` item.
pub struct Leaf {
    /// The path; without the `*`.
    pub path: Vec<String>,
    /// The name under which it is known here; `None` for `*` and for `as _`.
    pub name: Option<String>,
    /// Whether it is a `*`.
    pub is_glob: bool,
    /// The line of the last segment.
    pub line: usize,
}

/// All leaves, in the order of the text.
pub fn leaves(item: &ItemUse) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let start = item.leading_colon.iter().map(|_| CRATES.to_owned()).collect();
    spread(&item.tree, start, &mut leaves);
    leaves
}

fn spread(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<Leaf>) {
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.unraw().to_string());
            spread(&part.tree, path, leaves);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| spread(tree, path.clone(), leaves)),
        UseTree::Glob(glob) => {
            let line = glob.star_token.span.start().line;
            leaves.push(Leaf { path, name: None, is_glob: true, line });
        }
        UseTree::Name(name) => leaves.push(leaf(path, &name.ident, None)),
        UseTree::Rename(rename) => leaves.push(leaf(path, &rename.ident, Some(&rename.rename))),
    }
}

/// A leaf with a name. `self` in a group means the path before it.
fn leaf(mut path: Vec<String>, ident: &syn::Ident, rename: Option<&syn::Ident>) -> Leaf {
    if ident != "self" || path.is_empty() {
        path.push(ident.unraw().to_string());
    }
    let name = rename.map_or_else(|| path.last().cloned(), |name| Some(name.unraw().to_string()));
    Leaf { path, name: name.filter(|name| name != "_"), is_glob: false, line: ident.span().start().line }
}
