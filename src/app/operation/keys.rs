//! The keys of the ring, together with the database and all servers: rotating the key-encryption key and the signing
//! key, and destroying a version that protects nothing any more. Called by the command line.
//!
//! Promises: every step is durable and safe to repeat, so that the next rotation goes on with one that was broken off
//! at any point. No value becomes unreadable and no request is refused meanwhile. Refuses to destroy a version that
//! still protects keys. Refuses to destroy a version without an archive of the keys that replaced it, unless the caller
//! insists.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use context::{Ctx, SubjectId};
use db::{DbError, FromRow, Gate};
use domain::operation::key_ring::{KeyRing, KeyRingCommand};
use vault::{
    Kek, RingError, Signing, WrappedSubject,
    floor::{self, OlderRow, VersionRow, floor_raised, floor_settled, keys_count, keys_under_older, ring_floor},
    nodes::nodes_behind,
    subject_get, subject_rewrap,
};

use crate::app::{App, AppError, frame};

/// How long to wait until every server has read the ring; a server looks every second.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many people's ids are read at once.
const PAGE: i64 = 500;

/// Why keys are not rotated, or not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// Living servers have not read the ring's newest state.
    #[error("{0} server(s) have not read the key ring's newest state; the same command goes on later")]
    Behind(i64),
    /// A transaction that began before the rotation stays open.
    #[error("a transaction that began before the rotation stays open; the same command goes on later")]
    Busy,
    /// The caller broke the rotation off between two steps.
    #[error("broken off; the same command goes on")]
    BrokenOff,
    /// The keys of so many people do not open.
    #[error("the keys of {0} people do not open and stay under an older version")]
    Damaged(i64),
    /// The ring has no such version.
    #[error("there is no version {0}")]
    Unknown(i32),
    /// The rotation to the current version has not finished.
    #[error("the rotation to version {0} has not come to its end: `lethe keys rotate` goes on with it")]
    Unfinished(i32),
    /// The version still protects people's keys.
    #[error("the keys of {rows} people are under version {version}")]
    InUse {
        version: i32,
        /// How many people's keys it protects.
        rows: i64,
    },
    /// No archive of keys was taken since no key is under the version any more.
    #[error(
        "no archive of keys was taken since everything left version {0}: should the database be lost, backups from before \
         would open for nobody; take one, or insist with `--without-archive`"
    )]
    NotArchived(i32),
    /// The ring can't be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The database failed, or data in it is damaged.
    #[error(transparent)]
    App(#[from] AppError),
}

impl From<DbError> for KeysError {
    fn from(error: DbError) -> Self {
        Self::App(error.into())
    }
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The new version is in the ring, and every server knows it.
    Published(i32),
    /// Every server protects new keys with it.
    InUse(i32),
    /// The database refuses keys under an older version.
    Floor(i32),
    /// So many people's keys have been brought under it.
    Rewrapped(u64),
}

/// Called with how far a rotation has come; may break it off.
pub type Watcher<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

/// The keys of the ring, and how many people's keys each version protects.
pub struct KeyList {
    /// All versions of the key-encryption key, oldest first, each with the number of people whose keys it protects.
    pub keks: Vec<(Kek, i64)>,
    /// The version below which the database refuses to write keys.
    pub floor: i32,
    pub signing: Arc<Signing>,
    /// The id of the evidence key; `None` if no document was signed with one yet.
    pub evidence: Option<String>,
}

impl KeyList {
    /// Whether a version may be destroyed now.
    pub fn may_destroy(&self, version: i32) -> bool {
        let current = self.keks.iter().find(|(kek, _)| kek.is_current);
        let unused = self.keks.iter().any(|(kek, rows)| kek.version == version && *rows == 0);
        unused && current.is_some_and(|(kek, _)| version < kek.version && version < self.floor && kek.is_archived())
    }
}

/// Lists the keys of the ring, and how many people's keys each version protects.
pub async fn list(app: &App) -> Result<KeyList, KeysError> {
    let ring = app.vault.ring();
    ring.reload()?;
    let [counts, floor] = frame::system_query(app, "keys_list", || [keys_count(), ring_floor()]).await?;
    let counts = VersionRow::from_rows(&counts);
    let floor = floor.first().map_or(0, |row| row.get("version"));
    let rows = |version: i32| counts.iter().find(|row| row.ring_version == version).map_or(0, |row| row.people);
    let keks = ring.keks().into_iter().map(|kek| (kek, rows(kek.version))).collect();
    Ok(KeyList { keks, floor, signing: ring.signing(), evidence: ring.evidence_kid() })
}

/// Brings everybody's keys under a new version of the key-encryption key, or goes on with a rotation that was broken
/// off. Returns the version, and how many people's keys came under it in this run.
pub async fn rotate(app: &App, watch: Watcher<'_>) -> Result<(i32, u64), KeysError> {
    let ring = app.vault.ring();
    ring.reload()?;
    let told = |progress| if watch(progress).is_break() { Err(KeysError::BrokenOff) } else { Ok(()) };
    // A version that waits, or a current version that does not protect all keys yet, means that a rotation was broken
    // off.
    let version = if ring.is_rotating() { ring.newest_kek() } else { ring.publish_kek(app.clock.now())? };
    let keks = ring.keks();
    let (current, living) = (ring.current().version, keks.iter().map(|kek| kek.version).collect());
    record_ring(app, KeyRingCommand::Publish { version, current, living }).await?;
    everybody_has(app, ring.generation()).await?;
    told(Progress::Published(version))?;
    if current != version {
        ring.use_newest_kek()?;
    }
    everybody_has(app, ring.generation()).await?;
    told(Progress::InUse(version))?;
    floor_raise(app, version).await?;
    told(Progress::Floor(version))?;
    let mut rewrapped = 0;
    rewrap_all(app, version, &mut rewrapped, &told).await?;
    // Recorded before the ring notes the end: then a repeated run neither records the rotation twice nor misses it.
    record_ring(app, KeyRingCommand::Rotate { version, rewrapped }).await?;
    ring.note_rewrapped(version, app.clock.now())?;
    Ok((version, rewrapped))
}

