//! The modules of all crates, as their `mod` items declare them, with the names that each one binds.
//!
//! Code under `#[cfg(test)]` is left out, and so are the files that it declares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{Attribute, Item, ItemMod, Meta, Token, ext::IdentExt, punctuated::Punctuated};

use crate::layers::use_tree::{Leaf, leaves};

pub type FileId = usize;
pub type ModuleId = usize;

/// All modules of the repository.
#[derive(Default)]
pub struct Tree {
    pub files: Vec<File>,
    pub modules: Vec<Module>,
    /// The root module of each library, by the crate's name.
    pub libraries: BTreeMap<String, ModuleId>,
    /// Files that cannot be read as Rust or that no module declares, in words.
    pub faults: Vec<String>,
    /// Files, and folders with a `/` at the end, that only tests declare.
    left_out: BTreeSet<String>,
}

/// A file that was read.
pub struct File {
    /// Its path from the root of the repository.
    pub path: String,
    /// Whether the file holds nothing but `mod` and `use`, so that it stands for the files behind it.
    pub is_facade: bool,
}

/// A module: a file, or a block `mod name { … }` in one.
pub struct Module {
    pub file: FileId,
    pub parent: Option<ModuleId>,
    pub root: ModuleId,
    /// Its items without those of tests and without modules.
    pub items: Vec<Item>,
    /// Everything that a name stands for here. A module and a function may have the same name.
    pub names: BTreeMap<String, Vec<Binding>>,
    /// The paths of `use path::*`.
    pub globs: Vec<Vec<String>>,
}

/// Where a name comes from.
pub enum Binding {
    /// A module that is declared here.
    Module(ModuleId),
    /// An item that is defined here.
    Item,
    /// A `use` of this path.
    Use(Vec<String>),
}

/// Where to look for the files of a module's children: a folder from the root of the repository, with a `/` at the end.
type Folder = String;

impl Tree {
    /// Reads the server, `domain`, `projections` and `crates/*`.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        let mut packages = vec![("lethe".to_owned(), "src/".to_owned())];
        packages.extend(["domain", "projections"].map(|name| (name.to_owned(), format!("{name}/"))));
        let names = entries(root, "crates/")?;
        packages.extend(names.into_iter().map(|name| (name.replace('-', "_"), format!("crates/{name}/src/"))));
        for (name, folder) in packages {
            let found = rust_files(root, &folder)?;
            for path in found.iter().filter(|path| is_root(&folder, path)) {
                let module = tree.add_file(root, path, folder.clone(), None);
                if **path == format!("{folder}lib.rs") {
                    tree.libraries.insert(name.clone(), module);
                }
            }
            tree.find_undeclared(&found);
        }
        Ok(tree)
    }

    fn find_undeclared(&mut self, found: &[String]) {
        let read: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let is_test = |path: &str| {
            self.left_out.iter().any(|it| path == it || it.ends_with('/') && path.starts_with(it.as_str()))
        };
        let lost = found.iter().filter(|path| !read.contains(path.as_str()) && !is_test(path));
        let faults: Vec<String> = lost.map(|path| format!("{path}: no module declares this file")).collect();
        self.faults.extend(faults);
    }

    /// Reads a file with all modules that it declares. A file that is not Rust becomes a module without items.
    fn add_file(&mut self, root: &Path, path: &str, folder: Folder, parent: Option<ModuleId>) -> ModuleId {
        let text = fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"));
        let parsed = text.and_then(|text| {
            syn::parse_file(&text).map_err(|error| format!("{path}:{}: {error}", error.span().start().line))
        });
        let items = parsed.map(|file| file.items).unwrap_or_else(|fault| {
            self.faults.push(fault);
            Vec::new()
        });
        let is_facade =
            items.iter().all(|item| matches!(item, Item::Mod(_) | Item::Use(_)) || is_for_tests(attributes(item)));
        self.files.push(File { path: path.to_owned(), is_facade });
        self.add_module(root, self.files.len() - 1, folder, parent, items)
    }

    fn add_module(
        &mut self,
        root: &Path,
        file: FileId,
        folder: Folder,
        parent: Option<ModuleId>,
        items: Vec<Item>,
    ) -> ModuleId {
        let id = self.modules.len();
        let top = parent.map_or(id, |parent| self.modules[parent].root);
        let module = Module { file, parent, root: top, items: vec![], names: BTreeMap::new(), globs: vec![] };
        self.modules.push(module);
        for item in items {
            match item {
                Item::Mod(declared) => self.add_child(root, id, &folder, declared),
                item if is_for_tests(attributes(&item)) => {}
                item => self.modules[id].add(item),
            }
        }
        id
    }

    fn add_child(&mut self, root: &Path, parent: ModuleId, folder: &str, declared: ItemMod) {
        let name = declared.ident.unraw().to_string();
        let (below, file) = (format!("{folder}{name}/"), self.modules[parent].file);
        let places = [format!("{folder}{name}.rs"), format!("{below}mod.rs")];
        if is_for_tests(&declared.attrs) {
            self.left_out.extend(places.into_iter().chain([below]));
            return;
        }
        let child = if let Some((_, items)) = declared.content {
            // A block of code makes its file more than a facade.
            self.files[file].is_facade = false;
            self.add_module(root, file, below, Some(parent), items)
        } else if let Some(path) = places.iter().find(|path| root.join(path).is_file()) {
            self.add_file(root, path, below, Some(parent))
        } else {
            let (path, line) = (&self.files[file].path, declared.ident.span().start().line);
            self.faults.push(format!("{path}:{line}: there is no file for `mod {name}`"));
            return;
        };
        self.modules[parent].names.entry(name).or_default().push(Binding::Module(child));
    }
}

