//! A change, what it does to clients, and what it is about.

use std::fmt;

/// What a change does to a client that was written against the old document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// It may fail.
    Breaking,
    /// It gets what the old document did not name. `docs/versions.md` tells clients to expect that.
    Widening,
    /// It notices nothing.
    Compatible,
}

/// Whether a schema is what a client sends or what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Request,
    Answer,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    pub weight: Weight,
    pub place: Place,
    /// What changed there, in words.
    pub text: String,
}

/// What a change is about. A bullet of the changelog has to name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// An operation's id, or the name of a schema.
    pub name: String,
    /// Another name of it: `GET /v1/records/kinds`.
    pub alias: Option<String>,
    /// Whether a schema is meant as part of a request or of an answer.
    pub way: Option<Way>,
    /// The field, parameter, header or status.
    pub part: Option<String>,
}

impl Place {
    pub fn part(&self, part: &str) -> Self {
        Self { part: Some(part.to_owned()), ..self.clone() }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Breaking => "breaking",
            Weight::Widening => "widening",
            Weight::Compatible => "compatible",
        };
        let Place { name, way, part, .. } = &self.place;
        write!(f, "{weight:<10}  {name}")?;
        part.iter().try_for_each(|part| write!(f, ".{part}"))?;
        match way {
            Some(Way::Request) => write!(f, " in requests")?,
            Some(Way::Answer) => write!(f, " in answers")?,
            None => {}
        }
        write!(f, ": {}", self.text)
    }
}
