//! The wordbook kinds. `wordbook_entry` holds one word that a person learns, with the state of its reviews.
//! `wordbook_settings` holds how the person wants to learn; a person has one such record.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::{
    Fault,
    kinds::{Shape, UtcTime, kind::Kind},
    rights::consent::Purpose,
    text::Line,
};

pub const WORDBOOK_ENTRY: &Kind = &Kind::of_shape::<WordbookEntry>();
pub const WORDBOOK_SETTINGS: &Kind = &Kind::of_shape::<WordbookSettings>();

const ID_CHARS: usize = 100;
const WORD_CHARS: usize = 200;
const MOST_REVIEWS: u32 = 1_000_000;
const MOST_DAILY: u32 = 1_000;
const MOST_AUTO_NEW_REVIEW: u8 = 3;

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordbookEntry {
    /// The word's id in the application's dictionary, 1 to 100 characters.
    pub word_id: Line,
    /// The word itself, 1 to 200 characters.
    pub lemma: Line,
    /// The word's part of speech, 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of_speech: Option<Line>,
    /// How often the person recognised the word, at most 1000000.
    pub passive_review_count: u32,
    /// When the word is to be recognised next; absent if no such review is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_passive_review_time: Option<UtcTime>,
    /// How often the person used the word, at most 1000000.
    pub active_review_count: u32,
    /// When the word is to be used next; absent if no such review is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_active_review_time: Option<UtcTime>,
}

impl Shape for WordbookEntry {
    const NAME: &'static str = "wordbook_entry";
    const TITLE: &'static str = "The words you learn";
    const KEY_FIELD: &'static str = "word_id";
    const PURPOSE: Option<Purpose> = Some(Purpose::Wordbook);

    fn example() -> Self {
        Self {
            word_id: Line::new("word-456"),
            lemma: Line::new("hej"),
            part_of_speech: Some(Line::new("interjection")),
            passive_review_count: 5,
            next_passive_review_time: UtcTime::parse("2025-11-01T00:00:00Z"),
            active_review_count: 3,
            next_active_review_time: UtcTime::parse("2025-10-25T00:00:00Z"),
        }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        let texts = [
            self.word_id.fault("word_id", ID_CHARS),
            self.lemma.fault("lemma", WORD_CHARS),
            self.part_of_speech.as_ref().and_then(|text| text.fault("part_of_speech", ID_CHARS)),
        ];
        let counts =
            [("passive_review_count", self.passive_review_count), ("active_review_count", self.active_review_count)];
        let too_many = counts.into_iter().filter(|(_, count)| *count > MOST_REVIEWS);
        let too_many = too_many.map(|(field, _)| Fault::new(field, format!("must be at most {MOST_REVIEWS}")));
        texts.into_iter().flatten().chain(too_many).collect()
    }

    fn natural_key(&self) -> String {
        self.word_id.as_str().to_owned()
    }
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordbookSettings {
    /// How new words are chosen: 0 not at all, 1 at random, 2 frequent ones first, 3 oldest first.
    pub auto_new_review: u8,
    /// How many new words a day are chosen, 0 to 1000.
    pub daily_new_review_count: u32,
}

impl Shape for WordbookSettings {
    const NAME: &'static str = "wordbook_settings";
    const TITLE: &'static str = "How you want to learn words";
    const PURPOSE: Option<Purpose> = Some(Purpose::Wordbook);

    fn example() -> Self {
        Self { auto_new_review: 2, daily_new_review_count: 10 }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.auto_new_review > MOST_AUTO_NEW_REVIEW {
            faults.push(Fault::new("auto_new_review", format!("must be 0 to {MOST_AUTO_NEW_REVIEW}")));
        }
        if self.daily_new_review_count > MOST_DAILY {
            faults.push(Fault::new("daily_new_review_count", format!("must be 0 to {MOST_DAILY}")));
        }
        faults
    }

    fn natural_key(&self) -> String {
        Self::NAME.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(shape: &impl Shape) -> Vec<String> {
        let today = "2026-03-02".parse().expect("a date");
        shape.faults(today).into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_word_has_an_id_a_text_and_counts() {
        let good = WordbookEntry { part_of_speech: None, next_active_review_time: None, ..WordbookEntry::example() };
        assert!(fields(&good).is_empty());
        assert_eq!(good.natural_key(), "word-456");
        assert_eq!(fields(&WordbookEntry { word_id: Line::new(""), ..good.clone() }), ["word_id"]);
        assert_eq!(fields(&WordbookEntry { lemma: Line::new("a\u{0}"), ..good.clone() }), ["lemma"]);
        assert_eq!(
            fields(&WordbookEntry { part_of_speech: Some(Line::new(&"x".repeat(101))), ..good.clone() }),
            ["part_of_speech"]
        );
        assert_eq!(fields(&WordbookEntry { active_review_count: 1_000_001, ..good }), ["active_review_count"]);
    }

    #[test]
    fn settings_have_bounds() {
        let set = |auto_new_review, daily_new_review_count| {
            fields(&WordbookSettings { auto_new_review, daily_new_review_count })
        };
        assert!(set(0, 0).is_empty() && set(3, 1000).is_empty());
        assert_eq!(set(4, 1001), ["auto_new_review", "daily_new_review_count"]);
    }
}
