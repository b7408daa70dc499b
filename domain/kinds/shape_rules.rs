//! The rules of a Rust type, as functions that take bodies.

use chrono::NaiveDate;
use chrono_tz::Tz;
use serde_json::Value;

use crate::{
    Fault,
    kinds::{body::Body, form, shape::Shape},
};

/// What a kind asks of a [`Shape`], with a body instead of the Rust type. `Kind` says what each function returns.
pub(super) struct ShapeRules {
    pub example: fn() -> Body,
    pub normal: fn(Body) -> Body,
    pub faults: fn(&Body, NaiveDate) -> Vec<Fault>,
    pub natural_key: fn(&Body) -> String,
    pub date: fn(&Body) -> Option<NaiveDate>,
    pub day: fn(&Body, Tz) -> Option<NaiveDate>,
    pub test_type: fn(&Body) -> Option<String>,
    pub evaluate: fn(&Body) -> Option<Value>,
}

impl ShapeRules {
    pub const fn of<S: Shape>() -> Self {
        Self {
            example: example::<S>,
            normal: normal::<S>,
            faults: faults::<S>,
            natural_key: natural_key::<S>,
            date: date::<S>,
            day: day::<S>,
            test_type: test_type::<S>,
            evaluate: evaluate::<S>,
        }
    }
}

fn example<S: Shape>() -> Body {
    S::example().to_body()
}

fn normal<S: Shape>(body: Body) -> Body {
    S::from_body(&body).map_or(body, |shape| shape.to_body())
}

fn faults<S: Shape>(body: &Body, today: NaiveDate) -> Vec<Fault> {
    S::from_body(body).map_or_else(|| form::faults::<S>(body, today), |shape| shape.faults(today))
}

fn natural_key<S: Shape>(body: &Body) -> String {
    S::from_body(body).map(|shape| shape.natural_key()).unwrap_or_default()
}

fn date<S: Shape>(body: &Body) -> Option<NaiveDate> {
    S::from_body(body)?.date()
}

fn day<S: Shape>(body: &Body, zone: Tz) -> Option<NaiveDate> {
    let shape = S::from_body(body)?;
    shape.moment().map_or_else(|| shape.date(), |moment| Some(moment.with_timezone(&zone).date_naive()))
}

fn test_type<S: Shape>(body: &Body) -> Option<String> {
    S::from_body(body)?.test_type()
}

fn evaluate<S: Shape>(body: &Body) -> Option<Value> {
    S::from_body(body)?.evaluate()
}
