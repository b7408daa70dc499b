//! Bringing a database back from an archive of the log and one of the keys: first the rows, then the read models, then
//! the ledger of erasures.
//!
//! Promises: no server serves from a database in which erased data lives again, or of which a part is missing. Two
//! marks say that a restore is unfinished: a file in the data folder, made before anything else, and a row in the
//! database, made before the first row of an archive. No server starts while either is there. The same command goes on
//! with a restore that was killed. Accounts and records that only one archive knows are counted and deleted. Refuses: a
//! database that is not empty or that a server is connected to; keys older than the log, because data deleted in
//! between would live again; keys under a version that the ring no longer has.

use std::{path::Path, sync::Arc};

use context::crash_point;
use serde::Serialize;
use tokio_postgres::Client;
use vault::Vault;

use crate::{
    app::{
        App,
        log::origin,
        operation::{
            projection,
            restore::{self, Replayed},
        },
    },
    backup::{
        archive::{Content, Reader},
        load::{Mark, Step, begin, check_target, load},
        progress::{Progress, Watch},
    },
    data::home::Folder,
    server::{self, ServerError, Settings, Store},
};

/// The result of a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    pub events: u64,
    /// The number of people who have keys.
    pub people: u64,
    /// Records without events in the log, because they were made after the log was archived; they are deleted.
    pub lost_records: u64,
    /// Accounts that the log does not have; their keys are deleted.
    pub lost_people: u64,
    /// The origin of a new tree over the log, if the old tree could not be continued.
    pub opened: Option<String>,
    /// What the ledger of erasures changed again.
    pub replayed: Replayed,
}

/// Restores an empty database from a pair of archives, or goes on with a restore that was killed.
pub async fn restore(
    settings: &Settings,
    store: &Store,
    password: Option<&str>,
    vault: Arc<Vault>,
    log: &Path,
    keys: &Path,
    watch: Watch<'_>,
) -> Result<Restored, ServerError> {
    let ring = vault.ring();
    let (log, keys) = (Reader::open(log, Content::Log, ring)?, Reader::open(keys, Content::Keys, ring)?);
    check(settings, &log, &keys, &vault).await?;
    if let Some(client) = store.connect_if_there(password).await? {
        check_target(&client).await?;
    }
    let passwords = settings.folder.passwords()?;
    let begun_before = settings.folder.is_restoring();
    settings.folder.mark_restoring()?;
    crash_point("restore: marked");
    store.migrate(password, &vault, &passwords).await?;
    let client = db::admin(&store.database.address, &store.database.admin, password).await?;
    let mut mark = match begin(&client, &log, &keys).await {
        // The database is unchanged, so servers may go on with this folder.
        Err(ServerError::Restore(fact)) if !begun_before => {
            settings.folder.unmark_restoring()?;
            return Err(ServerError::Restore(fact));
        }
        begun => begun?,
    };
    crash_point("restore: begun");
    if mark.step == Step::Load {
        load(&client, &mut mark, log, keys, watch).await?;
    }
    crash_point("restore: loaded");
    let settings = &Settings { restoring: true, ..settings.clone() };
    let app = server::open(settings, &store.database, vault, &passwords).await?;
    let mut restored = counted(&client, &mark).await?;
    if !settings.rehearsal {
        restored.opened = origin::reopen(&app).await?.map(|checkpoint| checkpoint.origin);
    }
    crash_point("restore: reopened");
    rebuild(&app, &client, &mut mark, restored.people, watch).await?;
    crash_point("restore: rebuilt");
    restored.replayed = restore::replay(&app).await?;
    crash_point("restore: replayed");
    end(&settings.folder, &client).await?;
    Ok(restored)
}

async fn counted(client: &Client, mark: &Mark) -> Result<Restored, ServerError> {
    let counts = "SELECT (SELECT count(*) FROM log.events), (SELECT count(*) FROM vault.subjects)";
    let row = client.query_one(counts, &[]).await.map_err(db::DbError::from)?;
    let count = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    let (lost_people, lost_records) = (mark.lost_people, mark.lost_records);
    Ok(Restored { events: count(0), people: count(1), lost_people, lost_records, ..Restored::default() })
}

/// Makes the read models about people, page by page, from the page on that an earlier run came to.
async fn rebuild(
    app: &App,
    client: &Client,
    mark: &mut Mark,
    people: u64,
    watch: Watch<'_>,
) -> Result<(), ServerError> {
    if mark.step != Step::Rebuild {
        return Ok(());
    }
    let models = projections::REBUILDS;
    let total = people * models.len() as u64;
    let mut done = people * mark.place as u64;
    while let Some(model) = models.get(mark.place) {
        match projection::rebuild_page(app, model, mark.after).await? {
            Some(page) => {
                done += page.people as u64;
                mark.after = page.last;
                watch(Progress { step: "read models made", done: done.min(total), total });
            }
            None => {
                mark.next_place();
                done = people * mark.place as u64;
            }
        }
        mark.keep(client).await?;
        crash_point("restore: a page is rebuilt");
    }
    mark.step = Step::Replay;
    mark.keep(client).await
}

/// Removes both marks. The database's mark goes first: if only the folder's mark is left, no server starts.
async fn end(folder: &Folder, client: &Client) -> Result<(), ServerError> {
    client.batch_execute("DELETE FROM lethe.restoring").await.map_err(db::DbError::from)?;
    Ok(folder.unmark_restoring()?)
}

/// Checks the archives against this version, each other, the ledger and the ring, before anything is written.
async fn check(settings: &Settings, log: &Reader, keys: &Reader, vault: &Vault) -> Result<(), ServerError> {
    let refuse = |fact: String| Err(ServerError::Restore(fact));
    let newest = db::newest_migration();
    if log.manifest.schema.max(keys.manifest.schema) > newest {
        return refuse(format!("the archives are of a newer version (migration {} and later)", newest + 1));
    }
    if keys.manifest.taken_at < log.manifest.taken_at {
        return refuse(format!(
            "the keys ({}) are older than the log ({}): what was deleted in between would live again, and what was made in \
             between would open for nobody; name the newest archive of keys",
            keys.manifest.taken_at, log.manifest.taken_at
        ));
    }
    let entries = settings.ledger().read().await?.len();
    if entries < keys.manifest.ledger_entries {
        return refuse(format!(
            "the ledger of erasures has {entries} entries, and had {} when the keys were archived: bring back its newest copy",
            keys.manifest.ledger_entries
        ));
    }
    let known: Vec<i32> = vault.ring().keks().into_iter().map(|kek| kek.version).collect();
    match keys.manifest.ring_versions.iter().find(|version| !known.contains(version)) {
        Some(version) => refuse(format!(
            "the keys are under version {version} of the key ring, which is destroyed: this archive opens for nobody any more"
        )),
        None => Ok(()),
    }
}
