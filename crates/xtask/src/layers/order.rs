//! The form of the table of layers.

/// A layer: its name, and the files and folders that it consists of. A folder ends with `/`.
pub struct Layer(pub &'static str, pub &'static [&'static str]);

/// Which layer may import which.
pub struct Order {
    pub layers: &'static [Layer],
    pub apart: &'static [(&'static str, &'static str)],
    pub outside: &'static [Layer],
    pub areas: &'static [&'static str],
    pub without_statements: &'static [&'static str],
}

impl Order {
    /// All layers and outsiders to which a file belongs. A file must belong to exactly one.
    pub fn layers_of(&self, file: &str) -> Vec<&'static str> {
        let holds = |prefix: &str| if prefix.ends_with('/') { file.starts_with(prefix) } else { file == prefix };
        let theirs = self.all().filter(|Layer(_, prefixes)| prefixes.iter().any(|prefix| holds(prefix)));
        theirs.map(|Layer(name, _)| *name).collect()
    }

    /// Whether the order forbids an import from one layer to another. An outsider imports and is imported freely.
    pub fn forbids(&self, from: &str, to: &str) -> bool {
        let row = |name| self.layers.iter().position(|Layer(layer, _)| *layer == name);
        let climbs = row(from).zip(row(to)).is_some_and(|(from, to)| to < from);
        climbs || self.apart.contains(&(from, to)) || self.apart.contains(&(to, from))
    }

    /// Whether a layer must hold no SQL.
    pub fn holds_no_statements(&self, layer: &str) -> bool {
        self.without_statements.contains(&layer)
    }

    /// The row of a layer, or of an outsider, in the table.
    pub fn row(&self, name: &str) -> Option<usize> {
        self.all().position(|Layer(layer, _)| *layer == name)
    }

    fn all(&self) -> impl Iterator<Item = &'static Layer> {
        self.layers.iter().chain(self.outside)
    }
}
