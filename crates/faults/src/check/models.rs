//! Read models: a rebuild from the log repairs no row, and leaves every table as it was, byte for byte.

use std::time::Duration;

use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};
use tokio_postgres::Client as Database;

use crate::{
    check::run,
    machine::Machine,
    outcome::{Finding, Outcome, Wrong},
    town::Town,
};

/// Read models that a rebuild compares with the log, with their tables.
const COMPARED: [(&str, &str); 5] = [
    ("records", "read.records"),
    ("consents", "read.consents"),
    ("accounts", "read.accounts"),
    ("deletions", "read.deletions"),
    ("retention", "read.retention"),
];
/// The read model that follows the log, and is built anew beside the one that is shown.
const CATCH_UP: &str = "activity";
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

pub async fn check(machine: &Machine, town: &Town) -> Outcome<()> {
    let database = machine.database().await?;
    if !catch_up(&database).await? {
        town.note(Finding::new(Wrong::Stuck, format!("{CATCH_UP} does not come to the end of the log")));
        return Ok(());
    }
    // A job may write in between, and then the tables are compared again.
    for is_last in [false, false, true] {
        let before = dump(&database).await?;
        let repaired = rebuild(machine).await?;
        catch_up(&database).await?;
        let after = dump(&database).await?;
        if let Some(what) = repaired {
            town.note(Finding::new(Wrong::Unequal, what));
            break;
        }
        if before == after {
            break;
        }
        if is_last {
            let differs = before.iter().zip(&after).find(|(before, after)| before != after);
            let what = format!("a rebuild changes rows: {differs:?} ({} and {} rows)", before.len(), after.len());
            town.note(Finding::new(Wrong::Unequal, what));
        }
    }
    Ok(())
}

/// Waits until the projection that follows the log has come to its end.
async fn catch_up(database: &Database) -> Outcome<bool> {
    let sql = "SELECT (SELECT coalesce(max(position), 0) FROM log.events) <= max(c.position)
               FROM read.checkpoints c WHERE c.name = $1";
    let until = Instant::now() + LIMIT;
    while Instant::now() < until {
        if database.query_one(sql, &[&CATCH_UP]).await?.get::<_, Option<bool>>(0) == Some(true) {
            return Ok(true);
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(false)
}

/// All rows of all read models, without the number of the generation, and the sums of the tally.
async fn dump(database: &Database) -> Outcome<Vec<String>> {
    let mut rows = Vec::new();
    for (_, table) in COMPARED {
        let sql = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
        rows.extend(database.query(&sql, &[]).await?.iter().map(|row| row.get::<_, String>(0)));
    }
    // A read that is still being recorded adds to a count; then the tables are compared again.
    let of_newest = |table: &str| {
        format!(
            "SELECT '{table} ' || (to_jsonb(a) - 'generation')::text FROM {table} a
             WHERE generation = (SELECT max(generation) FROM {table}) ORDER BY 1"
        )
    };
    let tally = "SELECT concat_ws(' ', 'read.tally', what, purpose, notice_version, sum(delta)) FROM read.tally
                 GROUP BY what, purpose, notice_version HAVING sum(delta) <> 0 ORDER BY 1";
    for sql in [of_newest("read.activity"), of_newest("read.hours"), tally.to_owned()] {
        rows.extend(database.query(&sql, &[]).await?.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(rows)
}

/// Rebuilds all read models; returns what was repaired, if anything.
async fn rebuild(machine: &Machine) -> Outcome<Option<String>> {
    let mut runs = JoinSet::new();
    for name in COMPARED.iter().map(|(name, _)| *name).chain([CATCH_UP]) {
        let args = ["projections", "rebuild", "--json", "--data", &machine.data().display().to_string()];
        let more = ["--database", &machine.url("postgres"), name];
        let args = args.iter().chain(&more).map(|arg| (*arg).to_owned()).collect();
        let program = machine.programs.lethe.clone();
        runs.spawn(async move { run(&program, args).await });
    }
    let mut repaired = Vec::new();
    while let Some(ended) = runs.join_next().await {
        let (code, said) = ended??;
        let report: Value = serde_json::from_str(&said).unwrap_or_default();
        let rows: u64 = ["added", "corrected", "removed"].iter().filter_map(|name| report[name].as_u64()).sum();
        if code != Some(0) || rows > 0 {
            repaired.push(format!("a rebuild ends with {code:?}: {said}"));
        }
    }
    Ok((!repaired.is_empty()).then(|| repaired.join("; ")))
}
