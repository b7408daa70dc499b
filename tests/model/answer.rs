//! The comparison of one answer with what the model was told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    model::{
        state::Model,
        system::System,
        told::{Contents, Said, Told},
    },
    steps::Answer,
};

impl System {
    /// Compares an answer: its status, its type of problem, and what its body says about data.
    pub fn compare_answer(&self, model: &Model, answer: &Answer) {
        let (status, text) = (answer.status.as_u16(), &answer.text);
        match &model.told {
            Told::Nothing => panic!("nobody asked: {status} {text}"),
            Told::Refused(problems) => {
                let expected = || format!("expected {problems:?}: {status} {text}");
                assert!(answer.status.is_client_error(), "{}", expected());
                let problem = answer.problem(answer.status);
                let name = problem["type"].as_str().and_then(|name| name.strip_prefix("/problems/"));
                assert!(problems.iter().any(|(code, kind)| *code == status && name == Some(kind)), "{}", expected());
            }
            Told::Done(_, Said::TheSameAgain) => assert!(answer.status.is_success(), "{status} {text}"),
            Told::Done(expected, said) => {
                assert_eq!(status, *expected, "{text}");
                self.compare_body(said, answer);
            }
        }
    }

    fn compare_body(&self, said: &Said, answer: &Answer) {
        if *said == Said::Nothing {
            return;
        }
        let found = answer.json();
        let body = found.get("body").unwrap_or(&found);
        match said {
            Said::Nothing | Said::TheSameAgain => {}
            Said::Day(day, minutes) => assert_eq!(self.day_of(body), (*day, *minutes), "{found}"),
            Said::Days(days) => {
                let list = found.get("events").or(found.get("records")).expect("a list");
                assert_eq!(self.days_of(list), *days);
            }
            Said::Counts(created, updated, unchanged) => {
                let counts =
                    json!({ "created_count": created, "updated_count": updated, "unchanged_count": unchanged });
                assert_eq!(found, counts);
            }
            Said::Word(word, count) => assert_eq!(word_of(body), (*word, *count), "{found}"),
            Said::Removed(count) => assert_eq!(found, json!({ "deleted_count": count })),
            Said::Consent(granted, objected) => match found.get("granted") {
                Some(found) => assert_eq!(*found, *granted),
                // The answer to an objection names the objection only.
                None => assert_eq!(found["objected"], *objected),
            },
            Said::WouldGo(days, words) => {
                let goes = found["would_go"].as_array().expect("a list");
                let count = |kind: &str| {
                    goes.iter().find(|one| one["kind"] == kind).map_or(Some(0), |one| one["count"].as_u64())
                };
                assert_eq!((count("work_day"), count("wordbook_entry")), (Some(*days), Some(*words)), "{found}");
            }
            Said::Status(status) => assert_eq!(found["status"], *status, "{found}"),
            Said::File(contents) => self.compare_file(contents.as_ref(), &found),
        }
    }

    fn compare_file(&self, contents: Option<&Contents>, file: &Value) {
        let bodies = |kind: &str| -> Vec<Value> {
            let records = file["records"][kind].as_array().map(Vec::as_slice).unwrap_or_default();
            records.iter().map(|record| record["body"].clone()).collect()
        };
        let days: BTreeMap<u8, u16> = bodies("work_day").iter().map(|body| self.day_of(body)).collect();
        let words: BTreeMap<u8, u8> = bodies("wordbook_entry").iter().map(word_of).collect();
        if let Some(contents) = contents {
            assert_eq!((&days, &words), (&contents.0, &contents.1), "the days and words in the file");
        }
    }

    /// The days of a list, in its order.
    pub fn days_of(&self, list: &Value) -> Vec<(u8, u16)> {
        let days = list.as_array().expect("a list").iter();
        days.map(|day| self.day_of(day.get("body").unwrap_or(day))).collect()
    }

    /// The number of a day and its actual minutes.
    pub fn day_of(&self, body: &Value) -> (u8, u16) {
        let date: chrono::NaiveDate = body["date"].as_str().expect("a date").parse().expect("a date");
        let number = (date - self.date(0)).num_days();
        let minutes = body["actual_minutes"].as_u64().expect("minutes");
        assert_eq!(body["planned_minutes"], 480, "{body}");
        (number.try_into().expect("a day of ours"), minutes.try_into().expect("a day's minutes"))
    }
}

/// The number of a word, and how often it was reviewed.
pub fn word_of(body: &Value) -> (u8, u8) {
    let id = body["word_id"].as_str().and_then(|id| id.strip_prefix('w')).expect("a word of ours");
    let count = body["passive_review_count"].as_u64().expect("a number");
    (id.parse().expect("a number"), count.try_into().expect("a small number"))
}
