//! The ledger of erasures: the facts that a restored backup must not undo. One file outside the database, one JSON line
//! an entry.
//!
//! Promises: an entry that protects a person is on disk before its transaction commits; an entry that lifts a hold or a
//! restriction is written after the commit, so that a crash in between makes a restore stricter, never looser. Servers
//! that share a data folder write one after the other. An unfinished last line, which a crash can leave, is cut off at
//! the next write. The ledger holds random ids, purposes, states, times and sealed texts. A restore carries out an
//! entry even when its transaction failed afterwards, because somebody had asked for it. Refuses: a ledger that is
//! damaged anywhere but at its end.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    time::Duration,
};

use chrono::{DateTime, Utc};
use context::{DeletionId, RecordId, SubjectId};
use domain::rights::consent::Purpose;
use serde::{Deserialize, Serialize};

use crate::data::home::sync_folder;

/// How long a write waits for another server that holds the file's lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The erasure of a person begins. Every start of a server goes on with it until [`Entry::Erased`] or
    /// [`Entry::NotErased`] follows.
    Erasing {
        subject: SubjectId,
        /// The request to delete that the person confirmed.
        request: DeletionId,
        at: DateTime<Utc>,
    },
    /// The erasure that [`Entry::Erasing`] announced did not happen, because a legal hold was placed in between or the
    /// request is closed.
    NotErased {
        subject: SubjectId,
        /// When the server found that the erasure does not happen.
        at: DateTime<Utc>,
    },
    /// A person's keys, rows and files are erased.
    Erased {
        subject: SubjectId,
        /// When the last step, removing the files, was done.
        at: DateTime<Utc>,
    },
    /// Records were removed, for instance at the person's request or because their retention was over.
    Removed {
        subject: SubjectId,
        /// The removed records of this one person.
        records: Vec<RecordId>,
        at: DateTime<Utc>,
    },
    /// A request to delete was cancelled. A restored log may know only the confirmation, and must not carry it out.
    Cancelled {
        subject: SubjectId,
        /// The request that is not carried out.
        request: DeletionId,
        at: DateTime<Utc>,
    },
    /// A suspension prolonged the grace of a confirmed request. A restored log may know only the earlier end, and must
    /// not erase the person then.
    Paused {
        subject: SubjectId,
        request: DeletionId,
        /// The end of the suspension.
        paused_until: DateTime<Utc>,
        /// The new end of the grace.
        grace_ends_at: DateTime<Utc>,
        at: DateTime<Utc>,
    },
    /// A legal hold was placed, replaced or lifted.
    Held {
        subject: SubjectId,
        /// The end of the hold, and its reason sealed under the person's trail key. `None` when the hold was lifted.
        hold: Option<(DateTime<Utc>, String)>,
        at: DateTime<Utc>,
    },
    /// A consent was withdrawn, or the person objected to a purpose.
    Withdrawn {
        subject: SubjectId,
        purpose: Purpose,
        /// True for an objection (GDPR Art. 21), false for a withdrawal of consent.
        objected: bool,
        at: DateTime<Utc>,
    },
    /// A person had processing restricted (GDPR Art. 18), or lifted the restriction.
    Restricted {
        subject: SubjectId,
        /// False when the restriction was lifted.
        restricted: bool,
        at: DateTime<Utc>,
    },
    /// A person was given a staff role, or it was taken from them. Nobody whose role was taken is staff again because of
    /// a restored backup.
    StaffRole {
        subject: SubjectId,
        /// The name of the role.
        role: String,
        /// False when the role was taken.
        given: bool,
        at: DateTime<Utc>,
    },
    /// Statistics of a quarter were drawn. A restored database that does not hold them must not draw them again.
    Released {
        /// The quarter, as `2025-Q1`.
        period: String,
        /// 0 for the first release, 1 for the scheduled revision.
        revision: u32,
        at: DateTime<Utc>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the ledger of erasures {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A line other than an unfinished last one is no entry; holds the path and the line's number, from 1.
    #[error("the ledger of erasures {0}: line {1} is damaged; bring back a whole copy")]
    Damaged(PathBuf, usize),
}

#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// Makes no file: the first entry makes it.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds an entry; it is on disk when this returns.
    pub async fn append(&self, entry: Entry) -> Result<(), LedgerError> {
        self.off_the_worker(move |ledger| {
            ledger.append_now(&entry).map_err(|error| LedgerError::Io(ledger.path.clone(), error))
        })
        .await
    }

    /// Reads all entries, oldest first. A missing file counts as no entries.
    pub async fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        self.off_the_worker(Self::read_now).await
    }

    /// Does `work` on a thread that may block on the disk.
    async fn off_the_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let ledger = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&ledger)).await;
        done.unwrap_or_else(|error| Err(LedgerError::Io(self.path.clone(), io::Error::other(error))))
    }

    fn append_now(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        vault::lock_within(&file, LOCK_TIMEOUT)?;
        let end = end_of_last_line(&mut file)?;
        let fresh = end == 0;
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        if let Err(error) = file.write_all(&line).and_then(|()| file.sync_data()) {
            file.set_len(end)?;
            return Err(error);
        }
        if fresh { sync_folder(&self.path) } else { Ok(()) }
    }

    fn read_now(&self) -> Result<Vec<Entry>, LedgerError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LedgerError::Io(self.path.clone(), error)),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let damaged = |number| move |_| LedgerError::Damaged(self.path.clone(), number + 1);
        let lines = whole.lines().enumerate();
        lines.map(|(number, line)| serde_json::from_str(line).map_err(damaged(number))).collect()
    }

    /// The erasures that began and have neither ended nor been called off.
    pub async fn unfinished(&self) -> Result<Vec<(SubjectId, DeletionId)>, LedgerError> {
        let mut open = Vec::new();
        for entry in self.read().await? {
            match entry {
                Entry::Erasing { subject, request, .. } => {
                    open.retain(|(known, _)| *known != subject);
                    open.push((subject, request));
                }
                Entry::Erased { subject, .. } | Entry::NotErased { subject, .. } => {
                    open.retain(|(known, _)| *known != subject)
                }
                _ => {}
            }
        }
        Ok(open)
    }
}