impl Module {
    fn add(&mut self, item: Item) {
        if let Item::Use(item) = &item {
            for Leaf { path, name, is_glob, .. } in leaves(item) {
                match name {
                    Some(name) => self.names.entry(name).or_default().push(Binding::Use(path)),
                    None if is_glob => self.globs.push(path),
                    None => {}
                }
            }
        } else if let Some(name) = defined(&item) {
            self.names.entry(name.unraw().to_string()).or_default().push(Binding::Item);
        }
        self.items.push(item);
    }
}

/// Whether a file is the root of a crate.
fn is_root(folder: &str, path: &str) -> bool {
    let rest = &path[folder.len()..];
    matches!(rest, "lib.rs" | "main.rs")
}

/// All Rust files below a folder of a package, without its tests and its build script, in order.
fn rust_files(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(within) = folders.pop() {
        for name in entries(root, &within)? {
            let path = format!("{within}{name}");
            if root.join(&path).is_dir() {
                folders.push(format!("{path}/"));
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    let is_apart = |path: &str| path.starts_with("tests/") || path == "build.rs";
    files.retain(|path| !is_apart(&path[folder.len()..]));
    files.sort();
    Ok(files)
}

/// The names in a folder, in order; none if there is no such folder.
fn entries(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let path = root.join(folder);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let fault = |error: std::io::Error| format!("{}: {error}", path.display());
    let found: Result<Vec<_>, _> = fs::read_dir(&path).map_err(fault)?.collect();
    let mut names: Vec<String> =
        found.map_err(fault)?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The name that an item defines.
fn defined(item: &Item) -> Option<&syn::Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The attributes of an item.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether one of the attributes is `#[cfg(test)]`, or `#[cfg(all(test, …))]`.
pub fn is_for_tests(attributes: &[Attribute]) -> bool {
    fn names_test(meta: &Meta) -> bool {
        match meta {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(list) if list.path.is_ident("all") => list
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .is_ok_and(|all| all.iter().any(names_test)),
            _ => false,
        }
    }
    let is_cfg = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    is_cfg.filter_map(|attribute| attribute.parse_args().ok()).any(|meta: Meta| names_test(&meta))
}
