//! What a path leads to: through modules, `use` and re-exports to the file that defines the item.

use crate::layers::{
    tree::{Binding, FileId, Module, ModuleId, Tree},
    use_tree::CRATES,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Module(ModuleId),
    /// An item, or a part of one, that this file defines.
    Item(FileId),
}

/// Lookups that have not ended.
type Open = Vec<(ModuleId, String)>;

impl Tree {
    /// Everything to which a path in a module leads; nothing if it leads out of the repository.
    ///
    /// A name that the module at hand does not bind counts as defined in it, because a macro may define it.
    pub fn resolve(&self, from: ModuleId, path: &[String]) -> Vec<Target> {
        self.follow(from, path, &mut Open::new())
    }

    /// What a single name means through `use path::*` alone.
    pub fn resolve_by_glob(&self, from: ModuleId, name: &str) -> Vec<Target> {
        if self.modules[from].globs.is_empty() || self.modules[from].names.contains_key(name) {
            return Vec::new();
        }
        self.look_up(from, name, &mut Open::new())
    }

    /// Whether a `use` binds the name in the module.
    pub fn is_imported(&self, module: ModuleId, name: &str) -> bool {
        let bindings = self.modules[module].names.get(name);
        bindings.is_some_and(|bindings| bindings.iter().any(|binding| matches!(binding, Binding::Use(_))))
    }

    pub fn file_of(&self, place: Target) -> FileId {
        match place {
            Target::Module(module) => self.modules[module].file,
            Target::Item(file) => file,
        }
    }

    fn follow(&self, from: ModuleId, path: &[String], open: &mut Open) -> Vec<Target> {
        let Some((first, mut rest)) = path.split_first() else { return Vec::new() };
        let module = &self.modules[from];
        let mut places = match first.as_str() {
            "crate" => vec![Target::Module(module.root)],
            "self" => vec![Target::Module(from)],
            "super" => self.above(from),
            CRATES => {
                let Some((name, after)) = rest.split_first() else { return Vec::new() };
                rest = after;
                self.library(name)
            }
            name => {
                let found = self.look_up(from, name, open);
                if found.is_empty() { self.library(name) } else { found }
            }
        };
        for name in rest {
            // A module comes first: if two things have one name, only the module can be followed by more names.
            let module = places.iter().find_map(|place| match place {
                Target::Module(module) => Some(*module),
                Target::Item(_) => None,
            });
            let Some(module) = module else { break };
            places = match name.as_str() {
                "super" => self.above(module),
                name => self.look_up(module, name, open),
            };
            if places.is_empty() {
                places.push(Target::Item(self.modules[module].file));
            }
        }
        places
    }

    /// Everything that a name stands for in a module. A `use` whose lookup has not ended is not asked again: in
    /// `use run::run` the first name is a module or a crate.
    fn look_up(&self, module: ModuleId, name: &str, open: &mut Open) -> Vec<Target> {
        let step = (module, name.to_owned());
        let is_open = open.contains(&step);
        open.push(step);
        let Module { file, names, globs, .. } = &self.modules[module];
        let mut places = Vec::new();
        for binding in names.get(name).into_iter().flatten() {
            match binding {
                Binding::Module(child) => places.push(Target::Module(*child)),
                Binding::Item => places.push(Target::Item(*file)),
                Binding::Use(_) if is_open => {}
                Binding::Use(path) => match self.follow(module, path, open) {
                    // The path leads out of the repository, so the item counts as defined in the file that re-exports
                    // it.
                    found if found.is_empty() => places.push(Target::Item(*file)),
                    found => places.extend(found),
                },
            }
        }
        if places.is_empty() && !is_open {
            for path in globs {
                for place in self.follow(module, path, open) {
                    if let Target::Module(other) = place {
                        places.extend(self.look_up(other, name, open));
                    }
                }
            }
        }
        open.pop();
        places
    }

    fn library(&self, name: &str) -> Vec<Target> {
        self.libraries.get(name).map(|root| Target::Module(*root)).into_iter().collect()
    }

    fn above(&self, module: ModuleId) -> Vec<Target> {
        self.modules[module].parent.map(Target::Module).into_iter().collect()
    }
}
