//! The ledger of one client: what it asked to be written, and what was acknowledged.
//!
//! Each write of a day has minutes of its own, and the version that the server gives it. So the versions of a day must
//! be 1, 2, 3, …, each once, and the newest one says what is to be seen.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    http::{Answer, Call},
    outcome::{Finding, Wrong},
};

const MINUTES: u16 = 1440;

/// One or several days that a client asked to be stored, as one request.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose days.
    pub person: usize,
    pub days: Vec<(NaiveDate, u16)>,
    pub call: Call,
}

/// A day of a person.
#[derive(Debug, Default)]
pub struct Day {
    /// The record's id, once an answer named it.
    pub record: Option<String>,
    /// Minutes by version, of writes whose answer names the version.
    pub versions: BTreeMap<i64, u16>,
    /// Minutes of acknowledged writes whose answer names no version.
    pub unnumbered: Vec<u16>,
    /// How many writes were asked for.
    asked: u16,
}

impl Day {
    /// How many events the day must have.
    pub fn writes(&self) -> usize {
        self.versions.len() + self.unnumbered.len()
    }

    /// Whether these may be the minutes to be seen.
    pub fn may_show(&self, minutes: u16) -> bool {
        let newest = i64::try_from(self.writes()).unwrap_or_default();
        match self.versions.get(&newest) {
            Some(newest) => *newest == minutes,
            None => self.unnumbered.contains(&minutes),
        }
    }
}

/// What one client asked and was answered.
#[derive(Default)]
pub struct Ledger {
    pub days: HashMap<(usize, NaiveDate), Day>,
    /// Writes with an unknown outcome.
    pub pending: Vec<Write>,
    /// Writes that were acknowledged, with their answers, to be repeated now and then.
    pub done: Vec<(Write, Answer)>,
}

/// How many acknowledged writes are kept to be repeated.
const REPEATABLE: usize = 64;

impl Ledger {
    /// A write of these days with minutes that none of them had. It counts as asked for from now on.
    pub fn write(&mut self, person: usize, dates: &[NaiveDate], key: &str) -> Write {
        let mut days = Vec::new();
        for date in dates {
            let day = self.days.entry((person, *date)).or_default();
            day.asked += 1;
            // 7 has no factor in common with 1440, so that the minutes repeat only after 1440 writes.
            days.push((*date, day.asked * 7 % MINUTES));
        }
        let body = |(date, minutes): &(NaiveDate, u16)| json!({ "date": date.to_string(), "planned_minutes": 480, "actual_minutes": minutes, "source": "manual" });
        let (path, body) = match &days[..] {
            [day] => ("daily", body(day)),
            days => ("batch", json!({ "events": days.iter().map(body).collect::<Vec<Value>>() })),
        };
        let call = Call {
            method: Method::POST,
            path: format!("/v1/work-events/{path}"),
            key: Some(key.to_owned()),
            body: Some(body),
        };
        Write { person, days, call }
    }

    /// Notes a write that was acknowledged.
    pub fn acknowledge(&mut self, write: Write, answer: Answer) -> Result<(), Finding> {
        for (date, minutes) in &write.days {
            let day = self.days.entry((write.person, *date)).or_default();
            let said = |wrong, what| Err(Finding::new(wrong, format!("{date} of person {}: {what}", write.person)));
            let Some(version) = answer.version else {
                day.unnumbered.push(*minutes);
                continue;
            };
            let record = answer.text("event_id");
            if day.record.as_ref().is_some_and(|known| *known != record) {
                return said(Wrong::Doubled, format!("a second record, {record}"));
            }
            day.record = Some(record);
            if let Some(other) = day.versions.insert(version, *minutes) {
                return said(Wrong::Lost, format!("version {version} has {other} minutes and {minutes} minutes"));
            }
        }
        if self.done.len() == REPEATABLE {
            self.done.remove(0);
        }
        self.done.push((write, answer));
        Ok(())
    }

    /// Checks the answer to a repetition of an acknowledged write.
    pub fn repeated(write: &Write, first: &Answer, again: &Answer) -> Result<(), Finding> {
        let key = write.call.key.as_deref().unwrap_or_default();
        if !again.is_replayed {
            let what = format!("the acknowledged request {key} was worked on again: {}", again.said());
            return Err(Finding::new(Wrong::Doubled, what));
        }
        let same = (again.status, again.version, &again.body) == (first.status, first.version, &first.body);
        let what = || format!("the answer to {key} was {}, and is {}", first.said(), again.said());
        same.then_some(()).ok_or_else(|| Finding::new(Wrong::Unequal, what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: Option<i64>) -> Answer {
        let body = br#"{"event_id":"one"}"#.to_vec();
        Answer { status: 200, body, is_replayed: false, version }
    }

    #[test]
    fn the_newest_version_is_to_be_seen_whatever_the_order_of_the_answers() {
        let (mut ledger, date) = (Ledger::default(), NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date"));
        let (first, second) = (ledger.write(0, &[date], "a"), ledger.write(0, &[date], "b"));
        assert_ne!(first.days, second.days, "each write has minutes of its own");
        let (old, new) = (first.days[0].1, second.days[0].1);
        ledger.acknowledge(second.clone(), answer(Some(2))).expect("version 2");
        ledger.acknowledge(first.clone(), answer(Some(1))).expect("version 1");
        let day = &ledger.days[&(0, date)];
        assert!(day.writes() == 2 && day.may_show(new) && !day.may_show(old));
        let twice = ledger.acknowledge(first, answer(Some(2))).expect_err("a version is given once");
        assert_eq!(twice.wrong, Wrong::Lost);
    }

    #[test]
    fn a_write_without_a_version_may_be_the_newest() {
        let (mut ledger, date) = (Ledger::default(), NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date"));
        let (one, batch) = (ledger.write(0, &[date], "a"), ledger.write(0, &[date], "b"));
        let (old, new) = (one.days[0].1, batch.days[0].1);
        ledger.acknowledge(one, answer(Some(1))).expect("version 1");
        ledger.acknowledge(batch, answer(None)).expect("no version");
        let day = &ledger.days[&(0, date)];
        assert!(day.may_show(new) && !day.may_show(old));
    }

    #[test]
    fn a_repeated_request_gets_the_first_answer_and_does_nothing() {
        let mut ledger = Ledger::default();
        let write = ledger.write(0, &[NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date")], "a");
        let replayed = Answer { is_replayed: true, ..answer(Some(1)) };
        assert!(Ledger::repeated(&write, &answer(Some(1)), &replayed).is_ok());
        let done_again = Ledger::repeated(&write, &answer(Some(1)), &answer(Some(1))).expect_err("it was done again");
        assert_eq!(done_again.wrong, Wrong::Doubled);
        let other = Ledger::repeated(&write, &answer(Some(2)), &replayed).expect_err("the answer is another");
        assert_eq!(other.wrong, Wrong::Unequal);
    }
}
