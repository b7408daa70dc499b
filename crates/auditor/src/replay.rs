//! Replaying: every event of every type through the stock repository, then the census by plain SQL, in one snapshot.
//!
//! The repository streams with whatever connection its pool gives. This pool has one, and that one begins a read-only
//! transaction when it is made: so all statements see the same log, however much is appended meanwhile. The repository ends a
//! stream without a word where its statement fails; the comparison of both counts finds that.

use std::{io, path::PathBuf};

use cqrs_es::persist::{EventUpcaster, PersistedEventRepository, PersistenceError};
use futures_util::TryStreamExt;
use postgres_es::PostgresEventRepository;
use sqlx::{
    Executor, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    fold::{Cell, Census, Dimension, Replay},
    grant::{Grant, Shown},
    report::Report,
    stream::{Label, Stream, TYPES},
};

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The connection string holds a password.
    #[error("a connection string must not hold a password: name a file of mode 0600 with --password-file")]
    PasswordInArgument,
    /// The password's file can't be read.
    #[error("{0}: {1}")]
    PasswordFile(PathBuf, #[source] io::Error),
    /// Others may read the password's file.
    #[error("{0}: others may read it; its mode must be 0600")]
    TooOpen(PathBuf),
    /// The database refused, or can't be reached.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The repository refused.
    #[error(transparent)]
    Repository(#[from] PersistenceError),
    /// A granted key is none.
    #[error("{0}: not a key that `lethe keys grant` gave")]
    Grant(PathBuf),
    /// A server can't be reached.
    #[error("the server can't be reached: {0}")]
    Server(#[from] reqwest::Error),
    /// A server refused.
    #[error("{0}: the server answered {1}")]
    Refused(String, u16),
    /// A checkpoint is none, or not of a log that is trusted.
    #[error("a checkpoint: {0}")]
    Note(#[from] transparency::NoteError),
    /// The policy is none.
    #[error("the policy: {0}")]
    Policy(#[from] transparency::PolicyError),
    /// Neither key nor tree is known under this origin.
    #[error("no key, or no tree, of the log {0}")]
    UnknownOrigin(String),
    /// Without a checkpoint from outside, nothing can be verified.
    #[error("name a checkpoint from outside with --checkpoint")]
    NoCheckpoint,
    /// Checkpoints of different logs.
    #[error("these are checkpoints of several logs: verify each by itself")]
    SeveralLogs,
    /// Another process of a witness has the folder.
    #[error("{0}: another witness has this folder; two would cosign two histories")]
    FolderInUse(PathBuf),
    /// A proof is none.
    #[error("the proof: {0}")]
    Proof(#[from] transparency::ProofError),
    /// The proof does not say of which leaf it is.
    #[error("the proof does not name its leaf: give the leaf's hash with --leaf-hash")]
    NoLeaf,
    /// The hash of a leaf is none.
    #[error("--leaf-hash must be the 32 bytes of a SHA-256 in base64")]
    LeafHash,
    /// A copy was not finished.
    #[error("the log is not what was signed for {0} leaves: `verify` says where")]
    NotAsSigned(u64),
    /// The report can't be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const CENSUS: &str = "-- audit_census
SELECT aggregate_type, event_type, subject_id::text, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)
FROM events GROUP BY 1, 2, 3, 4";

/// Replays the log and counts.
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
        let events: i64 = row.try_get(4)?;
        census.take(Cell {
            aggregate_type: row.try_get(0)?,
            event_type: row.try_get(1)?,
            subject: row.try_get(2)?,
            day: row.try_get(3)?,
            events: events.unsigned_abs(),
        });
    }
    Ok(census)
}
