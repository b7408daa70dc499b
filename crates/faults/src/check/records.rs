//! Records: every acknowledged write is seen, once, with its newest value, and is one event.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Client as Database;

use crate::{
    ledger::{Day, Ledger},
    outcome::{Finding, Outcome, Wrong},
    town::{Shown, Town},
};

/// Compares what a person is shown with what one client has acknowledged. Days with an unknown outcome are left out.
pub fn compare(ledger: &Ledger, person: usize, shown: &[Shown]) -> Vec<Finding> {
    let shown: HashMap<_, _> = shown.iter().map(|day| (day.date, day)).collect();
    let is_pending =
        |date| ledger.pending.iter().any(|it| it.person == person && it.days.iter().any(|it| it.0 == date));
    let mut findings = Vec::new();
    for ((_, date), day) in ledger.days.iter().filter(|((whose, date), _)| *whose == person && !is_pending(*date)) {
        let mut note = |wrong, what| findings.push(Finding::new(wrong, format!("{date} of person {person}: {what}")));
        match shown.get(date) {
            None if day.writes() == 0 => {}
            None => note(Wrong::Lost, format!("{} acknowledged writes are not shown", day.writes())),
            Some(shown) if !day.may_show(shown.minutes) => {
                note(Wrong::Lost, format!("{} minutes are shown, acknowledged are {day:?}", shown.minutes));
            }
            Some(shown) if day.record.as_ref().is_some_and(|record| *record != shown.record) => {
                note(Wrong::Doubled, format!("record {} is shown, acknowledged is {day:?}", shown.record));
            }
            Some(_) => {}
        }
    }
    findings
}

/// Compares lists, events and read models with all ledgers, whose outcomes are all known.
pub async fn check(town: &Town, ledgers: &[&Ledger], database: &Database) -> Outcome<()> {
    let events = count(
        database,
        "SELECT aggregate_id::text, count(*), max(sequence) FROM log.events
        WHERE aggregate_type = 'record' AND kind = 'work_day' GROUP BY 1",
    )
    .await?;
    let rows = count(
        database,
        "SELECT record_id::text, count(*), max(sequence) FROM read.records
        WHERE kind = 'work_day' GROUP BY 1",
    )
    .await?;
    for (number, person) in town.people.iter().enumerate() {
        let shown = match town.days_of(person).await {
            Ok(shown) => shown,
            Err(why) => {
                town.note(Finding::new(Wrong::Stuck, format!("the days of person {number} can't be read: {why}")));
                continue;
            }
        };
        let mut days: BTreeMap<_, &Day> = BTreeMap::new();
        for ledger in ledgers {
            compare(ledger, number, &shown).into_iter().for_each(|finding| town.note(finding));
            let mine = ledger.days.iter().filter(|((whose, _), _)| *whose == number);
            days.extend(mine.map(|((_, date), day)| (*date, day)));
        }
        let mut seen = BTreeMap::new();
        for Shown { date, record, .. } in &shown {
            let note =
                |wrong, what: String| town.note(Finding::new(wrong, format!("{date} of person {number}: {what}")));
            if let Some(other) = seen.insert(date, record) {
                note(Wrong::Doubled, format!("it is shown twice, as {other} and {record}"));
            }
            let Some(day) = days.get(date) else {
                note(Wrong::Doubled, "it is shown and was never acknowledged".to_owned());
                continue;
            };
            let writes = i64::try_from(day.writes())?;
            for (what, found) in [("events", events.get(record)), ("rows", rows.get(record))] {
                let (found, newest) = found.copied().unwrap_or_default();
                let wanted = if what == "rows" { 1 } else { writes };
                if (found, newest) != (wanted, writes) {
                    let wrong = if found > wanted || newest > writes { Wrong::Doubled } else { Wrong::Lost };
                    note(
                        wrong,
                        format!("{found} {what} up to version {newest}, acknowledged are {writes} writes: {day:?}"),
                    );
                }
            }
        }
    }
    Ok(())
}

/// Counts and newest versions by record.
async fn count(database: &Database, sql: &str) -> Outcome<HashMap<String, (i64, i64)>> {
    let rows = database.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect())
}
