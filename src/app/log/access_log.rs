//! The log of reads. Reads that arrive while a batch is being stored make up the next batch. A batch is one stream, one
//! insert and one commit; a read that finds no batch being stored does not wait.
//!
//! If the database fails, reads by staff fail too. A person's own read succeeds once it is in a local journal, sealed
//! and flushed; the journal is stored when the database is back. If a server is lost for good, so are the reads in its
//! journal.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use context::{Clock, Ctx, EventId, Role};
use db::{Db, DbError, Gate};
use event_log::{Actor, Event, Trail, event_append};
use tokio::sync::{mpsc, oneshot};
use vault::SubjectKeys;

use crate::{app::AppError, data::home::sync_folder};

const BATCH: usize = 256;
const REPLAY_EVERY: Duration = Duration::from_secs(5);

/// One read: the event without its stream, and what seals its trail.
pub struct Read {
    /// The event; stream, sequence and metadata are filled in by the batch.
    pub event: Event,
    pub actor: Actor,
    /// The reader's address and agent, and what was asked for.
    pub trail: Trail,
    /// The reader's keys, which seal the trail.
    pub keys: Arc<SubjectKeys>,
}

type Waiting = (Read, oneshot::Sender<bool>);

/// Takes reads, and answers once they are durable.
#[derive(Clone)]
pub struct AccessLog {
    sender: mpsc::Sender<Waiting>,
}

impl AccessLog {
    /// Starts the writer; it ends when the last handle is dropped.
    pub fn start(db: Db, clock: Clock, journal: PathBuf) -> Self {
        let (sender, receiver) = mpsc::channel(1024);
        tokio::spawn(Writer { db, clock, journal }.run(receiver));
        Self { sender }
    }

    /// Records a read. Fails if the read could be stored nowhere; the answer must not leave then.
    pub async fn record(&self, read: Read) -> Result<(), AppError> {
        let (done, answer) = oneshot::channel();
        let lost = || AppError::Db(DbError::Unreachable("the log of reads".to_owned()));
        self.sender.send((read, done)).await.map_err(|_| lost())?;
        if answer.await.unwrap_or(false) { Ok(()) } else { Err(lost()) }
    }
}

struct Writer {
    db: Db,
    clock: Clock,
    journal: PathBuf,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Waiting>) {
        let mut replay = tokio::time::interval(REPLAY_EVERY);
        let mut waiting = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = receiver.recv_many(&mut waiting, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.store(std::mem::take(&mut waiting)).await;
                }
                _ = replay.tick() => self.replay().await,
            }
        }
    }

    async fn store(&self, waiting: Vec<Waiting>) {
        let stream = EventId::random().to_string();
        let (reads, answers): (Vec<Read>, Vec<_>) = waiting.into_iter().unzip();
        let events: Vec<Event> = reads
            .into_iter()
            .zip(1..)
            .map(|(read, sequence)| {
                let mut event = Event { aggregate_id: stream.clone(), sequence, ..read.event };
                event.set_metadata(&read.actor, Some((&read.keys, &read.trail)));
                event
            })
            .collect();
        let stored = self.append(&events).await;
        if let Err(error) = &stored {
            tracing::error!(%error, reads = events.len(), "reads could not be logged");
        }
        // One event that the database refuses must not stop the others, so each is then stored alone.
        let singly = events.len() > 1 && matches!(stored, Err(DbError::Fault { .. } | DbError::Conflict(_)));
        for (event, answer) in events.iter().zip(answers) {
            let own = event.actor().is_some_and(|actor| actor.role == Role::Subject.as_str());
            let stored = stored.is_ok() || (singly && self.append(std::slice::from_ref(event)).await.is_ok());
            let durable = stored || (own && self.journal(event).await.is_ok());
            // A caller that has gone away no longer waits for the answer.
            let _ = answer.send(durable);
        }
    }

    async fn append(&self, events: &[Event]) -> Result<(), DbError> {
        let ctx = &Ctx::system(self.clock.clone());
        let work = move |tx: db::Tx| async move {
            tx.queue(event_append(events.to_vec()));
            Ok(())
        };
        self.db.run_tx("access_append", ctx, Gate::read(ctx), work).await
    }

    /// Adds an event to the journal, durably and whole; on a failure the journal stays as it was.
    async fn journal(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let journal = self.journal.clone();
        beside(move || add_line(&journal, &line)).await
    }

    /// Stores each event of the journal once, and empties the journal. Lines that can't be read are kept in a file
    /// beside it. Events that a policy refuses stay in the journal, because such a refusal ends: a lost right is given
    /// back, or the time arrives that a wrong clock gave the event.
    async fn replay(&self) {
        let journal = self.journal.clone();
        let Ok(text) = beside(move || std::fs::read(journal)).await else { return };
        let (mut damaged, mut stays) = (Vec::new(), Vec::new());
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(event) = serde_json::from_slice::<Event>(line) else {
                damaged.extend([line, b"\n"].concat());
                continue;
            };
            match self.append(&[event]).await {
                // A conflict means that an earlier replay has stored this event already.
                Ok(()) | Err(DbError::Conflict(_)) => {}
                // The database may store this event later, so the whole journal stays.
                Err(error) if error.is_passing() => return,
                Err(DbError::Refused) => stays.extend([line, b"\n"].concat()),
                Err(error) => {
                    tracing::error!(%error, "the log refuses a read of the journal");
                    damaged.extend([line, b"\n"].concat());
                }
            }
        }
        let journal = self.journal.clone();
        if let Err(error) = beside(move || empty(&journal, &damaged, &stays)).await {
            tracing::error!(%error, "the journal of reads can't be emptied");
        }
    }
}

/// Works on a file on a thread of its own, so that requests do not wait for the disk.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn add_line(journal: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(journal)?;
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(line).and_then(|()| file.sync_data()) {
        file.set_len(before)?;
        return Err(error);
    }
    if before == 0 { sync_folder(journal) } else { Ok(()) }
}

/// Empties the journal except for the lines that stay; keeps damaged lines in a file of their own.
fn empty(journal: &Path, damaged: &[u8], stays: &[u8]) -> io::Result<()> {
    if !damaged.is_empty() {
        tracing::error!("a part of the journal of reads is damaged, and kept");
        let path = journal.with_extension("damaged");
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(damaged)?;
        file.sync_all()?;
    }
    if stays.is_empty() {
        std::fs::remove_file(journal)?;
        return sync_folder(journal);
    }
    let sibling = journal.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&sibling)?;
    file.write_all(stays)?;
    file.sync_all()?;
    std::fs::rename(&sibling, journal)?;
    sync_folder(journal)
}
