//! The report: what was replayed, the counts that were asked for, and what does not fit; as tables or as one JSON
//! object.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    fold::{Census, Dimension, Replay, Tally},
    grant::Shown,
    stream::TYPES,
};

#[derive(Serialize)]
pub struct Report {
    /// How many events were replayed.
    pub events: u64,
    /// The replayed events, one entry for each type of stream.
    pub replayed: Vec<Replayed>,
    /// What the events are counted by.
    pub by: Vec<Dimension>,
    /// The counts, each with its dimensions by name.
    pub counts: Vec<Map<String, Value>>,
    /// The events of one person's records, opened with a granted key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<Shown>,
    /// What does not fit; empty if everything fits.
    pub findings: Vec<String>,
}

/// The replayed events of one type of stream.
#[derive(Serialize)]
pub struct Replayed {
    aggregate_type: &'static str,
    streams: usize,
    /// Counts by event type.
    event_types: std::collections::BTreeMap<String, Tally>,
}

impl Report {
    /// Combines the replay with the census, and notes where they differ.
    pub fn new(replays: &[Replay], census: &Census) -> Self {
        let replayed: Vec<Replayed> = TYPES
            .iter()
            .zip(replays)
            .map(|(aggregate_type, replay)| Replayed {
                aggregate_type,
                streams: replay.streams(),
                event_types: replay.tallies.clone(),
            })
            .collect();
        let by = census.by();
        let count = |(key, events): (&Vec<String>, &u64)| {
            let named =
                by.iter().zip(key).map(|(dimension, value)| (name(*dimension).to_owned(), value.clone().into()));
            named.chain([("events".to_owned(), (*events).into())]).collect()
        };
        Self {
            events: replays.iter().flat_map(|replay| replay.tallies.values()).map(|tally| tally.events).sum(),
            replayed,
            counts: census.groups.iter().map(count).collect(),
            findings: replays.iter().flat_map(Replay::findings).chain(census.compare(replays)).collect(),
            shown: Vec::new(),
            by,
        }
    }

    /// The report as tables for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut rows = vec![["stream", "streams", "event", "events", "sealed"].map(str::to_owned).to_vec()];
        for kind in &self.replayed {
            for (event_type, tally) in &kind.event_types {
                rows.push(vec![
                    kind.aggregate_type.to_owned(),
                    kind.streams.to_string(),
                    event_type.clone(),
                    tally.events.to_string(),
                    tally.sealed.to_string(),
                ]);
            }
        }
        text += &aligned(&rows);
        if self.by != [Dimension::Type] {
            let heading: Vec<String> =
                self.by.iter().map(|dimension| name(*dimension).to_owned()).chain(["events".to_owned()]).collect();
            let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let row = |count: &Map<String, Value>| heading.iter().map(|column| cell(&count[column])).collect();
            let rows: Vec<Vec<String>> = std::iter::once(heading.clone()).chain(self.counts.iter().map(row)).collect();
            text += "\n";
            text += &aligned(&rows);
        }
        for Shown { record, sequence, event_type, body } in &self.shown {
            let body = body.as_ref().map_or_else(|| "(does not open)".to_owned(), Value::to_string);
            writeln!(text, "\n{record} {sequence} {event_type}\n  {body}").expect("a string takes all");
        }
        let verdict = if self.findings.is_empty() { "the table holds the same" } else { "see the findings" };
        writeln!(text, "\n{} events replayed; {verdict}.", self.events).expect("a string takes all");
        for finding in &self.findings {
            writeln!(text, "FINDING  {finding}").expect("a string takes all");
        }
        text
    }
}

fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Type => "type",
        Dimension::Subject => "subject",
        Dimension::Day => "day",
    }
}

/// Columns of equal width: numbers to the right, words to the left. The first row is the heading.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric = |column: usize| rows.iter().skip(1).all(|row| row[column].bytes().all(|byte| byte.is_ascii_digit()));
    let right: Vec<bool> = (0..columns).map(numeric).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fold::Cell, stream::AnyEvent};

    fn report(by: &[Dimension], stored: u64) -> Report {
        let event_type = "consent.granted".to_owned();
        let payload = json!({ "Granted": {} }).as_object().expect("an object").clone();
        let event = AnyEvent { event_type: event_type.clone(), event_version: "1.0".to_owned(), payload };
        let mut replays = TYPES.map(Replay::new);
        replays[1].take("s/work_hours", 1, &event);
        let mut census = Census::new(by);
        let (subject, day) = ("s".to_owned(), "2026-01-02".to_owned());
        census.take(Cell { aggregate_type: "consent".to_owned(), event_type, subject, day, events: stored });
        Report::new(&replays, &census)
    }

    #[test]
    fn a_sound_log_reads_as_tables() {
        let expected = "\
stream   streams  event            events  sealed
consent        1  consent.granted       1       0

type             day         events
consent.granted  2026-01-02       1

1 events replayed; the table holds the same.
";
        assert_eq!(report(&[Dimension::Day, Dimension::Type], 1).table(), expected);
    }

    #[test]
    fn a_difference_is_told_in_both_forms() {
        let report = report(&[Dimension::Type], 2);
        assert!(
            report.table().ends_with(
                "see the findings.\nFINDING  consent: consent.granted: the table holds 2, the replay gave 1\n"
            )
        );
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(
            (&json["events"], &json["counts"]),
            (&json!(1), &json!([{ "type": "consent.granted", "events": 2 }]))
        );
        assert_eq!(json["findings"].as_array().map(Vec::len), Some(1));
    }
}
