//! Shapes: kinds whose bodies are a Rust type. A shape gives the rules; [`Shaped`] makes a [`Kind`] of it.

use std::marker::PhantomData;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use context::Personal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Fault,
    kinds::{Body, Kind, form},
    number,
    rights::consent::Purpose,
};

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
    /// See [`Kind::for_guests`]; who says so evaluates every sound body.
    const FOR_GUESTS: bool = false;
    /// See [`Kind::open_to_clients`].
    const OPEN_TO_CLIENTS: bool = true;
    /// See [`Kind::is_dated`]; who says so gives [`Shape::date`].
    const IS_DATED: bool = false;
    /// See [`Kind::is_session`].
    const IS_SESSION: bool = false;
    /// See [`Kind::key_field`].
    const KEY_FIELD: &'static str = "";

    /// See [`Kind::example`].
    fn example() -> Self;
    /// See [`Kind::faults`].
    fn faults(&self, today: NaiveDate) -> Vec<Fault>;
    /// See [`Kind::natural_key`].
    fn natural_key(&self) -> String;
    /// See [`Kind::date`].
    fn date(&self) -> Option<NaiveDate> {
        None
    }
    /// The moment it is about, for kinds with moments; [`Shape::date`] is its day in UTC.
    fn moment(&self) -> Option<DateTime<Utc>> {
        None
    }
    /// See [`Kind::test_type`].
    fn test_type(&self) -> Option<String> {
        None
    }
    /// See [`Kind::evaluate`].
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

/// A [`Shape`] as a [`Kind`].
pub struct Shaped<S>(PhantomData<fn() -> S>);

impl<S> Shaped<S> {
    pub(super) const fn new() -> Self {
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
    fn open_to_clients(&self) -> bool {
        S::OPEN_TO_CLIENTS
    }
    fn is_dated(&self) -> bool {
        S::IS_DATED
    }
    fn is_session(&self) -> bool {
        S::IS_SESSION
    }
    fn example(&self) -> Body {
        S::example().to_body()
    }
    fn normal(&self, body: Body) -> Body {
        S::from_body(&body).map_or(body, |shape| shape.to_body())
    }
    fn faults(&self, body: &Body, today: NaiveDate) -> Vec<Fault> {
        S::from_body(body).map_or_else(|| form::faults::<S>(body, today), |shape| shape.faults(today))
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
    fn day(&self, body: &Body, zone: Tz) -> Option<NaiveDate> {
        let shape = S::from_body(body)?;
        shape.moment().map_or_else(|| shape.date(), |moment| Some(moment.with_timezone(&zone).date_naive()))
    }
    fn test_type(&self, body: &Body) -> Option<String> {
        S::from_body(body)?.test_type()
    }
    fn evaluate(&self, body: &Body) -> Option<Value> {
        S::from_body(body)?.evaluate()
    }
}
