//! Kinds: what a record may be. Code that handles records is written once and asks the kind for the rest.
//!
//! A kind whose rules are Rust is a [`Shape`]; [`KINDS`] is the only list of kinds. A new kind needs a file here and a
//! line in that list, and no table, policy, projection or command.

mod body;
mod contact;
mod demographics;
mod form;
mod kind;
mod screening;
mod shape;
mod shape_rules;
mod time;
mod wordbook;
mod work_day;
mod work_profile;

pub use body::Body;
pub use kind::Kind;

pub use contact::{CONTACT, Contact, former_spelling, mailbox_of, normalise_address};
pub use demographics::{DEMOGRAPHICS, Demographics};
pub use screening::{SCREENING, Screening, Threshold};
pub use shape::Shape;
pub use time::{UtcTime, instant};
pub use wordbook::{WORDBOOK_ENTRY, WORDBOOK_SETTINGS, WordbookEntry, WordbookSettings};
pub use work_day::{DAY_MINUTES, WORK_DAY, WorkDay};
pub use work_profile::{WORK_PROFILE, WorkProfile};

pub const KINDS: &[&Kind] =
    &[CONTACT, WORK_PROFILE, WORK_DAY, SCREENING, DEMOGRAPHICS, WORDBOOK_ENTRY, WORDBOOK_SETTINGS];

pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use context::Personal;
    use serde_json::Value;

    use super::*;
    use crate::rights::consent::Notice;

    #[test]
    fn a_notice_promises_the_retention_of_its_kinds() {
        let mut promised = 0;
        for kind in KINDS {
            let Some(notice) = kind.purpose().map(Notice::current) else { continue };
            assert_eq!(notice.retention_days(), kind.retention_days(), "{}: left: its notice", kind.name());
            promised += usize::from(kind.retention_days().is_some());
        }
        assert!(promised > 0, "no kind has a retention of its own");
    }

    #[test]
    fn every_kind_keeps_what_it_says_of_itself() {
        let today = "2026-03-02".parse().expect("a date");
        let mut names = BTreeSet::new();
        for kind in KINDS {
            let (name, example) = (kind.name(), kind.example());
            assert!(names.insert(name) && name != "kinds", "{name} is the name of one kind and of no list of kinds");
            assert!(!kind.title().is_empty());
            assert_eq!(kind.faults(&example, today), [], "{name}");
            assert_eq!(kind.normal(example.clone()), example, "{name}");
            assert_eq!(kind.date(&example).is_some(), kind.is_dated(), "{name}");
            assert!(!kind.for_guests() || kind.evaluate(&example).is_some(), "{name}");
            assert_eq!(kind.is_session(), kind.test_type(&example).is_some(), "{name}");
            let key = kind.key_field();
            assert!(key.is_empty() || example.reveal().get(key).is_some(), "{name} has no field {key}");
            assert_eq!(super::kind(name).map(|kind| kind.name()), Some(name));
        }
        assert!(!CONTACT.open_to_clients(), "a sign-in is compared with it");
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        let mut spelled = WORDBOOK_ENTRY.example().into_inner();
        spelled["part_of_speech"] = Value::Null;
        spelled["next_passive_review_time"] = "2025-11-01T01:00:00.5+01:00".into();
        spelled["lemma"] = "he\u{301}j".into();
        spelled["passive_review_count"] = 5.0.into();
        let normal = WORDBOOK_ENTRY.normal(Personal::new(spelled)).into_inner();
        assert_eq!(normal.get("part_of_speech"), None);
        assert_eq!(normal["next_passive_review_time"], "2025-11-01T00:00:00Z");
        assert_eq!(normal["lemma"], "h\u{e9}j");
        assert_eq!(normal["passive_review_count"], serde_json::json!(5));
        let unsound = Personal::new(Value::from(3));
        assert_eq!(WORDBOOK_ENTRY.normal(unsound.clone()), unsound);
    }
}
