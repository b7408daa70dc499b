//! Kinds whose bodies are a Rust type.

use std::marker::PhantomData;

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::Value;

use crate::{
    Fault,
    kinds::{
        form,
        kind::{Body, Kind},
        shape::Shape,
    },
    rights::consent::Purpose,
};

/// A [`Shape`] as a [`Kind`].
pub struct Shaped<S>(PhantomData<fn() -> S>);

impl<S> Shaped<S> {
    pub(crate) const fn new() -> Self {
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
