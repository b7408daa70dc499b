//! The newest section of `CHANGELOG.md`, and what its bullets name.

use std::collections::BTreeSet;

use super::change::Place;

/// A section and the code spans of each of its bullets.
pub struct Section<'a> {
    pub title: &'a str,
    bullets: Vec<BTreeSet<String>>,
}

impl<'a> Section<'a> {
    /// The first section of the second level.
    pub fn newest(text: &'a str) -> Self {
        let (title, rest) =
            text.split_once("\n## ").and_then(|(_, rest)| rest.split_once('\n')).unwrap_or(("no section", ""));
        let body = rest.split("\n## ").next().unwrap_or_default();
        let bullets = body.split("\n- ").skip(1).map(|bullet| {
            // A span that is broken over two lines is one span.
            let bullet = bullet.split("\n\n").next().unwrap_or_default();
            let spans = bullet.split('`').skip(1).step_by(2);
            spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        });
        Self { title: title.trim(), bullets: bullets.collect() }
    }

    /// Whether one bullet names a place: both the operation or schema and, if only a part of it changed, that part.
    pub fn names(&self, place: &Place) -> bool {
        self.bullets.iter().any(|spans| {
            let whole = spans.contains(&place.name) || place.alias.iter().any(|alias| spans.contains(alias));
            let Some(part) = &place.part else { return whole };
            whole && spans.contains(part) || spans.contains(&format!("{}.{part}", place.name))
        })
    }
}
