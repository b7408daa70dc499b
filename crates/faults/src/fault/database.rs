//! Sessions that are ended, connections that are taken, and transactions that others have to wait for.

use rand::{RngExt, seq::IndexedRandom};

use crate::{fault::scene::Scene, outcome::Outcome};

const END_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename LIKE 'lethe%'";
/// More than PostgreSQL allows.
const MOST: usize = 1000;

pub async fn cut(scene: &mut Scene<'_>) -> Outcome<String> {
    let database = scene.machine.database().await?;
    let ended: i64 = database.query_one(END_SESSIONS, &[]).await?.get(0);
    Ok(format!("{ended} sessions"))
}

/// Takes every connection that is free, or all of them, those of the server too.
pub async fn take_all(scene: &mut Scene<'_>) -> Outcome<String> {
    let first = scene.machine.database().await?;
    let mut taken = Vec::new();
    let all = scene.dice.random_bool(0.5);
    let turns = if all { 20 } else { 1 };
    for _ in 0..turns {
        if all {
            first.query_one(END_SESSIONS, &[]).await?;
        }
        while taken.len() < MOST {
            let Ok(session) = scene.machine.database().await else { break };
            taken.push(session);
        }
    }
    scene.hold().await;
    Ok(format!("{}{}", taken.len(), if all { ", those of the server among them" } else { "" }))
}

/// A transaction with a number of its own, below which nobody reads the log on.
pub async fn keep_open(scene: &mut Scene<'_>) -> Outcome<String> {
    let database = scene.machine.database().await?;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id(); SELECT count(*) FROM log.events";
    database.batch_execute(begin).await?;
    scene.hold().await;
    database.batch_execute("ROLLBACK").await?;
    Ok(String::new())
}

pub async fn lock(scene: &mut Scene<'_>) -> Outcome<String> {
    let database = scene.machine.database().await?;
    let table = *["log.events", "read.records"].choose(scene.dice).ok_or("no table")?;
    database.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await?;
    scene.hold().await;
    // The server may have ended a session that it had to wait for.
    let outcome = database.batch_execute("ROLLBACK").await;
    Ok(if outcome.is_ok() { table.to_owned() } else { format!("{table}, until the server ended the session") })
}
