//! The columns and cells of CSV tables, and how the body of a record is read from its cells again.

use domain::kinds::kind;
use serde_json::{Map, Value};

use crate::export::{
    contents::Part,
    spreadsheet::{guarded, unguarded},
};

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

/// A column of a kind's table: a field of a body.
#[derive(Clone)]
pub struct Column {
    pub name: String,
    /// Whether the cells are texts, and not JSON.
    pub is_text: bool,
}

/// The columns of a kind: the fields of its example. Empty for an unknown kind.
pub fn columns_of(name: &str) -> Vec<Column> {
    let example = kind(name).map(|kind| kind.example().into_inner());
    let fields = example.iter().filter_map(Value::as_object).flatten();
    fields.map(|(name, value)| Column { name: name.clone(), is_text: value.is_string() }).collect()
}

impl Column {
    /// The value that a reader takes from a cell; `None` if the cell is empty or is no value of this column.
    fn value(&self, cell: &str) -> Option<Value> {
        match self.is_text {
            _ if cell.is_empty() => None,
            true => Some(unguarded(cell).into()),
            false => serde_json::from_str(cell).ok(),
        }
    }
}

/// The cells of a body: one for each column, and [`OTHER`] behind them, which holds, as JSON, each field that has no
/// column or that a reader would take another value for from its column. So [`body_of`] returns the same body.
pub fn row_of(columns: &[Column], mut body: Map<String, Value>) -> Vec<String> {
    let mut cells = Vec::with_capacity(columns.len() + 1);
    for column in columns {
        let value = body.get(&column.name);
        let cell = value.map(cell).unwrap_or_default();
        if column.value(&cell).as_ref() == value {
            body.remove(&column.name);
        }
        cells.push(cell);
    }
    cells.push(if body.is_empty() { String::new() } else { Value::Object(body).to_string() });
    cells
}

/// The body whose cells [`row_of`] has made; `None` for other cells, such as a text in a column that has no texts any more.
pub fn body_of<'a>(columns: &[Column], cells: impl DoubleEndedIterator<Item = &'a str>) -> Option<Map<String, Value>> {
    let mut cells = cells.rev();
    let other = cells.next()?;
    let mut body = if other.is_empty() { Map::new() } else { serde_json::from_str(other).ok()? };
    for (column, cell) in columns.iter().rev().zip(cells) {
        match column.value(cell) {
            Some(value) => drop(body.entry(&column.name).or_insert(value)),
            None if cell.is_empty() || body.contains_key(&column.name) => {}
            None => return None,
        }
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use domain::kinds::KINDS;
    use proptest::prelude::*;

    use super::*;

    const SLY: &[&str] = &[
        "",
        " ",
        "5",
        "-1",
        "true",
        "null",
        "[]",
        "{}",
        "\"\"",
        "=1",
        "'=1",
        "''=1",
        "'",
        "a,b\r\n\"c\"",
        "2026-03-02",
    ];

    /// Any value, and often one that looks like another in a cell.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            prop::sample::select(SLY).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,3}", inner, 0..3)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    /// A body of a kind in which fields are missing, have other values, or are of no column.
    fn bodies() -> impl Strategy<Value = (&'static str, Map<String, Value>)> {
        let change = (any::<prop::sample::Index>(), prop::option::of(values()));
        let more = prop::collection::btree_map("[a-z]{1,4}|id|version|other", values(), 0..3);
        let changes = prop::collection::vec(change, 0..6);
        (0..KINDS.len(), changes, more).prop_map(|(kind, changes, more)| {
            let kind = KINDS[kind];
            let mut body = kind.example().into_inner().as_object().cloned().expect("an object");
            let names: Vec<String> = body.keys().cloned().collect();
            for (index, value) in changes {
                let name = index.get(&names);
                match value {
                    Some(value) => drop(body.insert(name.clone(), value)),
                    None => drop(body.remove(name)),
                }
            }
            body.extend(more);
            (kind.name(), body)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_body_is_the_same_after_a_table((kind, body) in bodies()) {
            let (columns, mut table) = (columns_of(kind), csv::WriterBuilder::new().from_writer(Vec::new()));
            table.write_record(row_of(&columns, body.clone())).expect("written");
            let table = table.into_inner().expect("ended");
            let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(table.as_slice());
            let row = rows.records().next().expect("a row").expect("well formed");
            prop_assert_eq!(body_of(&columns, row.iter()), Some(body));
        }
    }

    #[test]
    fn a_field_is_also_in_the_last_cell_only_if_its_own_says_something_else() {
        let example = kind("wordbook_entry").expect("a kind").example().into_inner();
        let mut body = example.as_object().cloned().expect("an object");
        let columns = columns_of("wordbook_entry");
        assert_eq!(row_of(&columns, body.clone()).last().map(String::as_str), Some(""));
        body.insert("lemma".to_owned(), Value::from(5));
        body.insert("part_of_speech".to_owned(), Value::from(""));
        body.insert("next_active_review_time".to_owned(), Value::Null);
        body.insert("word_id".to_owned(), Value::from("=1"));
        let cells = row_of(&columns, body);
        assert!(cells.contains(&"5".to_owned()) && cells.contains(&"'=1".to_owned()));
        let other = r#"{"lemma":5,"next_active_review_time":null,"part_of_speech":""}"#;
        assert_eq!(cells.last().map(String::as_str), Some(other));
    }
}
