//! What the tree costs: `POST /v1/work-events/daily` while it grows, and while a lock keeps it from growing.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio_postgres::Client;

use crate::{daily::submissions, load::drive, outcome::BenchResult, stage::Stage};

const PEOPLE: usize = 256;
const CLIENTS: usize = 8;

pub async fn run(seconds: u64, rounds: usize) -> BenchResult<()> {
    let length = Duration::from_secs(seconds);
    let stage = Stage::set(PEOPLE, 16).await?;
    let (counter, request) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    let client = db::admin(&stage.database.address, &stage.database.admin, None).await?;
    drive(stage.port, CLIENTS, Duration::from_secs(2), &counter, &request).await?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        whole(&client).await?;
        with.push(drive(stage.port, CLIENTS, length, &counter, &request).await?.per_second);
        whole(&client).await?;
        // This lock keeps neither commands nor readers of the log waiting.
        client.batch_execute("BEGIN; LOCK TABLE log.trees IN EXCLUSIVE MODE").await?;
        without.push(drive(stage.port, CLIENTS, length, &counter, &request).await?.per_second);
        client.batch_execute("ROLLBACK").await?;
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (with, without) = (median(&mut with), median(&mut without));
    println!("POST /v1/work-events/daily at {CLIENTS} clients, while the tree grows and while it does not\n");
    println!("| requests/s, the tree grows | requests/s, it does not | ratio |\n|---:|---:|---:|");
    println!("| {with:.0} | {without:.0} | {:.3} |", with / without);
    Ok(())
}

/// Waits until the tree covers the log.
async fn whole(client: &Client) -> BenchResult<()> {
    let sql = "SELECT (SELECT count(*) FROM log.events) - coalesce((SELECT size FROM log.trees WHERE tree = 1), 0)";
    for _ in 0..1200 {
        if client.query_one(sql, &[]).await?.get::<_, i64>(0) <= 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the tree does not come to the end of the log".into())
}
