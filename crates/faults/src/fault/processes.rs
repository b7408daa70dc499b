//! Processes that are killed, or stopped for a while.

use rand::{RngExt, seq::IndexedRandom};
use rustix::process::Signal;

use crate::{fault::scene::Scene, machine::Start, outcome::Outcome, process};

pub async fn kill_server(scene: &mut Scene<'_>) -> Outcome<String> {
    scene.machine.kill()?;
    scene.wait_a_moment(500).await;
    scene.machine.again(&Start::default())?;
    Ok(String::new())
}

pub fn kill_postgres(scene: &Scene<'_>) -> Outcome<String> {
    process::signal(scene.machine.postmaster().ok_or("PostgreSQL does not run")?, Signal::KILL);
    Ok(String::new())
}

/// The sessions of a killed PostgreSQL end by themselves, a little later.
pub async fn kill_both(scene: &mut Scene<'_>) -> Outcome<String> {
    let postmaster = scene.machine.postmaster().ok_or("PostgreSQL does not run")?;
    let is_first = scene.dice.random_bool(0.5);
    if is_first {
        process::signal(postmaster, Signal::KILL);
    }
    scene.machine.kill()?;
    process::signal(postmaster, Signal::KILL);
    scene.wait_a_moment(500).await;
    scene.machine.again(&Start::default())?;
    Ok(if is_first { "PostgreSQL first" } else { "the server first" }.to_owned())
}

pub async fn kill_session(scene: &mut Scene<'_>) -> Outcome<String> {
    let database = scene.machine.database().await?;
    let sql = "SELECT pid, usename::text FROM pg_stat_activity WHERE usename LIKE 'lethe%' ORDER BY pid";
    let rows = database.query(sql, &[]).await?;
    let row = rows.choose(scene.dice).ok_or("there are no sessions")?;
    process::signal(row.get::<_, i32>(0).unsigned_abs(), Signal::KILL);
    Ok(format!("a session of {}", row.get::<_, String>(1)))
}

pub async fn stop_server(scene: &mut Scene<'_>) -> Outcome<String> {
    let server = scene.machine.server();
    process::signal(server, Signal::STOP);
    scene.hold().await;
    process::signal(server, Signal::CONT);
    Ok(String::new())
}

/// Stops the postmaster first, so that it makes no sessions that go on.
pub async fn stop_postgres(scene: &mut Scene<'_>) -> Outcome<String> {
    let postmaster = scene.machine.postmaster().ok_or("PostgreSQL does not run")?;
    process::signal(postmaster, Signal::STOP);
    let sessions = process::children(postmaster);
    sessions.iter().for_each(|session| process::signal(*session, Signal::STOP));
    scene.hold().await;
    sessions.iter().chain([&postmaster]).for_each(|process| process::signal(*process, Signal::CONT));
    Ok(format!("with {} processes", sessions.len()))
}
