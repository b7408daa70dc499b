//! Compares schemas: whether values are taken that were not, or no longer taken that were.
//!
//! A narrower schema breaks requests, because the server may refuse what a client sends; a wider one breaks answers,
//! because a client may get what it can't read. A keyword that is not known here counts as broken by any change.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    change::{Place, Way, Weight},
    comparison::Comparison,
    document::{Document, Flat, list, members, text},
};

/// What a change does to the set of values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shift {
    Narrower,
    Wider,
    /// Wider in a way that `docs/versions.md` allows: an answer may have more fields, and an enumeration more members.
    WiderAsToldOf,
    Other,
}

/// Bounds from below and from above.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Keywords that restrict where they stand, in a way that can't be compared.
const FORMS: [&str; 5] = ["pattern", "format", "contentEncoding", "contentMediaType", "multipleOf"];
/// Keywords that take no value and refuse none, and `default`, which is compared by itself.
const TEXTS: [&str; 9] =
    ["title", "description", "example", "examples", "$comment", "externalDocs", "xml", "deprecated", "default"];
/// Keywords that are compared by what they mean.
const PARTS: [&str; 8] =
    ["type", "enum", "properties", "required", "additionalProperties", "items", "anyOf", "uniqueItems"];

impl Comparison<'_> {
    pub fn schema(&mut self, place: &Place, way: Way, old: &Value, new: &Value) {
        let (before, after) = (self.old.flat(old), self.new.flat(new));
        let Some(name) = &before.name else { return self.flat(place, way, &before, &after) };
        let both = (name.clone(), after.name.clone().unwrap_or_default(), way);
        // A schema without a name differs with each place where it stands.
        if after.name.is_none() || self.seen.insert(both) {
            let place = Place { name: name.clone(), alias: None, way: Some(way), part: None };
            self.flat(&place, way, &before, &after);
        }
    }

    fn flat(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let place = &Place { way: Some(way), ..place.clone() };
        self.types(place, way, old, new);
        self.members(place, way, old, new);
        self.fields(place, way, old, new);
        self.inner(place, way, old, new);
        self.alternatives(place, way, old, new);
        for word in LOWER {
            self.bound(place, way, word, (old.get(word), new.get(word)), |old, new| new > old);
        }
        for word in UPPER {
            self.bound(place, way, word, (old.get(word), new.get(word)), |old, new| new < old);
        }
        for word in FORMS {
            let (old, new) = (old.get(word), new.get(word));
            match (old.is_null(), new.is_null()) {
                _ if old == new => {}
                (true, _) => self.shift(place, way, Shift::Narrower, format!("`{word}` is now {new}")),
                (_, true) => self.shift(place, way, Shift::Wider, format!("`{word}` was {old} and is gone")),
                _ => self.shift(place, way, Shift::Other, format!("`{word}` was {old} and is {new}")),
            }
        }
        match (old.get("uniqueItems") == true, new.get("uniqueItems") == true) {
            (false, true) => self.shift(place, way, Shift::Narrower, "entries may not be equal".to_owned()),
            (true, false) => self.shift(place, way, Shift::Wider, "entries may be equal".to_owned()),
            _ => {}
        }
        if way == Way::Request && old.get("default") != new.get("default") {
            let text = format!("absent meant {}, and means {}", old.get("default"), new.get("default"));
            self.shift(place, way, Shift::Other, text);
        }
        self.unknown(place, way, old, new);
    }

    fn types(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let (before, after) = (types(old.get("type")), types(new.get("type")));
        let within = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
            let holds = |name: &String| other.contains(name) || name == "integer" && other.contains("number");
            other.is_empty() || !one.is_empty() && one.iter().all(holds)
        };
        let shift = match (within(&after, &before), within(&before, &after)) {
            (true, true) => return,
            (true, false) => Shift::Narrower,
            (false, true) => Shift::Wider,
            (false, false) => Shift::Other,
        };
        self.shift(place, way, shift, format!("its type was {} and is {}", words(&before), words(&after)));
    }

    fn members(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        match (old.get("enum").as_array(), new.get("enum").as_array()) {
            (None, None) => {}
            (None, Some(_)) => self.shift(place, way, Shift::Narrower, "is now an enumeration".to_owned()),
            (Some(_), None) => self.shift(place, way, Shift::Wider, "is no enumeration any more".to_owned()),
            (Some(before), Some(after)) => {
                for member in before.iter().filter(|member| !after.contains(member)) {
                    self.shift(place, way, Shift::Narrower, format!("the member {member} is gone"));
                }
                for member in after.iter().filter(|member| !before.contains(member)) {
                    self.shift(place, way, Shift::WiderAsToldOf, format!("the member {member} is new"));
                }
            }
        }
    }

    fn fields(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let (before, after) = (old.get("properties"), new.get("properties"));
        let required = |flat: &Flat, name: &String| list(flat.get("required")).iter().any(|each| each == name);
        for (name, schema) in members(before) {
            let place = place.part(name);
            match after.get(name) {
                Some(now) => self.schema(&place, way, schema, now),
                None => self.found(Weight::Breaking, &place, "the field is gone"),
            }
        }
        for (name, _) in members(after).filter(|(name, _)| before.get(name).is_none()) {
            self.found(Weight::Compatible, &place.part(name), "the field is new");
        }
        let names: BTreeSet<String> =
            [old, new].iter().flat_map(|flat| list(flat.get("required")).iter().map(text)).collect();
        for name in &names {
            match (required(old, name), required(new, name)) {
                (false, true) => {
                    self.shift(&place.part(name), way, Shift::Narrower, "the field is required".to_owned())
                }
                // A field that is gone is named above.
                (true, false) if after.get(name).is_some() => {
                    self.shift(&place.part(name), way, Shift::Wider, "the field may be absent".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Entries of lists, and fields without a name of their own.
    fn inner(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let any = |value: &Value| value.is_null() || *value == Value::Bool(true);
        for (word, what, wider) in
            [("items", "entries", Shift::Wider), ("additionalProperties", "other fields", Shift::WiderAsToldOf)]
        {
            let (old, new) = (old.get(word), new.get(word));
            match (any(old), any(new)) {
                (true, true) => {}
                (true, false) => self.shift(place, way, Shift::Narrower, format!("{what} are restricted")),
                (false, true) => self.shift(place, way, wider, format!("{what} are no longer restricted")),
                (false, false) if *old == Value::Bool(false) && *new != Value::Bool(false) => {
                    self.shift(place, way, wider, format!("{what} are taken"));
                }
                (false, false) if *new == Value::Bool(false) && *old != Value::Bool(false) => {
                    self.shift(place, way, Shift::Narrower, format!("{what} are no longer taken"));
                }
                (false, false) => self.schema(place, way, old, new),
            }
        }
    }

    fn alternatives(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let (before, after) = (list(old.get("anyOf")), list(new.get("anyOf")));
        match (before, after) {
            ([], []) => return,
            ([], _) => return self.shift(place, way, Shift::Narrower, "must be one of several forms".to_owned()),
            (_, []) => return self.shift(place, way, Shift::Wider, "need not be one of several forms".to_owned()),
            _ => {}
        }
        let mut left: Vec<&Value> = after.iter().collect();
        for schema in before {
            let key = key(self.old, schema);
            let same = left.iter().position(|other| *other == schema);
            let alike = || left.iter().position(|other| self::key(self.new, other) == key);
            match same.or_else(alike) {
                Some(index) => {
                    let other = left.remove(index);
                    self.schema(place, way, schema, other);
                }
                None => self.shift(place, way, Shift::Narrower, format!("the form {key} is gone")),
            }
        }
        for schema in left {
            let key = key(self.new, schema);
            self.shift(place, way, Shift::Wider, format!("the form {key} is new"));
        }
    }

    fn bound(
        &mut self,
        place: &Place,
        way: Way,
        word: &str,
        (old, new): (&Value, &Value),
        narrower: fn(f64, f64) -> bool,
    ) {
        let shift = match (old.as_f64(), new.as_f64()) {
            (old, new) if old == new => return,
            (Some(old), Some(new)) if narrower(old, new) => Shift::Narrower,
            (None, Some(_)) => Shift::Narrower,
            _ => Shift::Wider,
        };
        self.shift(
            place,
            way,
            shift,
            match (old.is_null(), new.is_null()) {
                (true, _) => format!("`{word}` is now {new}"),
                (_, true) => format!("`{word}` was {old} and is gone"),
                _ => format!("`{word}` was {old} and is {new}"),
            },
        );
    }

    /// Keywords that this comparison does not know.
    fn unknown(&mut self, place: &Place, way: Way, old: &Flat, new: &Flat) {
        let known = |word: &String| {
            let lists = [&LOWER[..], &UPPER, &FORMS, &TEXTS, &PARTS];
            lists.iter().any(|list| list.contains(&word.as_str())) || word.starts_with("x-")
        };
        let words: BTreeSet<&String> = old.keywords.keys().chain(new.keywords.keys()).collect();
        for word in words.into_iter().filter(|word| !known(word)) {
            if old.get(word) != new.get(word) {
                self.shift(place, way, Shift::Other, format!("`{word}` changed"));
            }
        }
    }

    fn shift(&mut self, place: &Place, way: Way, shift: Shift, text: String) {
        let weight = match (way, shift) {
            (Way::Request, Shift::Wider | Shift::WiderAsToldOf) | (Way::Answer, Shift::Narrower) => Weight::Compatible,
            (Way::Answer, Shift::WiderAsToldOf) => Weight::Widening,
            (Way::Request, Shift::Narrower) | (Way::Answer, Shift::Wider) | (_, Shift::Other) => Weight::Breaking,
        };
        self.found(weight, place, text);
    }
}

/// The types that a schema takes; none means any.
fn types(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(types) => types.iter().map(text).collect(),
        Value::Null => BTreeSet::new(),
        one => BTreeSet::from([text(one)]),
    }
}

fn words(types: &BTreeSet<String>) -> String {
    if types.is_empty() { "any".to_owned() } else { types.iter().cloned().collect::<Vec<_>>().join(" or ") }
}

/// By what an alternative is recognized in the other document.
fn key(document: &Document, schema: &Value) -> String {
    let flat = document.flat(schema);
    flat.name.unwrap_or_else(|| match flat.keywords.get("required") {
        Some(required) => required.to_string(),
        None => words(&types(flat.keywords.get("type").unwrap_or(&Value::Null))),
    })
}
