//! The contents of a file, and the trait that every format implements.

use std::io;

use domain::{Kind, filter::Filter, kinds::KINDS};
use serde_json::Value;

/// A part of a person's data that a file may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The date and version of the file, and the person's address.
    Metadata,
    User,
    /// The request for this export, with its filters.
    Request,
    /// The person's settings for learning words, in the shape of requirement 334; at most one.
    Settings,
    /// The words that the person learns, in the shape of requirement 335.
    Wordbook,
    /// The living records of the kind with this name.
    Records(String),
    /// Decisions on purposes, with the notices that the person saw.
    Consents,
    /// How long each kind of record is kept.
    Retention,
    /// Whether processing is restricted, a deletion is under way, or a legal hold stands.
    Switches,
    Requests,
    /// The person's own events in the log.
    Events,
}

impl Part {
    /// Whether the part has at most one item, and is not a list.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Metadata | Self::User | Self::Request | Self::Settings | Self::Switches)
    }

    pub fn is_records(&self) -> bool {
        matches!(self, Self::Records(_))
    }
}

/// A section of a file: a member of the JSON document, or a file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// `records.work_day` is the member `work_day` inside `records`.
    pub name: String,
    /// The parts that the section is written from, in order.
    pub parts: Vec<Part>,
}

impl Section {
    pub(crate) fn new(name: impl Into<String>, parts: impl Into<Vec<Part>>) -> Self {
        Self { name: name.into(), parts: parts.into() }
    }
}

/// The contents of one file, chosen by a filter.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The names of the kinds of records in the file.
    pub kinds: Vec<String>,
    /// Whether the file also holds consents, switches, requests and the log. False when the filter chooses only some
    /// records.
    pub whole: bool,
}

impl Contents {
    /// The contents that a filter chooses. Every kind that the filter may match has its section, even when it is empty.
    /// `present` adds kinds that the person has records of and this version does not know.
    pub fn of(filter: &Filter, present: impl IntoIterator<Item = String>) -> Self {
        let meant = KINDS.iter().filter(|kind| filter.may_match(kind)).map(|kind| kind.name().to_owned());
        let mut kinds: Vec<String> = meant.collect();
        kinds.extend(present.into_iter().filter(|name| !KINDS.iter().any(|kind| kind.name() == name)));
        Self { kinds, whole: filter.is_empty() }
    }

    pub(crate) fn holds(&self, kind: &Kind) -> bool {
        self.kinds.iter().any(|name| name == kind.name())
    }
}

/// A format of files. A new format needs a file in this folder and a line in `format_of`.
pub trait Format: Send {
    /// The end of the file's name, without the dot.
    fn extension(&self) -> &'static str;
    /// The sections, in the order in which they are written.
    fn sections(&self, contents: &Contents) -> Vec<Section>;
    fn begin(&mut self, section: &Section) -> io::Result<()>;
    /// Writes one item of a part into the section.
    fn item(&mut self, part: &Part, item: &Value) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
    /// Ends the file with counts and hashes of its sections. `prove` returns the proof for a SHA-256.
    fn finish(&mut self, prove: &(dyn Fn(&[u8]) -> io::Result<Value> + Sync)) -> io::Result<()>;
    /// Takes the bytes that were written since the last call.
    fn take(&mut self) -> Vec<u8>;
}
