//! What a kind of record says of itself, and the rules by which its bodies are read.

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::Value;

use crate::{
    Fault,
    kinds::{body::Body, shape::Shape, shape_rules::ShapeRules},
    rights::consent::Purpose,
};

/// A kind of record: what the rest of the system asks of one. Everything that handles records is written once and asks a value of
/// this type, so that no caller knows the Rust type behind it.
pub struct Kind {
    name: &'static str,
    title: &'static str,
    purpose: Option<Purpose>,
    retention_days: Option<u32>,
    for_guests: bool,
    open_to_clients: bool,
    is_dated: bool,
    is_session: bool,
    key_field: &'static str,
    rules: ShapeRules,
}

impl Kind {
    /// The kind that a Rust type describes.
    pub const fn of_shape<S: Shape>() -> Self {
        Self {
            name: S::NAME,
            title: S::TITLE,
            purpose: S::PURPOSE,
            retention_days: S::RETENTION_DAYS,
            for_guests: S::FOR_GUESTS,
            open_to_clients: S::OPEN_TO_CLIENTS,
            is_dated: S::IS_DATED,
            is_session: S::IS_SESSION,
            key_field: S::KEY_FIELD,
            rules: ShapeRules::of::<S>(),
        }
    }

    /// The kind's name, in the log, the register and exports.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, in plain words.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The purpose whose consent a submission needs; `None` if the account itself needs the record.
    pub fn purpose(&self) -> Option<Purpose> {
        self.purpose
    }

    /// Days for which a record is kept after its last change, unless the person sets others; `None`: as long as the account.
    pub fn retention_days(&self) -> Option<u32> {
        self.retention_days
    }

    /// Whether a guest may have one evaluated without storing it.
    pub fn for_guests(&self) -> bool {
        self.for_guests
    }

    /// Whether clients submit, see and remove it like any other record; otherwise the server alone keeps it.
    pub fn open_to_clients(&self) -> bool {
        self.open_to_clients
    }

    /// Whether its records have a date.
    pub fn is_dated(&self) -> bool {
        self.is_dated
    }

    /// Whether one record is one session of a test: requests for sessions only mean these.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// The field that the natural key is made of; empty if a person has one record only.
    pub fn key_field(&self) -> &'static str {
        self.key_field
    }

    /// A sound body, to learn the form from.
    pub fn example(&self) -> Body {
        (self.rules.example)()
    }

    /// The same body as it is stored: two that say the same become one. A body that is not sound stays as it is.
    pub fn normal(&self, body: Body) -> Body {
        (self.rules.normal)(body)
    }

    /// Everything that is wrong with a body, on a day (`today`, where the person is).
    pub fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault> {
        (self.rules.faults)(body, today)
    }

    /// What makes one record of a person the same as another: submitting it again amends.
    pub fn natural_key(&self, body: &Body) -> String {
        (self.rules.natural_key)(body)
    }

    /// The day it is about, for kinds with days; of a moment its day in UTC. By it records are filed in quarters.
    pub fn date(&self, body: &Body) -> Option<NaiveDate> {
        (self.rules.date)(body)
    }

    /// The day it is about, as a calendar in a time zone has it: a moment falls on another day in another zone.
    pub fn day(&self, body: &Body, zone: Tz) -> Option<NaiveDate> {
        (self.rules.day)(body, zone)
    }

    /// The type of test it is a result of, for kinds that are results of tests.
    pub fn test_type(&self, body: &Body) -> Option<String> {
        (self.rules.test_type)(body)
    }

    /// What a sound body means, for kinds that can be evaluated. Computed from the body alone.
    pub fn evaluate(&self, body: &Body) -> Option<Value> {
        (self.rules.evaluate)(body)
    }
}
