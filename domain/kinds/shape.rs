//! Shapes: kinds whose bodies are a Rust type. A shape gives the rules; `Kind::of_shape` makes a kind of it.

use chrono::{DateTime, NaiveDate, Utc};
use context::Personal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Fault, kinds::body::Body, number, rights::consent::Purpose};

/// A kind whose bodies are a Rust type.
pub trait Shape: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// See `Kind::name`.
    const NAME: &'static str;
    /// See `Kind::title`.
    const TITLE: &'static str;
    /// See `Kind::purpose`.
    const PURPOSE: Option<Purpose> = None;
    /// See `Kind::retention_days`.
    const RETENTION_DAYS: Option<u32> = None;
    /// See `Kind::for_guests`; who says so evaluates every sound body.
    const FOR_GUESTS: bool = false;
    /// See `Kind::open_to_clients`.
    const OPEN_TO_CLIENTS: bool = true;
    /// See `Kind::is_dated`; who says so gives [`Shape::date`].
    const IS_DATED: bool = false;
    /// See `Kind::is_session`.
    const IS_SESSION: bool = false;
    /// See `Kind::key_field`.
    const KEY_FIELD: &'static str = "";

    /// See `Kind::example`.
    fn example() -> Self;
    /// See `Kind::faults`.
    fn faults(&self, today: NaiveDate) -> Vec<Fault>;
    /// See `Kind::natural_key`.
    fn natural_key(&self) -> String;
    /// See `Kind::date`.
    fn date(&self) -> Option<NaiveDate> {
        None
    }
    /// The moment it is about, for kinds with moments; [`Shape::date`] is its day in UTC.
    fn moment(&self) -> Option<DateTime<Utc>> {
        None
    }
    /// See `Kind::test_type`.
    fn test_type(&self) -> Option<String> {
        None
    }
    /// See `Kind::evaluate`.
    fn evaluate(&self) -> Option<Value> {
        None
    }

    /// As the body of a record.
    fn to_body(&self) -> Body {
        Personal::new(serde_json::to_value(self).expect("a shape can be written as JSON"))
    }

    /// From the body of a record; `None` if it has another shape. Whole numbers may be written with a point or an exponent.
    fn from_body(body: &Body) -> Option<Self> {
        serde_json::from_value(number::whole(body.reveal().clone())).ok()
    }
}
