//! The records of a JSON document of ours, page by page, in flat memory. The document carries our proof, so it has the
//! form in which `json.rs` writes it: `exportMetadata` comes first, and every value is an object or a list.

use std::{
    io::{self, BufRead, Read, Take},
    sync::Arc,
};

use context::Personal;
use domain::Body;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::export::{
    page::{Metadata, PAGE, Page},
    spool::{Spool, SpoolReader},
};

pub struct JsonPages {
    text: Take<SpoolReader>,
    place: Place,
}

/// How far the text has been read.
enum Place {
    /// Among the members of the document, before `records`.
    Members,
    /// Among the kinds of `records`.
    Kinds,
    /// Among the records of a kind, of which so many were read.
    Records(String, usize),
    End,
}

impl JsonPages {
    /// Reads the metadata. The text ends where the proof begins.
    pub fn open(spool: &Arc<Spool>, length: u64) -> io::Result<(Metadata, Self)> {
        let mut pages = Self { text: spool.reader(0).take(length), place: Place::Members };
        pages.demand(b'{')?;
        match pages.name()? {
            Some(name) if name == "exportMetadata" => Ok((pages.value()?, pages)),
            _ => Err(other_form()),
        }
    }

    pub fn next_page(&mut self) -> io::Result<Option<Page>> {
        loop {
            match std::mem::replace(&mut self.place, Place::End) {
                Place::Members => self.place = self.member()?,
                Place::Kinds => {
                    if let Some(kind) = self.name()? {
                        self.demand(b'[')?;
                        self.place = Place::Records(kind, 0);
                    }
                }
                Place::Records(kind, first) => return self.page(kind, first).map(Some),
                Place::End => return Ok(None),
            }
        }
    }

    /// Passes over a member of the document, unless it is `records`.
    fn member(&mut self) -> io::Result<Place> {
        let name = self.name()?.ok_or_else(other_form)?;
        if name == "records" {
            self.demand(b'{')?;
            return Ok(Place::Kinds);
        }
        self.value::<IgnoredAny>()?;
        Ok(Place::Members)
    }

    fn page(&mut self, kind: String, first: usize) -> io::Result<Page> {
        let mut bodies = Vec::new();
        while bodies.len() < PAGE {
            if !self.more(b']')? {
                self.place = Place::Kinds;
                return Ok(Page { kind, first, bodies });
            }
            bodies.push(body_of(self.value()?));
        }
        self.place = Place::Records(kind.clone(), first + bodies.len());
        Ok(Page { kind, first, bodies })
    }

    /// The name of the next member of an object; `None` at the object's end.
    fn name(&mut self) -> io::Result<Option<String>> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        let name = self.value()?;
        self.demand(b':')?;
        Ok(Some(name))
    }

    /// Whether another member or element comes, before the sign that closes their object or list.
    fn more(&mut self, closing: u8) -> io::Result<bool> {
        let next = self.peek()?;
        if [closing, b','].contains(&next) {
            self.text.consume(1);
        }
        Ok(next != closing)
    }

    fn demand(&mut self, sign: u8) -> io::Result<()> {
        if self.peek()? != sign {
            return Err(other_form());
        }
        self.text.consume(1);
        Ok(())
    }

    fn peek(&mut self) -> io::Result<u8> {
        self.text.fill_buf()?.first().copied().ok_or_else(other_form)
    }

    /// Reads an object, a list or a text. All of them end with a sign of their own, so that the reader takes nothing
    /// behind them.
    fn value<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<T> {
        Ok(T::deserialize(&mut serde_json::Deserializer::from_reader(&mut self.text))?)
    }
}

/// The body of a record; `None` if there is none.
pub fn body_of(mut record: Value) -> Option<Body> {
    record.get_mut("body").map(|body| Personal::new(body.take()))
}

fn other_form() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a document with our proof has another form")
}
