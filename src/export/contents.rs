//! What a file holds, and what every format must be able to write.

use std::io;

use domain::{Kind, filter::Filter, kinds::KINDS};
use serde_json::Value;

/// Something of a person that a file may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// When the file was made, its version, and whose it is.
    Metadata,
    /// The account.
    User,
    /// What was asked for.
    Request,
    /// How the person learns words, in the shape of requirement 334; one, or none.
    Settings,
    /// The words that the person learns, in the shape of requirement 335.
    Wordbook,
    /// The living records of a kind.
    Records(String),
    /// Decisions on purposes, with the notices they were made on.
    Consents,
    /// How long each kind is kept.
    Retention,
    /// Restriction, deletion under way, legal hold.
    Switches,
    /// Requests to delete and to export.
    Requests,
    /// The person's own entries of the log.
    Events,
}

impl Part {
    /// Whether there is one of it, and no list.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Metadata | Self::User | Self::Request | Self::Settings | Self::Switches)
    }

    /// Whether it is records of a kind, in their own shape.
    pub fn is_records(&self) -> bool {
        matches!(self, Self::Records(_))
    }
}

/// A section of a file: one member of a document, or one file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name; `records.work_day` is `work_day` inside `records`.
    pub name: String,
    /// What it is made of, in order.
    pub parts: Vec<Part>,
}

impl Section {
    pub(crate) fn new(name: impl Into<String>, parts: impl Into<Vec<Part>>) -> Self {
        Self { name: name.into(), parts: parts.into() }
    }
}

/// What a file is to hold.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The kinds of records.
    pub kinds: Vec<String>,
    /// Whether consents, switches, requests and the log are in it: not where only some records are meant.
    pub whole: bool,
}

impl Contents {
    /// What a filter means. Every kind that may be meant has its section, though it be empty.
    pub fn of(filter: &Filter, present: impl IntoIterator<Item = String>) -> Self {
        let meant = KINDS.iter().filter(|kind| filter.may_mean(kind)).map(|kind| kind.name().to_owned());
        let mut kinds: Vec<String> = meant.collect();
        kinds.extend(present.into_iter().filter(|name| !KINDS.iter().any(|kind| kind.name() == name)));
        Self { kinds, whole: filter.is_empty() }
    }

    pub(crate) fn holds(&self, kind: &Kind) -> bool {
        self.kinds.iter().any(|name| name == kind.name())
    }
}

/// A form of files. A further one is a file here and a line in `format_of`.
pub trait Format: Send {
    /// The media type.
    fn media_type(&self) -> &'static str;
    /// The end of a file's name.
    fn extension(&self) -> &'static str;
    /// The sections, in the order in which they are written.
    fn sections(&self, contents: &Contents) -> Vec<Section>;
    /// Begins a section.
    fn begin(&mut self, section: &Section) -> io::Result<()>;
    /// Writes one thing of a part.
    fn item(&mut self, part: &Part, item: &Value) -> io::Result<()>;
    /// Ends the section.
    fn end(&mut self) -> io::Result<()>;
    /// Ends the file: what it holds, with counts and hashes. `prove` makes a proof of a SHA-256.
    fn finish(&mut self, prove: &(dyn Fn(&[u8]) -> io::Result<Value> + Sync)) -> io::Result<()>;
    /// Takes what has been written since the last call.
    fn take(&mut self) -> Vec<u8>;
}
