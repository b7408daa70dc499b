//! Texts that people read: names, words, reasons, and what people say in their own words.
//!
//! A text is kept in Unicode's normalization form C, so that one word is always the same bytes. A minimum length is
//! counted in visible characters, so that a text that looks empty counts as empty. Three groups of characters are
//! refused: control characters; characters that turn the direction of writing (UAX 9: embeddings, overrides and
//! isolates), because they make a text look different from what it is; and invisible characters that join nothing.
//! Emoji sequences are taken, and also the joiners that Persian, Hindi and others need inside a word.

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed,
    props::{DefaultIgnorableCodePoint, GeneralCategory},
};
use serde::{Deserialize, Deserializer, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::Fault;

const INVISIBLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
const CATEGORY: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::<GeneralCategory>::new();

/// The most invisible characters in a row: the style of an emoji and the joiner to the next emoji.
const MOST_INVISIBLE: usize = 2;
/// The black flag, which is followed by the invisible letters of a region, such as those of Scotland.
const FLAG: char = '\u{1F3F4}';
const MOST_TAGS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// It stands there by itself: letters, digits, punctuation, symbols.
    Seen,
    /// It changes the character before it, or its look is not defined.
    Attached,
    /// White space.
    Blank,
    /// The end of a line.
    Break,
    Invisible,
    /// It turns the direction of the text that follows.
    Turning,
    /// It does not belong in a text.
    Control,
}

fn look(c: char) -> Look {
    match c {
        '\n' | '\r' => return Look::Break,
        // The Braille pattern without dots is a symbol by its category, but looks like a blank.
        '\u{2800}' => return Look::Blank,
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => return Look::Turning,
        _ if INVISIBLE.contains(c) => return Look::Invisible,
        _ => {}
    }
    match CATEGORY.get(c) {
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
            Look::Control
        }
        GeneralCategory::SpaceSeparator => Look::Blank,
        GeneralCategory::NonspacingMark
        | GeneralCategory::SpacingMark
        | GeneralCategory::EnclosingMark
        | GeneralCategory::Format
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned => Look::Attached,
        _ => Look::Seen,
    }
}

/// Whether a character can be seen and stands by itself.
pub fn is_seen(c: char) -> bool {
    look(c) == Look::Seen
}

/// How many characters of a text can be seen. Marks belong to their letters, and the blanks between two words count as
/// one character.
pub fn seen(text: &str) -> usize {
    let (mut count, mut parted) = (0, false);
    for c in text.chars() {
        match look(c) {
            Look::Seen => {
                count += 1 + usize::from(parted && count > 0);
                parted = false;
            }
            Look::Blank | Look::Break => parted = true,
            Look::Attached | Look::Invisible | Look::Turning | Look::Control => {}
        }
    }
    count
}

fn normal(text: &str) -> String {
    text.nfc().collect()
}

/// What is wrong with the characters of a text, if anything.
fn character_fault(text: &str, breaks: bool) -> Option<&'static str> {
    // The character that invisible characters may follow, and how many of them have followed it.
    let (mut base, mut run) = (None, 0);
    for c in text.chars() {
        match look(c) {
            Look::Control => return Some("must not hold control characters"),
            Look::Break if !breaks => return Some("must not hold control characters"),
            Look::Turning => return Some("must not hold characters that turn the direction of writing"),
            Look::Invisible => {
                run += 1;
                if !joins(c, base, run) {
                    return Some("must not hold invisible characters, except single ones inside a word");
                }
                continue;
            }
            Look::Seen => base = Some(c),
            Look::Attached => {}
            Look::Blank | Look::Break => base = None,
        }
        run = 0;
    }
    None
}

/// Whether an invisible character may stand after `base`, as the `number`th in a row.
fn joins(c: char, base: Option<char>, number: usize) -> bool {
    match c {
        // The marks of direction stand beside punctuation in Hebrew and Arabic, also after blanks. They do not turn the
        // direction of other text.
        '\u{200E}' | '\u{200F}' | '\u{61C}' => number <= MOST_INVISIBLE,
        '\u{E0020}'..='\u{E007F}' => base == Some(FLAG) && number <= MOST_TAGS,
        _ => base.is_some() && number <= MOST_INVISIBLE,
    }
}

/// What is wrong with a text of `least` to `most` characters, if anything.
fn fault(text: &str, least: usize, most: usize, breaks: bool) -> Option<String> {
    if let Some(fault) = character_fault(text, breaks) {
        return Some(fault.to_owned());
    }
    let fits = seen(text) >= least && text.chars().count() <= most;
    (!fits).then(|| format!("must have {least} to {most} characters that can be seen"))
}

/// A text of one line, such as a name or a word. Reading it from JSON normalises the text and refuses nothing. Faults
/// are found by validation, so that all faults of a body are reported together, and texts that were stored before a
/// rule existed can still be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line(String);

impl Line {
    pub fn new(text: &str) -> Self {
        Self(normal(text))
    }

