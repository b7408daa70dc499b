//! The properties of a kind of record, and the rules for its bodies.

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::Value;

use crate::{
    Fault,
    kinds::{body::Body, shape::Shape, shape_rules::ShapeRules},
    rights::consent::Purpose,
};

/// A kind of record, as the rest of the system sees it. Code that handles records is written once and asks a value of
/// this type, so that no caller needs to know the Rust type behind the kind.
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

    /// What the kind is, in words for the person.
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The purpose for which the person must consent before submitting; `None` if the account itself needs the record.
    pub fn purpose(&self) -> Option<Purpose> {
        self.purpose
    }

    /// Days for which a record is kept after its last change, unless the person sets another number. `None`: as long as
    /// the account exists.
    pub fn retention_days(&self) -> Option<u32> {
        self.retention_days
    }

    /// Whether a guest may have a body evaluated without storing it.
    pub fn for_guests(&self) -> bool {
        self.for_guests
    }

    /// Whether clients submit, see and remove records of this kind. Otherwise only the server itself writes them.
    pub fn open_to_clients(&self) -> bool {
        self.open_to_clients
    }

    pub fn is_dated(&self) -> bool {
        self.is_dated
    }

    /// Whether one record is one session of a test. Requests for sessions only mean records of such kinds.
    pub fn is_session(&self) -> bool {
        self.is_session
    }

    /// The field that the natural key is made of; empty if a person has only one record of the kind.
    pub fn key_field(&self) -> &'static str {
        self.key_field
    }

    /// A valid body, from which clients can learn the form.
    pub fn example(&self) -> Body {
        (self.rules.example)()
    }

    /// The body as it is stored: two bodies that mean the same become equal. A body that is not valid stays as it is.
    pub fn normal(&self, body: Body) -> Body {
        (self.rules.normal)(body)
    }

    /// All faults of a body. `today` is the date where the person is.
    pub fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault> {
        (self.rules.faults)(body, today)
    }

    /// The natural key of a record. A second submission with the same key amends the first record.
    pub fn natural_key(&self, body: &Body) -> String {
        (self.rules.natural_key)(body)
    }

    /// The day that the record is about, for kinds with days; of a moment, its day in UTC. Records are filed in
    /// quarters by this day.
    pub fn date(&self, body: &Body) -> Option<NaiveDate> {
        (self.rules.date)(body)
    }

    /// The day that the record is about, in the calendar of a time zone: a moment lies on different days in different
    /// zones.
    pub fn day(&self, body: &Body, zone: Tz) -> Option<NaiveDate> {
        (self.rules.day)(body, zone)
    }

    /// The type of the test, for kinds that hold results of tests.
    pub fn test_type(&self, body: &Body) -> Option<String> {
        (self.rules.test_type)(body)
    }

    /// The evaluation of a valid body, for kinds that can be evaluated. It is computed from the body alone.
    pub fn evaluate(&self, body: &Body) -> Option<Value> {
        (self.rules.evaluate)(body)
    }
}
