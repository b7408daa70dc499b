//! Makes a fault of a kind, and ends it.

use rand::RngExt;

use crate::{
    fault::{clock, database, kind::Fault, processes, scene::Scene, storage},
    outcome::{Finding, Outcome},
};

/// Makes a fault, and ends it. Returns what it was exactly.
pub async fn strike(fault: Fault, scene: &mut Scene<'_>) -> Outcome<(String, Vec<Finding>)> {
    let said = match fault {
        Fault::KillServer => processes::kill_server(scene).await,
        Fault::KillPostgres => processes::kill_postgres(scene),
        Fault::KillBoth => processes::kill_both(scene).await,
        Fault::KillSession => processes::kill_session(scene).await,
        Fault::StopServer => processes::stop_server(scene).await,
        Fault::StopPostgres => processes::stop_postgres(scene).await,
        Fault::CutConnections => database::cut(scene).await,
        Fault::FillDisk => storage::fill(scene).await,
        Fault::TakeConnections => database::take_all(scene).await,
        Fault::OpenTransaction => database::keep_open(scene).await,
        Fault::LockTable => database::lock(scene).await,
        Fault::ServerClock => return clock::of_server(scene).await,
        Fault::MachineClock => return clock::of_machine(scene).await,
        Fault::CloseSockets => close_sockets(scene).await,
        Fault::TakePrograms => storage::take_programs(scene).await,
    };
    Ok((said?, Vec::new()))
}

async fn close_sockets(scene: &mut Scene<'_>) -> Outcome<String> {
    let within = scene.dice.random_range(1..40);
    scene.town.http.set_patience(Some(within));
    scene.hold().await;
    scene.town.http.set_patience(None);
    Ok(format!("within {within} ms"))
}
