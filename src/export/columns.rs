//! The columns and cells of CSV tables.

use domain::kinds::kind;
use serde_json::{Map, Value};

use crate::export::{contents::Part, spreadsheet::guarded};

/// The columns of the flat table of words (requirement 338).
pub const FLAT: [&str; 11] = [
    "UserEmail",
    "AutoNewReview",
    "DailyCount",
    "WordId",
    "Lemma",
    "POS",
    "PassiveCount",
    "NextPassive",
    "ActiveCount",
    "NextActive",
    "AddedAt",
];
/// The fields that fill the flat table: one of the account, two of the settings, and those of each word.
pub const FLAT_USER: &str = "email";
pub const FLAT_SETTINGS: [&str; 2] = ["autoNewReview", "dailyNewReviewCount"];
pub const FLAT_WORD: [&str; 8] = [
    "wordId",
    "lemma",
    "partOfSpeech",
    "passiveReviewCount",
    "nextPassiveReviewTime",
    "activeReviewCount",
    "nextActiveReviewTime",
    "addedAt",
];
/// The fields of `export.csv` by part, in the order of requirement 337.
pub const METADATA: [&str; 3] = ["exportDate", "exportVersion", "userId"];
pub const USER: [&str; 2] = ["email", "registeredAt"];
pub const SETTINGS: [&str; 3] = ["autoNewReview", "dailyNewReviewCount", "updatedAt"];
/// The columns of every record before the columns of its kind; [`OTHER`] comes behind them.
pub const RECORD: [&str; 4] = ["id", "submittedAt", "updatedAt", "version"];
pub const OTHER: &str = "other";

/// A value as a cell. A text is guarded against being taken for a formula, null is an empty cell, and lists and objects
/// are JSON.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => guarded(text).into_owned(),
        other => other.to_string(),
    }
}

/// The columns of a part that has a table of its own. Records have [`columns_of`] instead.
pub fn columns(part: &Part) -> &'static [&'static str] {
    match part {
        Part::Consents => &["purpose", "decision", "noticeVersion", "noticeSha256", "noticeText", "decidedAt"],
        Part::Retention => &["kind", "days", "own"],
        Part::Switches => &["restrictedAt", "heldUntil", "holdReason"],
        Part::Requests => &[
            "type",
            "id",
            "scope",
            "format",
            "state",
            "requestedAt",
            "confirmedUntil",
            "endedAt",
            "expiresAt",
            "failure",
            "records",
            "size",
            "filters",
            "reason",
        ],
        Part::Events => &[
            "eventId",
            "type",
            "version",
            "recordedAt",
            "streamType",
            "streamId",
            "sequence",
            "kind",
            "actor",
            "request",
            "session",
            "address",
            "agent",
            "details",
            "data",
        ],
        Part::Request => &["id", "scope", "format", "requestedAt", "filters"],
        _ => &[],
    }
}

/// The columns of a kind: the fields of its example. Empty for an unknown kind.
pub fn columns_of(name: &str) -> Vec<String> {
    let example = kind(name).map(|kind| kind.example().into_inner());
    example.iter().filter_map(Value::as_object).flat_map(Map::keys).cloned().collect()
}
