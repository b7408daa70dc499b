//! A server under a wrong clock, alone or together with its PostgreSQL. It is started so, killed, and started under the
//! true clock again.

use std::time::Duration;

use rand::seq::IndexedRandom;
use tokio::time::Instant;

use crate::{
    fault::scene::Scene,
    machine::Start,
    outcome::{Finding, Outcome, Wrong},
    programs,
};

/// How far the clock of the server alone is off.
const OFF_ALONE: [&str; 6] = ["-400d", "-2h", "-10m", "+10m", "+5h", "+400d"];
/// How far the clock of both is off. Answers are kept for 24 hours, and requests are repeated here, so it is less.
const OFF: [&str; 6] = ["-20h", "-2h", "-10m", "+10m", "+5h", "+20h"];
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The server alone: it has to end, and say why.
pub async fn of_server(scene: &mut Scene<'_>) -> Outcome<(String, Vec<Finding>)> {
    let (off, variables) = chosen(scene, &OFF_ALONE)?;
    let start = Start { variables, bin: None };
    end(scene).await?;
    scene.machine.again(&start)?;
    let mut findings = Vec::new();
    let until = Instant::now() + START;
    while scene.machine.ended()?.is_none() {
        if Instant::now() > until {
            findings.push(Finding::new(Wrong::Unequal, format!("the server goes on with its clock {off} off")));
            scene.machine.kill()?;
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let said = scene.machine.log_tail(3);
    if !said.contains("set them by the same time source") {
        findings.push(Finding::new(Wrong::Unequal, format!("with its clock {off} off the server said:\n{said}")));
    }
    scene.machine.again(&Start::default())?;
    Ok((off, findings))
}

/// Server and PostgreSQL: they agree, and serve. Then both are killed.
pub async fn of_machine(scene: &mut Scene<'_>) -> Outcome<(String, Vec<Finding>)> {
    let (off, variables) = chosen(scene, &OFF)?;
    scene.machine.programs.set_clocked(&off)?;
    let start = Start { variables, bin: Some(scene.machine.programs.clocked.clone()) };
    end(scene).await?;
    scene.machine.again(&start)?;
    scene.hold().await;
    let ended = scene.machine.ended()?;
    end(scene).await?;
    scene.machine.again(&Start::default())?;
    let said = ended.map_or_else(String::new, |status| format!(", and the server ended: {status}"));
    Ok((format!("{off}{said}"), Vec::new()))
}

fn chosen(scene: &mut Scene<'_>, offsets: &[&str]) -> Outcome<(String, Vec<(&'static str, String)>)> {
    let off = *offsets.choose(scene.dice).ok_or("no offset")?;
    let library = scene.machine.programs.faketime.as_ref().ok_or("libfaketime is not installed")?;
    Ok((off.to_owned(), programs::clock(library, off).into()))
}

/// Asks the server to stop, so that its PostgreSQL stops too.
async fn end(scene: &mut Scene<'_>) -> Outcome<()> {
    if scene.machine.ended()?.is_none() {
        scene.machine.stop().await?;
    }
    Ok(())
}