    /// Reads a text of 1 to `most` characters; the error says what is wrong with it.
    pub fn parse(text: &str, most: usize) -> Result<Self, String> {
        let line = Self::new(text.trim());
        fault(&line.0, 1, most, false).map_or(Ok(line), Err)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is wrong with the text as a field of 1 to `most` characters, if anything.
    pub(crate) fn fault(&self, field: &str, most: usize) -> Option<Fault> {
        fault(&self.0, 1, most, false).map(|message| Fault::new(field, message))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// The reason for which somebody else did something with a person's data: 10 to 500 characters. The person can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The shortest reason, in characters that can be seen.
    pub const LEAST: usize = 10;
    /// The longest reason, in characters.
    pub const MOST: usize = 500;

    /// Reads a reason; the error says what is wrong with it. Blanks around the reason are removed, and so is the byte
    /// order mark that some editors put in front of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let reason = Self(normal(text.trim_start_matches('\u{FEFF}').trim()));
        fault(&reason.0, Self::LEAST, Self::MOST, true).map_or(Ok(reason), Err)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a person says in their own words, in at most `most` characters; `None` if the text is empty.
pub fn prose(text: &str, most: usize) -> Result<Option<String>, String> {
    let text = normal(text.trim());
    if text.is_empty() {
        return Ok(None);
    }
    fault(&text, 1, most, true).map_or(Ok(Some(text)), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_does_not_count() {
        for (text, count) in [
            ("", 0),
            ("  \t\u{A0}\u{2003}\u{3000}", 0),
            (&"\u{200B}".repeat(12), 0),
            (&"\u{3164}".repeat(12), 0),
            (&"\u{2800}".repeat(12), 0),
            (&"\u{E0041}".repeat(12), 0),
            (&"\u{301}".repeat(12), 0),
            (&"\u{E000}".repeat(12), 0),
            ("a law suit", 10),
            (" a \u{A0}\n law ", 5),
            ("e\u{301}a\u{308}", 2),
            ("\u{915}\u{94D}\u{200D}\u{937}", 2),
            ("理由", 2),
        ] {
            assert_eq!(seen(text), count, "{text:?}");
        }
    }

    #[test]
    fn a_reason_of_nothing_to_read_is_none() {
        assert!(Reason::parse(&"\u{2800}".repeat(12)).is_err());
        for invisible in ["\u{200B}", "\u{FEFF}", "\u{AD}", "\u{2060}", "\u{115F}", "\u{FFA0}", "\u{E0100}"] {
            assert!(Reason::parse(&invisible.repeat(12)).is_err(), "{invisible:?} alone");
            assert!(Reason::parse(&format!("because{}", invisible.repeat(12))).is_err(), "{invisible:?} behind a word");
            let parted: String = "because".chars().flat_map(|c| [c, invisible.chars().next().expect("one")]).collect();
            assert!(Reason::parse(&parted).is_err(), "{invisible:?} in between");
        }
        for wrong in ["because", "because   \u{301}\u{301}\u{301}", "b\n\n\n\n\n\n\n\n\n\n", &"x".repeat(501)] {
            assert!(Reason::parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["asked for by phone\u{202E}", "\u{2067}asked for by phone\u{2069}", "asked for\u{0} by phone"] {
            assert!(Reason::parse(wrong).is_err(), "{wrong:?}");
        }
        let reason = Reason::parse("\u{FEFF}  Ru\u{308}ckfrage\r\nper Telefon \n").expect("a reason");
        assert_eq!(reason.as_str(), "R\u{fc}ckfrage\r\nper Telefon", "in form C, and trimmed");
        assert!(Reason::parse(&"x".repeat(500)).is_ok() && Reason::parse("a law suit").is_ok());
    }

    #[test]
    fn scripts_and_emoji_that_need_invisible_characters_are_taken() {
        for good in [
            "\u{645}\u{6CC}\u{200C}\u{62E}\u{648}\u{627}\u{647}\u{645}", // Persian, with a non-joiner
            "\u{915}\u{94D}\u{200D}\u{937}",                             // Hindi, with a joiner
            "\u{1797}\u{17B6}\u{200B}\u{1781}\u{17D2}\u{1798}\u{17C2}",  // Khmer, with a place to break
            "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}",               // a family
            "\u{2764}\u{FE0F}\u{200D}\u{1F525}",                         // a heart on fire
            "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}", // the flag of Scotland
            "1\u{FE0F}\u{20E3}",                                         // a key
            "\u{5E9}\u{5DC}\u{5D5}\u{5DD} \u{200F}(1)\u{200E}",          // Hebrew, with marks of direction
            "Ó Súilleabháin",
            "Do\u{AD}nau\u{AD}dampf",
        ] {
            assert_eq!(Line::parse(good, 50).map(|line| line.0), Ok(normal(good)), "{good:?}");
        }
        for wrong in [
            "\u{200B}Anna",
            "Anna \u{200B}Schmidt",
            "Anna\u{200B}\u{200B}\u{200B}Schmidt",
            "Anna\u{E0041}",
            "An\nna",
            "An\tna",
            "An\u{2028}na",
            "An\u{85}na",
            "\u{202E}annA",
            "\u{200D}",
            "",
        ] {
            assert!(Line::parse(wrong, 50).is_err(), "{wrong:?}");
        }
        assert_eq!(Line::parse("An\u{303}a", 3).expect("a name").as_str(), "A\u{f1}a", "it is counted as it is kept");
    }

    #[test]
    fn own_words_may_be_left_out_and_hold_lines() {
        assert_eq!(prose(" \n ", 10), Ok(None));
        assert_eq!(prose(" I move\non ", 10), Ok(Some("I move\non".to_owned())));
        for wrong in ["\u{200B}", "\u{3164}", "a\u{202E}b", "a\u{7}b", "12345678901"] {
            assert!(prose(wrong, 10).is_err(), "{wrong:?}");
        }
    }
}
