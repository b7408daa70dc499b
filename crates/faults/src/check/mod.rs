//! What must hold after each round: nothing acknowledged is lost, nothing is done twice, the log is signed, read models
//! follow from it, and erasures are whole.

pub mod erasures;
pub mod log;
pub mod models;
pub mod records;

use std::{
    collections::HashSet,
    path::Path,
    process::{Command, Stdio},
};

use tokio_postgres::Client as Database;

use crate::outcome::Outcome;

/// Requests whose jobs rightly wait: they were asked for under a clock that was ahead, and are due when the true clock
/// says the same; or they failed, and are tried again later.
pub async fn postponed(database: &Database) -> Outcome<HashSet<String>> {
    let sql = "SELECT request_id::text FROM jobs.jobs WHERE state IN ('waiting', 'running')
               AND (created_at > now() + interval '5 seconds' OR (failure IS NOT NULL AND due_at > now()))";
    Ok(database.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Runs a program to its end; returns its exit code and the last line of its standard output.
async fn run(program: &Path, args: Vec<String>) -> Outcome<(Option<i32>, String)> {
    let mut command = Command::new(program);
    command.args(args).env("LETHE_LOG", "error").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((output.status.code(), if output.status.success() { said } else { format!("{said}{wrong}") }))
}
