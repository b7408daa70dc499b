//! Explains why a body does not have the shape of its kind. All faulty fields are named at once, and no value is
//! repeated.
//!
//! Each field is tried alone, in an example of the kind that is valid otherwise, so that a missing field or a wrong
//! type hides no other fault. The messages of `serde_json` quote values, so only the part that says what was expected
//! is used.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::{
    Fault,
    fault::FAULTS,
    kinds::{Shape, body::Body},
    number,
};

/// The most characters of a client's field name that a fault repeats.
const NAME_LETTERS: usize = 64;

/// All faults of a body that is not of shape `S`. The rules of `S` are checked too, for the fields that are valid.
pub(super) fn faults<S: Shape>(body: &Body, today: NaiveDate) -> Vec<Fault> {
    let (Value::Object(given), Value::Object(example)) =
        (number::whole(body.reveal().clone()), S::example().to_body().into_inner())
    else {
        return vec![Fault::new("", "the body must be a JSON object")];
    };
    let (mut sound, mut faults, mut broken) = (example.clone(), Vec::new(), BTreeSet::new());
    for name in given.keys().chain(example.keys()).collect::<BTreeSet<_>>() {
        let tried = with(example.clone(), name, given.get(name));
        match fault::<S>(tried, name) {
            None => sound = with(sound, name, given.get(name)),
            Some(fault) => {
                broken.insert(name.as_str());
                faults.push(fault);
            }
        }
        if faults.len() == FAULTS {
            return faults;
        }
    }
    let ruled = serde_json::from_value::<S>(Value::Object(sound)).map_or_else(|_| Vec::new(), |s| s.faults(today));
    faults.extend(ruled.into_iter().filter(|fault| !broken.contains(top(&fault.field))));
    faults
}

fn with(mut object: Map<String, Value>, name: &str, value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(value) => drop(object.insert(name.to_owned(), value.clone())),
        None => drop(object.remove(name)),
    }
    object
}

/// The outermost field of a path.
fn top(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// The fault of an object in which only the field `name` can be faulty.
fn fault<S: Shape>(tried: Map<String, Value>, name: &str) -> Option<Fault> {
    let error = serde_path_to_error::deserialize::<_, S>(Value::Object(tried)).err()?;
    let mut path = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => path.push_str(&format!("[{index}]")),
            Segment::Map { key } => append(&mut path, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let (missing, message) = plain(&error.inner().to_string());
    match missing {
        Some(missing) => append(&mut path, &missing),
        None if path.is_empty() => append(&mut path, name),
        None => {}
    }
    Some(Fault::new(path, message))
}

/// Adds a field to a path. A client may have made up the name, so only ASCII letters, digits and underscores are added.
fn append(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.extend(name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(NAME_LETTERS));
}

/// Describes an error of `serde_json` in plain words. Also returns the name of the missing field, if a field is
/// missing.
fn plain(error: &str) -> (Option<String>, String) {
    if let Some(rest) = error.strip_prefix("missing field `") {
        return (Some(rest.split('`').next().unwrap_or_default().to_owned()), "is required".to_owned());
    }
    // The quoted value may hold these words too, so the last occurrence is used.
    let expected = error.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    let is = |start: &str| error.starts_with(start);
    let fact = if is("unknown field") {
        "is not a field here"
    } else if is("unknown variant") {
        let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        return (None, format!("must be one of {}", names.join(", ")));
    } else if is("invalid type: null") {
        "is required"
    } else {
        match expected {
            "a string" | "string or map" => "must be a text",
            "a sequence" => "must be a list",
            "u8" | "u16" | "u32" | "i16" if is("invalid value") => "is out of range",
            "u8" | "u16" | "u32" | "i16" => "must be a whole number",
            super::time::EXPECTED => "must be a time with its offset from UTC, such as 2026-03-02T10:15:00Z",
            object if object.starts_with("struct ") => "must be an object",
            _ => "must have the form that the kind's example shows",
        }
    };
    (None, fact.to_owned())
}

#[cfg(test)]
mod tests {
    use context::Personal;
    use serde_json::json;

    use super::*;
    use crate::kinds::{SCREENING, WORK_DAY};

    fn named(kind: &crate::Kind, body: Value) -> Vec<(String, String)> {
        let today = "2026-03-02".parse().expect("a date");
        kind.faults(&Personal::new(body), today).into_iter().map(|fault| (fault.field, fault.message)).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(field, message)| ((*field).to_owned(), (*message).to_owned())).collect()
    }

    #[test]
    fn every_fault_of_form_is_named_beside_those_of_rules() {
        let body = json!({ "date": 3, "planned_minutes": "8", "actual_minutes": 2000, "colour": "red" });
        let expected = [
            ("colour", "is not a field here"),
            ("date", "must have the form that the kind's example shows"),
            ("planned_minutes", "must be a whole number"),
            ("source", "is required"),
            ("actual_minutes", "must be at most 1440, the minutes of a day"),
        ];
        assert_eq!(named(WORK_DAY, body), pairs(&expected));
        assert_eq!(named(WORK_DAY, json!([1])), pairs(&[("", "the body must be a JSON object")]));
    }

    #[test]
    fn a_fault_inside_a_list_has_its_place() {
        let with = |left: Value| {
            let mut body = SCREENING.example().into_inner();
            body["left"] = left;
            named(SCREENING, body)
        };
        let good = json!({ "frequency_hz": 1000, "threshold_db": 20 });
        assert_eq!(
            with(json!([good, { "frequency_hz": 2000, "threshold_db": 1.5 }])),
            pairs(&[("left[1].threshold_db", "must be a whole number")])
        );
        assert_eq!(with(json!([{ "frequency_hz": 1000 }])), pairs(&[("left[0].threshold_db", "is required")]));
        assert_eq!(
            with(json!([{ "frequency_hz": -1, "threshold_db": 20 }])),
            pairs(&[("left[0].frequency_hz", "is out of range")])
        );
        assert_eq!(
            with(json!([{ "frequency_hz": 1000, "threshold_db": 20, "ear": "left" }])),
            pairs(&[("left[0].ear", "is not a field here")])
        );
        assert_eq!(with(json!([3])), pairs(&[("left[0]", "must be an object")]));
        assert_eq!(with(json!({})), pairs(&[("left", "must be a list")]));
    }

    #[test]
    fn no_value_is_repeated() {
        const MARK: &str = "Zebrafink, expected u16";
        for field in ["date", "source", "planned_minutes", "actual_minutes"] {
            let mut body = WORK_DAY.example().into_inner();
            body[field] = json!(MARK);
            let faults = named(WORK_DAY, body.clone());
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].0, field);
            assert!(!faults[0].1.contains("Zebra"), "{faults:?}");
            body[field] = json!({ MARK: MARK });
            assert!(named(WORK_DAY, body).iter().all(|(_, message)| !message.contains("Zebra")));
        }
        let many: Map<String, Value> = (0..5000).map(|n| (format!("f{n}\u{0}"), Value::Null)).collect();
        assert_eq!(named(WORK_DAY, Value::Object(many)).len(), FAULTS);
    }
}