/// Destroys a version of the key-encryption key that protects nothing any more.
pub async fn destroy(app: &App, version: i32, without_archive: bool) -> Result<(), KeysError> {
    let list = list(app).await?;
    let current = app.vault.ring().current();
    let found = list.keks.iter().find(|(kek, _)| kek.version == version);
    if let Some((_, rows)) = found {
        if version >= current.version {
            return Err(RingError::InUse(version).into());
        }
        if current.rewrapped_at.is_none() || list.floor <= version {
            return Err(KeysError::Unfinished(current.version));
        }
        if *rows > 0 {
            return Err(KeysError::InUse { version, rows: *rows });
        }
        if !current.is_archived() && !without_archive {
            return Err(KeysError::NotArchived(version));
        }
        app.vault.ring().destroy_kek(version)?;
    }
    // If an earlier run was broken off after it had changed the ring, only the record is missing.
    let archived = current.is_archived();
    let recorded = record_ring(app, KeyRingCommand::Destroy { version, archived }).await?;
    if found.is_none() && !recorded {
        return Err(KeysError::Unknown(version));
    }
    everybody_has(app, app.vault.ring().generation()).await
}

/// Publishes a fresh signing key, and signs with it once every server knows it. Returns its id.
pub async fn jwt_rotate(app: &App) -> Result<String, KeysError> {
    let ring = app.vault.ring();
    let kid = ring.publish_signing(app.clock.now())?;
    everybody_has(app, ring.generation()).await?;
    ring.use_published_signing(app.clock.now())?;
    everybody_has(app, ring.generation()).await?;
    Ok(kid)
}

/// Waits until every living server has read this state of the ring, or a later one.
async fn everybody_has(app: &App, generation: u64) -> Result<(), KeysError> {
    let generation = i64::try_from(generation).unwrap_or(i64::MAX);
    let started = std::time::Instant::now();
    loop {
        let [rows] = frame::system_query(app, "nodes_behind", || [nodes_behind(generation)]).await?;
        let behind: i64 = rows.first().map_or(0, |row| row.get("servers"));
        match behind {
            0 => return Ok(()),
            _ if started.elapsed() > WAIT_LIMIT => return Err(KeysError::Behind(behind)),
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Raises the floor, and waits for transactions that began before that, so that the keys they write are rewrapped too.
async fn floor_raise(app: &App, version: i32) -> Result<(), KeysError> {
    let [_, rows] = frame::system_query(app, "floor_raise", || [floor::floor_raise(version), floor_raised()]).await?;
    let (started, raised): (_, String) = (std::time::Instant::now(), rows[0].get("txid"));
    loop {
        let [rows] = frame::system_query(app, "floor_settled", || [floor_settled(raised.clone())]).await?;
        let over: bool = rows[0].get("is_settled");
        match over {
            true => return Ok(()),
            false if started.elapsed() > WAIT_LIMIT => return Err(KeysError::Busy),
            false => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Brings all keys under `version`. Keys that do not open are left, and counted in the error at the end.
async fn rewrap_all(
    app: &App,
    version: i32,
    rewrapped: &mut u64,
    told: &(dyn Fn(Progress) -> Result<(), KeysError> + Sync),
) -> Result<(), KeysError> {
    let (mut after, mut damaged) = (SubjectId::NIL, 0);
    loop {
        let page = under_older(app, version, after).await?;
        let Some(last) = page.last() else { break };
        after = *last;
        for subject in page {
            match rewrap(app, subject, version).await {
                Ok(moved) => *rewrapped += u64::from(moved),
                Err(AppError::Corrupt(_)) => damaged += 1,
                Err(error) => return Err(error.into()),
            }
        }
        told(Progress::Rewrapped(*rewrapped))?;
    }
    if damaged > 0 { Err(KeysError::Damaged(damaged)) } else { Ok(()) }
}

/// The next page of people whose keys are under an older version.
async fn under_older(app: &App, version: i32, after: SubjectId) -> Result<Vec<SubjectId>, AppError> {
    let [rows] = frame::system_query(app, "keys_under_older", || [keys_under_older(after, version, PAGE)]).await?;
    Ok(rows.iter().map(|row| SubjectId(OlderRow::from_row(row).subject_id)).collect())
}

/// Brings one person's keys under the current version, while holding the person's lock alone. Returns false if that has
/// been done already, or if the person is gone.
async fn rewrap(app: &App, subject: SubjectId, version: i32) -> Result<bool, AppError> {
    let ctx = &Ctx::job(app.clock.clone(), subject);
    app.db
        .api
        .run_tx("keys_rewrap", ctx, Gate::alone(ctx), move |tx| async move {
            let [rows] = tx.flight([subject_get(subject)]).await?;
            let Some(wrapped) = rows.first().map(WrappedSubject::from_row) else { return Ok(false) };
            if wrapped.ring_version >= version {
                return Ok(false);
            }
            tx.queue(subject_rewrap(subject, &app.vault.rewrap_subject(subject, &wrapped)?));
            Ok(true)
        })
        .await
}

/// Records what was done to the ring; returns whether it was not recorded before.
async fn record_ring(app: &App, command: KeyRingCommand) -> Result<bool, AppError> {
    let (ctx, id) = (&Ctx::system(app.clock.clone()), SubjectId::NIL.to_string());
    Ok(frame::system_command::<KeyRing>(app, "key_ring_record", ctx, &id, command).await?.1)
}
