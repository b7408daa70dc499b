//! What a kind of record says of itself.

use chrono::NaiveDate;
use chrono_tz::Tz;
use context::Personal;
use serde_json::Value;

use crate::{Fault, rights::consent::Purpose};

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
    /// Whether clients submit, see and remove it like any other record; otherwise the server alone keeps it.
    fn open_to_clients(&self) -> bool;
    /// Whether its records have a date.
    fn is_dated(&self) -> bool;
    /// Whether one record is one session of a test: what requests for sessions only mean.
    fn is_session(&self) -> bool;
    /// A sound body, to learn the form from.
    fn example(&self) -> Body;
    /// The same body as it is stored: two that say the same become one. What is not sound stays as it is.
    fn normal(&self, body: Body) -> Body;
    /// Everything that is wrong with a body, on a day (`today`, where the person is).
    fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault>;
    /// What makes one record of a person the same as another: submitting it again amends.
    fn natural_key(&self, body: &Body) -> String;
    /// The field that the natural key is made of; empty where a person has one record only.
    fn key_field(&self) -> &'static str;
    /// The day it is about, for kinds with days; of a moment its day in UTC. By it records are filed in quarters.
    fn date(&self, body: &Body) -> Option<NaiveDate>;
    /// The day it is about, as a calendar in a time zone has it: a moment falls on another day in another zone.
    fn day(&self, body: &Body, _zone: Tz) -> Option<NaiveDate> {
        self.date(body)
    }
    /// The type of test it is a result of, for kinds that are results of tests.
    fn test_type(&self, body: &Body) -> Option<String>;
    /// What a sound body means, for kinds that can be evaluated. Computed from the body alone.
    fn evaluate(&self, body: &Body) -> Option<Value>;
}
