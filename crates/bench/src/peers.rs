//! The submission beside a peer in the same run, on the same cluster: stock `cqrs-es` with `postgres-es`, in process, which
//! loads a stream of ten events and appends one. It has no HTTP, sign-in, row-level security, sealing, read model, stored
//! answer or audit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cqrs_es::{Aggregate, DomainEvent, event_sink::EventSink};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{
    daily::{PEOPLE, median, settle, submissions},
    load::{Load, Rate, drive},
    outcome::BenchResult,
    stage::Stage,
};

/// How many streams of ten events there are: so many that a stream grows by few.
const STREAMS: usize = 100_000;
/// As long as a sealed work day.
const TEXT: usize = 211;

/// The table that the peer's documentation gives.
const TABLE: &str = "
CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint CHECK (sequence >= 0) NOT NULL,
                     event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
                     timestamp timestamptz DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (aggregate_type, aggregate_id, sequence));";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Stream {
    events: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Submitted {
    text: String,
}

impl DomainEvent for Submitted {
    fn event_type(&self) -> String {
        "submitted".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl Aggregate for Stream {
    const TYPE: &'static str = "stream";
    type Command = String;
    type Event = Submitted;
    type Error = Never;
    type Services = ();

    async fn handle(&mut self, text: String, (): &(), sink: &EventSink<Self>) -> Result<(), Never> {
        sink.write(Submitted { text }, self).await;
        Ok(())
    }

    fn apply(&mut self, _: Submitted) {
        self.events += 1;
    }
}

pub async fn run(load: &Load) -> BenchResult<()> {
    let length = Duration::from_secs(load.seconds);
    let stage = Stage::set(PEOPLE, load.connections).await?;
    let peer = Arc::new(peer(&stage, load.connections).await?);
    let (counter, request) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    drive(stage.port, 8, Duration::from_secs(2), &counter, &request).await?;
    settle(&db::admin(&stage.database.address, &stage.database.admin, None).await?).await?;
    println!("POST /v1/work-events/daily over HTTP, against `cqrs-es` with `postgres-es` in process\n");
    println!("| clients | requests/s | p99 ms | peer, commands/s | peer p99 ms | ratio |");
    println!("|---:|---:|---:|---:|---:|---:|");
    let appended = Arc::new(AtomicUsize::new(0));
    for &clients in &load.clients {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..load.rounds {
            ours.push(drive(stage.port, clients, length, &counter, &request).await?);
            theirs.push(append(&peer, clients, length, &appended).await?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!(
            "| {clients} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} |",
            ours.per_second,
            ours.p99_ms,
            theirs.per_second,
            theirs.p99_ms,
            ours.per_second / theirs.per_second
        );
    }
    Ok(())
}

/// Makes the peer's database.
async fn peer(stage: &Stage, connections: usize) -> BenchResult<PostgresCqrs<Stream>> {
    let (address, admin) = (&stage.database.address, &stage.database.admin);
    let postgres = db::Address { database: "postgres".to_owned(), ..address.clone() };
    db::admin(&postgres, admin, None).await?.batch_execute("CREATE DATABASE peer").await?;
    let own = db::Address { database: "peer".to_owned(), ..address.clone() };
    let client = db::admin(&own, admin, None).await?;
    client.batch_execute(TABLE).await?;
    let fill = format!(
        "INSERT INTO events SELECT 'stream', stream, sequence, 'submitted', '1.0',
                json_build_object('text', repeat('x', {TEXT})), '{{}}' FROM generate_series(0, {STREAMS} - 1) stream,
                generate_series(1, 10) sequence"
    );
    client.batch_execute(&fill).await?;
    settle(&client).await?;
    let options = PgConnectOptions::new().host(&address.host).port(address.port).username(admin).database("peer");
    let pool = PgPoolOptions::new().max_connections(u32::try_from(connections)?).connect_with(options).await?;
    Ok(postgres_cqrs(pool, Vec::new(), ()))
}

async fn append(
    peer: &Arc<PostgresCqrs<Stream>>,
    clients: usize,
    length: Duration,
    counter: &Arc<AtomicUsize>,
) -> BenchResult<Rate> {
    let (started, text) = (Instant::now(), "x".repeat(TEXT));
    let tasks: Vec<_> = (0..clients)
        .map(|_| {
            let (peer, counter, text) = (peer.clone(), counter.clone(), text.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < length {
                    let stream = (counter.fetch_add(1, Ordering::Relaxed) % STREAMS).to_string();
                    let began = Instant::now();
                    peer.execute(&stream, text.clone()).await.map_err(|error| error.to_string())?;
                    latencies.push(began.elapsed().as_secs_f64() * 1000.0);
                }
                Ok::<_, String>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Rate::of(latencies, started.elapsed()))
}
