//! Kinds: what a record may be. Everything that handles records is written once and asks the kind for the rest.
//!
//! A kind whose rules are Rust is a [`Shape`]; [`KINDS`] is the only list of them. A new one needs a file here and a line in
//! that list: no table, policy, projection or command.

mod contact;
mod work_day;
mod work_profile;

use std::marker::PhantomData;

use chrono::NaiveDate;
use context::Personal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use contact::{CONTACT, Contact, normalise_address};
pub use work_day::{WORK_DAY, WorkDay};
pub use work_profile::{WORK_PROFILE, WorkProfile};

use crate::{Fault, consent::Purpose};

/// What a record says: one JSON object, in clear text.
pub type Body = Personal<Value>;

/// What the rest of the system asks of a kind of record.
pub trait Kind: Sync {
    /// The kind's name, in the log, the register and exports.
    fn name(&self) -> &'static str;
    /// What it is, in plain words.
    fn title(&self) -> &'static str;
    /// The purpose whose consent a submission needs, if any.
    fn purpose(&self) -> Option<Purpose>;
    /// Days for which a record is kept after its last change, where the person sets no other; none: as long as the account.
    fn retention_days(&self) -> Option<u32>;
    /// Whether a guest may have one evaluated without storing it.
    fn for_guests(&self) -> bool;
    /// Everything that is wrong with a body, on a day (`today`, where the person is).
    fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault>;
    /// What makes one record of a person the same as another: submitting it again amends.
    fn natural_key(&self, body: &Body) -> String;
    /// The field that the natural key is made of; empty where a person has one record only.
    fn key_field(&self) -> &'static str;
    /// The day it is about, for kinds with days.
    fn date(&self, body: &Body) -> Option<NaiveDate>;
}

/// All kinds.
pub const KINDS: &[&dyn Kind] = &[CONTACT, WORK_PROFILE, WORK_DAY];

/// The kind of a name.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

/// A kind whose bodies are a Rust type.
pub trait Shape: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// See [`Kind::name`].
    const NAME: &'static str;
    /// See [`Kind::title`].
    const TITLE: &'static str;
    /// See [`Kind::purpose`].
    const PURPOSE: Option<Purpose> = None;
    /// See [`Kind::retention_days`].
    const RETENTION_DAYS: Option<u32> = None;
    /// See [`Kind::for_guests`].
    const FOR_GUESTS: bool = false;

    /// See [`Kind::key_field`].
    const KEY_FIELD: &'static str = "";

    /// See [`Kind::faults`].
    fn faults(&self, today: NaiveDate) -> Vec<Fault>;
    /// See [`Kind::natural_key`].
    fn natural_key(&self) -> String;
    /// See [`Kind::date`].
    fn date(&self) -> Option<NaiveDate> {
        None
    }

    /// As the body of a record.
    fn to_body(&self) -> Body {
        Personal::new(serde_json::to_value(self).expect("a shape can be written as JSON"))
    }

    /// From the body of a record; none where it has another shape.
    fn from_body(body: &Body) -> Option<Self> {
        serde_json::from_value(body.reveal().clone()).ok()
    }
}

/// A [`Shape`] as a [`Kind`].
pub struct Shaped<S>(PhantomData<fn() -> S>);

impl<S> Shaped<S> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S: Shape> Kind for Shaped<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn title(&self) -> &'static str {
        S::TITLE
    }
    fn purpose(&self) -> Option<Purpose> {
        S::PURPOSE
    }
    fn retention_days(&self) -> Option<u32> {
        S::RETENTION_DAYS
    }
    fn for_guests(&self) -> bool {
        S::FOR_GUESTS
    }
    fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault> {
        S::from_body(body)
            .map_or_else(|| vec![Fault::new("body", "does not have the shape of its kind")], |s| s.faults(today))
    }
    fn natural_key(&self, body: &Body) -> String {
        S::from_body(body).map(|shape| shape.natural_key()).unwrap_or_default()
    }
    fn key_field(&self) -> &'static str {
        S::KEY_FIELD
    }
    fn date(&self, body: &Body) -> Option<NaiveDate> {
        S::from_body(body)?.date()
    }
}
