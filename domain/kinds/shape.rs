//! Shapes: kinds whose bodies are a Rust type. A shape gives the rules; `Kind::of_shape` turns it into a kind.

use chrono::{DateTime, NaiveDate, Utc};
use context::Personal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Fault, kinds::body::Body, number, rights::consent::Purpose};

/// A kind whose bodies are a Rust type. The methods of `Kind` say what each constant and method here means.
pub trait Shape: Serialize + DeserializeOwned + Send + Sync + 'static {
    const NAME: &'static str;
    const TITLE: &'static str;
    const PURPOSE: Option<Purpose> = None;
    const RETENTION_DAYS: Option<u32> = None;
    /// If true, the shape must evaluate every valid body.
    const FOR_GUESTS: bool = false;
    const OPEN_TO_CLIENTS: bool = true;
    /// If true, the shape must implement [`Shape::date`].
    const IS_DATED: bool = false;
    const IS_SESSION: bool = false;
    const KEY_FIELD: &'static str = "";

    fn example() -> Self;
    fn faults(&self, today: NaiveDate) -> Vec<Fault>;
    fn natural_key(&self) -> String;
    fn date(&self) -> Option<NaiveDate> {
        None
    }
    /// The moment that a record is about, for kinds with moments. [`Shape::date`] must be the day of this moment in
    /// UTC.
    fn moment(&self) -> Option<DateTime<Utc>> {
        None
    }
    fn test_type(&self) -> Option<String> {
        None
    }
    fn evaluate(&self) -> Option<Value> {
        None
    }

    fn to_body(&self) -> Body {
        Personal::new(serde_json::to_value(self).expect("a shape can be written as JSON"))
    }

    /// `None` if the body has another shape. Whole numbers may be written with a decimal point or an exponent.
    fn from_body(body: &Body) -> Option<Self> {
        serde_json::from_value(number::whole(body.reveal().clone())).ok()
    }
}
