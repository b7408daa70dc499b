//! A disk without room, and programs that are not there.

use std::fs;

use rand::RngExt;
use rustix::process::Signal;

use crate::{fault::scene::Scene, outcome::Outcome, process};

/// In every second round PostgreSQL is killed on the full disk, so that it has to recover there.
pub async fn fill(scene: &mut Scene<'_>) -> Outcome<String> {
    scene.machine.disk.fill()?;
    let postmaster = scene.machine.postmaster();
    let killed = scene.dice.random_bool(0.5);
    if let (true, Some(postmaster)) = (killed, postmaster) {
        scene.wait_a_moment(500).await;
        process::signal(postmaster, Signal::KILL);
    }
    scene.hold().await;
    let went_on = scene.machine.postmaster() == postmaster;
    scene.machine.disk.free()?;
    let said = if killed { "PostgreSQL was killed meanwhile" } else { "PostgreSQL ended by itself" };
    Ok(if went_on { "PostgreSQL went on" } else { said }.to_owned())
}

/// The folder of programs, libraries and all, is moved away and back, as an upgrade of a package does. In every second
/// round PostgreSQL is killed meanwhile, so that it has to be started without them.
pub async fn take_programs(scene: &mut Scene<'_>) -> Outcome<String> {
    let here = scene.machine.programs.postgres.clone();
    let away = here.with_extension("away");
    fs::rename(&here, &away)?;
    let killed = scene.dice.random_bool(0.5);
    if let (true, Some(postmaster)) = (killed, scene.machine.postmaster()) {
        process::signal(postmaster, Signal::KILL);
    }
    scene.hold().await;
    fs::rename(&away, &here)?;
    Ok(if killed { "PostgreSQL was killed meanwhile" } else { "" }.to_owned())
}
