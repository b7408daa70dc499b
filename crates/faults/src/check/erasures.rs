//! Erasures: whoever confirmed a deletion is gone whole, and nobody is gone in part.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Client as Database;

use crate::{
    check::postponed,
    http::{Call, Reply},
    leaver::Leaver,
    outcome::{Finding, Outcome, Wrong},
    town::Town,
};

const POLL: Duration = Duration::from_millis(100);
/// The table of erased ids.
const FENCE: &str = "vault.erased";

/// People who are leaving, and how many have left.
#[derive(Default)]
pub struct Erasures {
    pub leaving: Vec<Leaver>,
    pub left: usize,
}

impl Erasures {
    /// Waits for erasures. One whose server died in the middle goes on once its lease has run out, so it may stay for
    /// later, unless `is_last`.
    pub async fn check(&mut self, town: &Town, database: &Database, limit: Duration, is_last: bool) -> Outcome<()> {
        let until = Instant::now() + limit;
        loop {
            let mut still = Vec::new();
            for leaver in std::mem::take(&mut self.leaving) {
                match look(town, database, &leaver).await? {
                    State::Gone => self.left += 1,
                    State::There => still.push(leaver),
                    State::Wrong(finding) => town.note(finding),
                }
            }
            self.leaving = still;
            let postponed = postponed(database).await?;
            let waits = |it: &&Leaver| it.is_confirmed && !postponed.contains(&it.deletion);
            let waits = self.leaving.iter().filter(waits).count();
            if waits == 0 || Instant::now() > until {
                if is_last && waits > 0 {
                    town.note(Finding::new(Wrong::Stuck, format!("{waits} confirmed deletions are not carried out")));
                }
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let sql = "SELECT count(*), count(DISTINCT subject_id) FROM log.events WHERE event_type = 'subject.erased'";
        let row = database.query_one(sql, &[]).await?;
        let (events, people): (i64, i64) = (row.get(0), row.get(1));
        if events != people {
            let what = format!("{events} events say that {people} people were erased");
            town.note(Finding::new(Wrong::Doubled, what));
        }
        Ok(())
    }
}

enum State {
    There,
    Gone,
    Wrong(Finding),
}

async fn look(town: &Town, database: &Database, leaver: &Leaver) -> Outcome<State> {
    let mut left = rows_of(database, &leaver.subject).await?;
    let is_fenced = left.iter().any(|table| table == FENCE);
    left.retain(|table| table != FENCE);
    let wrong = |wrong, what: String| State::Wrong(Finding::new(wrong, format!("{}: {what}", leaver.person.email)));
    if !is_fenced {
        let has = |table: &str| left.iter().any(|it| it == table);
        let whole = ["vault.subjects", "vault.records", "auth.users", "read.records", "read.accounts", "read.consents"];
        return Ok(match whole.iter().find(|table| !has(table)) {
            Some(table) => wrong(Wrong::Lost, format!("is not erased, and has no row of {table}")),
            None => State::There,
        });
    }
    if !left.is_empty() {
        return Ok(wrong(Wrong::Unequal, format!("is erased, and has rows of {left:?}")));
    }
    let token = leaver.person.token().await;
    Ok(match town.http.send(leaver.person.number, &Call::get("/v1/work-events/me"), Some(&token)).await {
        Reply::Answered(answer) if answer.status == 401 => State::Gone,
        Reply::Answered(answer) => wrong(Wrong::Unequal, format!("is erased, and is answered {}", answer.said())),
        // Asked again.
        Reply::Unknown(_) => State::There,
    })
}

/// The tables that hold rows of a person, the fence among them, all at one moment. Left out are the log, whose sealed
/// events stay, and jobs.
async fn rows_of(database: &Database, subject: &str) -> Outcome<Vec<String>> {
    let sql = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'subject_id'
               WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('vault', 'auth', 'read')";
    let tables = database.query(sql, &[]).await?;
    let selects: Vec<String> = tables
        .iter()
        .map(|row| row.get::<_, String>(0))
        .map(|table| format!("SELECT '{table}' WHERE EXISTS (SELECT FROM {table} WHERE subject_id = '{subject}')"))
        .collect();
    let rows = database.query(&selects.join(" UNION ALL "), &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
