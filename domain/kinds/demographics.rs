//! The demographics kind: what a person chooses to say about themselves. A person has one such record. It is kept only
//! with a consent of its own, and every field may be left out.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    AgeGroup, Fault, Gender,
    kinds::{Shape, kind::Kind},
    rights::consent::Purpose,
    text::Line,
};

pub const DEMOGRAPHICS: &Kind = &Kind::of_shape::<Demographics>();

const NAME_CHARS: usize = 100;

/// At least one field is present.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demographics {
    /// The given name, 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Line>,
    /// The surname, 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surname: Option<Line>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_group: Option<AgeGroup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gender: Option<Gender>,
}

impl Shape for Demographics {
    const NAME: &'static str = "demographics";
    const TITLE: &'static str = "What you say about yourself";
    const PURPOSE: Option<Purpose> = Some(Purpose::Demographics);

    fn example() -> Self {
        Self { name: Some(Line::new("Anna")), age_group: Some(AgeGroup::From30), ..Self::default() }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        if *self == Self::default() {
            return vec![Fault::new("name", "or surname, age_group or gender is required")];
        }
        let names = [("name", &self.name), ("surname", &self.surname)];
        names.into_iter().filter_map(|(field, text)| text.as_ref()?.fault(field, NAME_CHARS)).collect()
    }

    fn natural_key(&self) -> String {
        Self::NAME.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(demographics: &Demographics) -> Vec<String> {
        let today = "2026-03-02".parse().expect("a date");
        demographics.faults(today).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn at_least_one_field_is_given_and_names_have_a_length() {
        assert_eq!(fields(&Demographics::default()), ["name"]);
        assert!(fields(&Demographics { gender: Some(Gender::NotSaid), ..Demographics::default() }).is_empty());
        let named = |name: &str| fields(&Demographics { surname: Some(Line::new(name)), ..Demographics::default() });
        assert!(named("Ó Súilleabháin").is_empty() && named(&"ü".repeat(100)).is_empty());
        for wrong in ["", "  ", "An\nna", &"ü".repeat(101), "\u{200B}\u{200B}", "\u{3164}", "\u{202E}annA"] {
            assert_eq!(named(wrong), ["surname"], "{wrong:?}");
        }
    }
}
