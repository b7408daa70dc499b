//! Checks JSON from outside before it is read into types: every name of an object may occur only once, and no text may
//! hold U+0000.
//!
//! RFC 8259 leaves open what a repeated name means, so two readers may take two different values: one value is checked,
//! and the other is used. U+0000 is refused because PostgreSQL cannot store it in a text. Both are refused at any
//! depth, and the fault names the field.

use std::{collections::HashSet, fmt::Write as _};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{Fault, fault::FAULTS};

/// `serde_json` does not read an object with such a name as a plain object.
const PRIVATE: &str = "$serde_json::private::";

/// The most names that one object may have, because all of its names are kept in memory until it ends.
const NAMES: usize = 10_000;

#[derive(Debug, thiserror::Error)]
#[error("an object has more than {NAMES} names")]
struct TooMany;

/// All faults of a JSON text. Returns an error if the text is not JSON, is nested too deep, or holds an object with too
/// many names.
pub fn faults(text: &[u8]) -> Result<Vec<Fault>, serde_json::Error> {
    let (mut path, mut faults) = (String::new(), Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(text);
    ValuePath { path: &mut path, faults: &mut faults }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(faults)
}

/// Checks a file that the server reads. The error describes the first fault, for the person who wrote the file.
pub fn check(text: &str) -> Result<(), String> {
    let faults = faults(text.as_bytes()).map_err(|error| error.to_string())?;
    faults.first().map_or(Ok(()), |fault| Err(format!("`{}` {}", fault.field, fault.message)))
}

/// The part of a field's name that a fault may repeat: at most 64 ASCII letters, digits and underscores, so that the
/// name cannot be mistaken for a longer path.
pub fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}

/// A value, and the path that leads to the value, such as `events[3].date`.
struct ValuePath<'a> {
    path: &'a mut String,
    faults: &'a mut Vec<Fault>,
}

impl ValuePath<'_> {
    fn fault(&mut self, message: &str) {
        if self.faults.len() < FAULTS {
            self.faults.push(Fault::new(self.path.clone(), message));
        }
    }

    fn check_text(&mut self, text: &str) {
        if text.contains('\0') {
            self.fault("must not hold the character U+0000");
        }
    }

    /// Adds a field's name to the path, and notes what is wrong with the name.
    fn enter(&mut self, name: &str, known: &mut HashSet<String>) -> Result<(), TooMany> {
        if known.len() == NAMES {
            return Err(TooMany);
        }
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&plain(name));
        self.check_text(name);
        if name.starts_with(PRIVATE) {
            self.fault("is not a field here");
        }
        if !known.insert(name.to_owned()) {
            self.fault("stands there twice");
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ValuePath<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValuePath<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(mut self, text: &str) -> Result<(), E> {
        self.check_text(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let here = self.path.len();
        for number in 0_usize.. {
            write!(self.path, "[{number}]").expect("a text takes more text");
            let more = list.next_element_seed(ValuePath { path: &mut *self.path, faults: &mut *self.faults })?;
            self.path.truncate(here);
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        let (here, mut known) = (self.path.len(), HashSet::new());
        while let Some(name) = object.next_key::<String>()? {
            self.enter(&name, &mut known).map_err(de::Error::custom)?;
            object.next_value_seed(ValuePath { path: &mut *self.path, faults: &mut *self.faults })?;
            self.path.truncate(here);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        faults(text.as_bytes()).expect("JSON").into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_name_stands_there_once_at_any_depth() {
        for (text, expected) in [
            (r#"{"granted":false,"granted":true}"#, &["granted"][..]),
            (r#"{"a":1,"\u0061":2}"#, &["a"]),
            (r#"{"a":{"b":1,"b":2},"c":[{},{"d":[{"e":1,"e":1}]}]}"#, &["a.b", "c[1].d[0].e"]),
            (r#"[{"a":1,"a":1,"a":1}]"#, &["[0].a", "[0].a"]),
            (r#"{"a":{"x":1},"b":{"x":1}}"#, &[]),
            (r#"{"a":[1,2,2],"b":"a","A":null}"#, &[]),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn no_text_and_no_name_holds_u_0000() {
        assert_eq!(named(r#"{"a":"x\u0000","b":["","\u0000"],"c\u0000":1}"#), ["a", "b[1]", "c"]);
        assert_eq!(named(r#"{"a":"\u0001 \\u0000"}"#), Vec::<String>::new());
    }

    #[test]
    fn an_object_means_what_it_says() {
        // `serde_json::Value` would parse the text inside the object as JSON, with its repeated name.
        let hidden = r#"{"a":{"$serde_json::private::RawValue":"{\"b\":1,\"b\":2}"}}"#;
        assert_eq!(named(hidden), ["a.serde_jsonprivateRawValue"]);
    }

    #[test]
    fn what_is_not_json_is_none() {
        for text in ["", "{", "{} {}", r#"{"a":"\ud800"}"#, "[1,]", "1e999", &"[".repeat(200)] {
            assert!(faults(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_so_many_faults_are_named() {
        let twice: String = (0..500).map(|n| format!(r#""f{n}":1,"f{n}":2,"#)).collect();
        assert_eq!(named(&format!("{{{}}}", twice.trim_end_matches(','))).len(), FAULTS);
    }
}
