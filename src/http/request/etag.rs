//! Conditional requests (RFC 9110, section 13), and the entity tags that they compare (8.8.3): the version of a stream
//! or the tag of a file, in quotes.
//!
//! Promises: `If-Match` compares strongly, so that a weak tag never matches; `If-None-Match` compares weakly.
//! `If-Match` is checked first (13.2.2). A condition decides only if the request would succeed without it (13.2.1):
//! faults and missing things are named whatever the condition says. Nothing here has a date of modification, so
//! conditions on dates do not count (13.1.3, 13.1.4). Refuses (400) a field that is neither `*` nor a list of tags.

use context::RecordId;

use crate::{
    app::{
        AppError,
        records::version::{Expected, Versions, version_of},
    },
    http::{problem::Refusal, request::header_field::HeaderList},
};

/// The tag of a record's version with this number.
pub fn tag(record: RecordId, number: i64) -> String {
    quoted(&version_of(record, number))
}

/// A tag in quotes, as a header field has it.
pub fn quoted(opaque: &str) -> String {
    format!("\"{opaque}\"")
}

/// One entity tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    weak: bool,
    /// The text between the quotes.
    opaque: String,
}

impl Tag {
    /// Reads a tag at the beginning of a text; returns the rest of the text as well.
    fn read(text: &str) -> Option<(Self, &str)> {
        let (weak, quoted) = text.strip_prefix("W/").map_or((false, text), |rest| (true, rest));
        let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
        // RFC 9110, 8.8.3: no blanks and no control characters; the header field itself is ASCII.
        let sound = opaque.bytes().all(|byte| byte.is_ascii_graphic());
        sound.then(|| (Self { weak, opaque: opaque.to_owned() }, rest))
    }

    /// Reads a tag that stands alone.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text.trim_matches(BLANKS)).filter(|(_, rest)| rest.is_empty()).map(|(tag, _)| tag)
    }

    /// The strong comparison: both tags are strong and the same.
    pub fn is_strongly(&self, opaque: &str) -> bool {
        !self.weak && self.opaque == opaque
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Listed(Vec<Tag>),
}

impl Tags {
    fn parse(text: &str) -> Option<Self> {
        if text.trim_matches(BLANKS) == "*" {
            return Some(Self::Any);
        }
        let (mut rest, mut tags) = (text, Vec::new());
        loop {
            // Empty elements of a list are ignored (RFC 9110, 5.6.1.2).
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (tag, behind) = Tag::read(rest)?;
            tags.push(tag);
            rest = behind.trim_start_matches(BLANKS);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        }
        (!tags.is_empty()).then_some(Self::Listed(tags))
    }

    /// The versions that the tags name; `text` gives the part of a tag that is the version. A tag that we never gave
    /// is no version of anything.
    fn versions(&self, weak_too: bool, text: fn(&str) -> &str) -> Versions {
        let version = |tag: &Tag| (weak_too || !tag.weak).then(|| text(&tag.opaque).to_owned());
        match self {
            Self::Any => Versions::Any,
            Self::Listed(tags) => Versions::These(tags.iter().filter_map(version).collect()),
        }
    }
}

/// The conditions of a request on the present state of a thing.
#[derive(Debug, Default)]
pub struct Conditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// What the conditions mean for reading an existing thing.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// The thing is shown.
    Shown,
    /// The caller has the thing already: 304.
    Unchanged,
    /// The thing is not one that the caller demands: 412.
    Failed,
}

impl Conditions {
    /// Reads both header fields.
    pub fn read(if_match: &HeaderList, if_none_match: &HeaderList) -> Result<Self, Refusal> {
        let parse = |name: &str, field: &HeaderList| {
            let Some(text) = &field.0 else { return Ok(None) };
            let wrong = || Refusal::unreadable(name, "must be `*`, or tags in quotes as an ETag header gives them");
            Tags::parse(text).map(Some).ok_or_else(wrong)
        };
        Ok(Self { if_match: parse("If-Match", if_match)?, if_none_match: parse("If-None-Match", if_none_match)? })
    }

    /// What the conditions mean for reading a thing with this tag.
    pub fn reading(&self, opaque: &str) -> Reading {
        let named = |tags: &Tags, same: &dyn Fn(&Tag) -> bool| match tags {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(same),
        };
        if self.if_match.as_ref().is_some_and(|tags| !named(tags, &|tag| tag.is_strongly(opaque))) {
            return Reading::Failed;
        }
        let has_it = self.if_none_match.as_ref().is_some_and(|tags| named(tags, &|tag| tag.opaque == opaque));
        if has_it { Reading::Unchanged } else { Reading::Shown }
    }

