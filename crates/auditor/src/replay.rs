//! Replaying: all events of all types are read through the stock repository, and then counted by plain SQL, in one
//! snapshot.
//!
//! The repository takes any connection of its pool. This pool has one connection, which begins a read-only transaction
//! when it is made, so that all statements see the same log, however much is appended meanwhile. If its statement
//! fails, the repository ends a stream without an error. The comparison of the two counts finds that.

use cqrs_es::persist::{EventUpcaster, PersistedEventRepository};
use futures_util::TryStreamExt;
use postgres_es::PostgresEventRepository;
use sqlx::{
    Executor, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    error::AuditError,
    fold::{Cell, Census, Dimension, Replay},
    grant::{Grant, Shown},
    report::Report,
    stream::{Label, Stream, TYPES},
};

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const CENSUS: &str = "-- audit_census
SELECT aggregate_type, event_type, subject_id::text AS subject,
       to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, count(*) AS events
FROM events GROUP BY 1, 2, 3, 4";

pub async fn run(options: PgConnectOptions, by: &[Dimension], grant: Option<&Grant>) -> Result<Report, AuditError> {
    let mut shown = Vec::new();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(BEGIN).await.map(drop) }))
        .connect_with(options)
        .await?;
    let repository = PostgresEventRepository::new(pool.clone()).with_streaming_channel_size(1000);
    let replays: [Replay; TYPES.len()] = [
        replay::<0>(&repository, grant, &mut shown).await?,
        replay::<1>(&repository, grant, &mut shown).await?,
        replay::<2>(&repository, grant, &mut shown).await?,
        replay::<3>(&repository, grant, &mut shown).await?,
        replay::<4>(&repository, grant, &mut shown).await?,
        replay::<5>(&repository, grant, &mut shown).await?,
        replay::<6>(&repository, grant, &mut shown).await?,
        replay::<7>(&repository, grant, &mut shown).await?,
        replay::<8>(&repository, grant, &mut shown).await?,
        replay::<9>(&repository, grant, &mut shown).await?,
        replay::<10>(&repository, grant, &mut shown).await?,
        replay::<11>(&repository, grant, &mut shown).await?,
        replay::<12>(&repository, grant, &mut shown).await?,
        replay::<13>(&repository, grant, &mut shown).await?,
        replay::<14>(&repository, grant, &mut shown).await?,
        replay::<15>(&repository, grant, &mut shown).await?,
        replay::<16>(&repository, grant, &mut shown).await?,
        replay::<17>(&repository, grant, &mut shown).await?,
    ];
    let census = census(&pool, by).await?;
    pool.close().await;
    Ok(Report { shown, ..Report::new(&replays, &census) })
}

async fn replay<const N: usize>(
    repository: &PostgresEventRepository,
    grant: Option<&Grant>,
    shown: &mut Vec<Shown>,
) -> Result<Replay, AuditError> {
    let label: [Box<dyn EventUpcaster>; 1] = [Box::new(Label)];
    let mut replay = Replay::new(TYPES[N]);
    let mut events = repository.stream_all_events::<Stream<N>>().await?;
    while let Some(event) = events.next::<Stream<N>>(&label).await {
        match event {
            Ok(event) => {
                replay.take(&event.aggregate_id, event.sequence, &event.payload);
                let granted = grant.filter(|_| TYPES[N] == "record");
                shown.extend(granted.and_then(|grant| grant.show(&event.aggregate_id, event.sequence, &event.payload)));
            }
            Err(error) => replay.unreadable(&error),
        }
    }
    Ok(replay)
}

async fn census(pool: &PgPool, by: &[Dimension]) -> Result<Census, AuditError> {
    let mut census = Census::new(by);
    let mut rows = sqlx::query(CENSUS).fetch(pool);
    while let Some(row) = rows.try_next().await? {
        let events: i64 = row.try_get("events")?;
        census.take(Cell {
            aggregate_type: row.try_get("aggregate_type")?,
            event_type: row.try_get("event_type")?,
            subject: row.try_get("subject")?,
            day: row.try_get("day")?,
            events: events.unsigned_abs(),
        });
    }
    Ok(census)
}
