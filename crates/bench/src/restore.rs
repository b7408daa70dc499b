//! A backup and a restore of a large log that holds a busy person: 3,642 records and 50,000 events. The events are made
//! up, about as long as events of work days.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use context::Clock;
use lethe::{
    backup::{self, Progress},
    data::home::{Database, Folder},
    server::{Settings, Store},
};
use vault::Vault;

use crate::outcome::BenchResult;

/// Records of the busy person, and versions of each record. With the reads of them this makes 50,000 events.
const RECORDS: u64 = 3_642;
const VERSIONS: u64 = 13;
/// Records of everybody else. With two versions of each, reads and the registration this makes 47 events.
const EACH: u64 = 17;
const EVENTS_OF_EACH: u64 = 47;

pub async fn run(events: u64) -> BenchResult<()> {
    let dir = tempfile::tempdir()?;
    let folder = Folder::open(dir.path())?;
    let store = Store::start(&folder, &[]).await?;
    let vault = Arc::new(Vault::new(folder.ring(None)?));
    store.migrate(None, &vault, &folder.passwords()?).await?;
    let settings = Settings::new(folder.clone(), Clock::system());
    let people = events.saturating_sub(RECORDS * (VERSIONS + 1)) / EVENTS_OF_EACH;
    let client = db::admin(&store.database.address, &store.database.admin, None).await?;
    let sizes = format!(
        "SET fill.records = {RECORDS}; SET fill.versions = {VERSIONS}; SET fill.people = {people}; SET fill.each = {EACH}"
    );
    client.batch_execute(&sizes).await?;
    client.batch_execute(concat!(include_str!("../../../tests/fill.sql"), "ANALYZE")).await?;

    let (log, keys) = (folder.join("log.zip"), folder.join("keys.zip"));
    let started = Instant::now();
    backup::create(&store, None, &vault, &settings.ledger(), &log, &keys, settings.clock.now()).await?;
    let backed_up = started.elapsed().as_secs_f64();

    let address = db::Address { database: "restored".to_owned(), ..store.database.address.clone() };
    let target = Store { database: Database { address, ..store.database.clone() }, cluster: None };
    let steps: Mutex<Vec<(&str, f64)>> = Mutex::default();
    let started = Instant::now();
    let watch = |progress: Progress| {
        let mut steps = steps.lock().expect("no one panics while keeping times");
        let seconds = started.elapsed().as_secs_f64();
        match steps.last_mut() {
            Some((step, last)) if *step == progress.step => *last = seconds,
            _ => steps.push((progress.step, seconds)),
        }
    };
    let restored = backup::restore(&settings, &target, None, vault, &log, &keys, &watch).await?;
    let took = started.elapsed().as_secs_f64();

    println!("A log of {} events of {} people, one of whom has 50,000\n", restored.events, restored.people);
    println!("| | s |\n|---|---:|\n| backup | {backed_up:.1} |\n| restore | {took:.1} |");
    for (step, until) in steps.into_inner().expect("no one panics while keeping times") {
        println!("| … until all {step} | {until:.1} |");
    }
    store.stop().await?;
    Ok(())
}