    /// The same, with a failed condition as an error. Returns true if the caller has the thing already.
    pub fn has(&self, opaque: &str) -> Result<bool, AppError> {
        match self.reading(opaque) {
            Reading::Shown => Ok(false),
            Reading::Unchanged => Ok(true),
            Reading::Failed => Err(AppError::PreconditionFailed),
        }
    }

    /// What the conditions demand of the version before a change.
    pub fn expected(&self) -> Expected {
        self.expected_by(|opaque| opaque)
    }

    /// The same, for tags that hold more than the version; `text` gives the part that is the version.
    pub fn expected_by(&self, text: fn(&str) -> &str) -> Expected {
        Expected {
            one_of: self.if_match.as_ref().map(|tags| tags.versions(false, text)),
            none_of: self.if_none_match.as_ref().map(|tags| tags.versions(true, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Conditions, Refusal> {
        let field = |text: Option<&str>| HeaderList(text.map(str::to_owned));
        Conditions::read(&field(if_match), &field(if_none_match))
    }

    fn sound(if_match: Option<&str>, if_none_match: Option<&str>) -> Conditions {
        conditions(if_match, if_none_match).unwrap_or_else(|_| panic!("{if_match:?} {if_none_match:?}"))
    }

    #[test]
    fn a_list_of_tags_is_read_and_all_else_is_refused() {
        for good in [
            "*",
            " * ",
            "\"3\"",
            "W/\"3\"",
            "\"a\", \"b\"",
            "\"a\",\"b\"",
            ",, \"a\" ,",
            "\"a,b\"",
            "\"\"",
            "\"a\"\t,\t\"b\"",
        ] {
            assert!(Tags::parse(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            " ",
            ",",
            "3",
            "\"3",
            "3\"",
            "w/\"3\"",
            "W/3",
            "W/ \"3\"",
            "\"a\" \"b\"",
            "\"a\"\"b\"",
            "*, \"3\"",
            "\"3\", *",
            "\"a b\"",
            "**",
            "\"é\"",
        ] {
            assert!(conditions(Some(wrong), None).is_err(), "{wrong:?}");
            assert!(conditions(None, Some(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn if_match_compares_strongly_and_if_none_match_weakly() {
        let reading = |if_match, if_none_match| sound(if_match, if_none_match).reading("3");
        for passes in ["*", "\"3\"", "\"2\", \"3\""] {
            assert_eq!(reading(Some(passes), None), Reading::Shown, "{passes}");
        }
        for fails in ["\"2\"", "W/\"3\"", "\"03\"", "\"\"", "\"99999999999999999999\""] {
            assert_eq!(reading(Some(fails), None), Reading::Failed, "{fails}");
        }
        for same in ["*", "\"3\"", "W/\"3\"", "\"1\", W/\"3\""] {
            assert_eq!(reading(None, Some(same)), Reading::Unchanged, "{same}");
        }
        assert_eq!(reading(None, Some("\"2\", W/\"4\"")), Reading::Shown);
        assert_eq!(reading(Some("\"2\""), Some("\"3\"")), Reading::Failed, "If-Match goes first");
        assert_eq!(reading(None, None), Reading::Shown);
    }

    #[test]
    fn before_a_change_the_version_must_be_one_that_is_demanded() {
        let permits = |if_match, if_none_match, version: Option<i64>| {
            let version = version.map(|number| number.to_string());
            sound(if_match, if_none_match).expected().permits(version.as_deref())
        };
        for (if_match, if_none_match, version, expected) in [
            (None, None, None, true),
            (None, None, Some(3), true),
            (Some("*"), None, None, false),
            (Some("*"), None, Some(3), true),
            (Some("\"3\""), None, Some(3), true),
            (Some("\"3\""), None, Some(4), false),
            (Some("\"3\""), None, None, false),
            (Some("W/\"3\""), None, Some(3), false),
            (Some("\"x\", \"3\""), None, Some(3), true),
            (None, Some("*"), None, true),
            (None, Some("*"), Some(3), false),
            (None, Some("W/\"3\""), Some(3), false),
            (None, Some("\"x\", \"4\""), Some(3), true),
            (Some("\"3\""), Some("*"), Some(3), false),
            // A record that does not exist has no version, so it does not match `0`.
            (Some("\"0\""), None, None, false),
        ] {
            assert_eq!(
                permits(if_match, if_none_match, version),
                expected,
                "{if_match:?} {if_none_match:?} {version:?}"
            );
        }
    }
}