/// The offset behind the last whole line, searched backwards from the end of the file.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 4096;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut part = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::Erasing { subject: SubjectId::random(), request: DeletionId::random(), at: DateTime::UNIX_EPOCH }
    }

    #[tokio::test]
    async fn half_a_line_is_cut_off_and_all_others_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::new(folder.path().join("erasures.ledger"));
        assert_eq!(ledger.read().await.expect("no file is no entry"), []);
        let (first, second) = (entry(), entry());
        ledger.append(first.clone()).await.expect("written");
        let mut file = OpenOptions::new().append(true).open(&ledger.path).expect("opens");
        file.write_all(b"{\"entry\":\"eras").expect("written");
        assert_eq!(ledger.read().await.expect("read"), std::slice::from_ref(&first));
        ledger.append(second.clone()).await.expect("written");
        assert_eq!(ledger.read().await.expect("read"), [first, second]);
    }

    #[tokio::test]
    async fn an_erasure_is_unfinished_until_its_end_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::new(folder.path().join("erasures.ledger"));
        let (one, other) = (SubjectId::random(), SubjectId::random());
        let request = DeletionId::random();
        let at = DateTime::UNIX_EPOCH;
        for subject in [one, other, one] {
            ledger.append(Entry::Erasing { subject, request, at }).await.expect("written");
        }
        ledger.append(Entry::Erased { subject: one, at }).await.expect("written");
        assert_eq!(ledger.unfinished().await.expect("read"), [(other, request)]);
    }

    #[tokio::test]
    async fn damage_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::new(folder.path().join("erasures.ledger"));
        let line = serde_json::to_string(&entry()).expect("JSON");
        std::fs::write(&ledger.path, format!("{line}\nnonsense\n{line}\n")).expect("written");
        assert!(matches!(ledger.read().await, Err(LedgerError::Damaged(_, 2))));
    }
}
