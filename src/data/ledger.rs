//! The ledger of erasures: what a restored backup must not bring back. One file outside the database, one JSON line an entry.
//!
//! Promises: an entry is on disk before what it tells of is committed; servers that share a data folder write one after the
//! other; half a line, as a crash leaves it, is cut off when the ledger is next written. It holds random ids, purposes,
//! states, times, and what is sealed. An entry whose transaction failed afterwards is carried out by a restore all the same: somebody had
//! asked for it. Refuses: a ledger that is damaged anywhere but at its end.

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

use crate::data::place::sync_folder;

/// How long another server's entry is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// A person is being erased; until the entry's [`Entry::Erased`] follows, every start-up goes on with it.
    Erasing {
        /// The person.
        subject: SubjectId,
        /// The request that asked for it.
        request: DeletionId,
        /// When it began.
        at: DateTime<Utc>,
    },
    /// What an [`Entry::Erasing`] announced did not come to pass: a legal hold was placed in between, or the request is closed.
    NotErased {
        /// The person.
        subject: SubjectId,
        /// When that was found.
        at: DateTime<Utc>,
    },
    /// A person is erased: keys, rows, files.
    Erased {
        /// The person.
        subject: SubjectId,
        /// When it ended.
        at: DateTime<Utc>,
    },
    /// Records were removed.
    Removed {
        /// Whose.
        subject: SubjectId,
        /// Which.
        records: Vec<RecordId>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A request to delete was cancelled: a restored log that only knows its confirmation must not carry it out.
    Cancelled {
        /// Whose.
        subject: SubjectId,
        /// The request.
        request: DeletionId,
        /// When.
        at: DateTime<Utc>,
    },
    /// The grace of a confirmed request was prolonged by a suspension: a restored log that only knows the earlier end must not
    /// carry it out then.
    Paused {
        /// Whose.
        subject: SubjectId,
        /// The request.
        request: DeletionId,
        /// The end of the suspension.
        paused_until: DateTime<Utc>,
        /// The end of the grace from then on.
        grace_ends_at: DateTime<Utc>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A legal hold was placed, or lifted.
    Held {
        /// On whose data.
        subject: SubjectId,
        /// Its end and its reason, sealed; none where it was lifted.
        hold: Option<(DateTime<Utc>, String)>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A consent was withdrawn, or the person objected to a purpose.
    Withdrawn {
        /// Whose.
        subject: SubjectId,
        /// The purpose.
        purpose: Purpose,
        /// Whether it was an objection.
        objected: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// A person had processing restricted, or lifted the restriction.
    Restricted {
        /// Whose.
        subject: SubjectId,
        /// Whether it is restricted from then on.
        restricted: bool,
        /// When.
        at: DateTime<Utc>,
    },
    /// Statistics of a quarter were drawn: where a restored database does not have them, they must not be drawn again.
    Released {
        /// The quarter, as `2025-Q1`.
        period: String,
        /// 0 for the first release.
        revision: u32,
        /// When.
        at: DateTime<Utc>,
    },
}

/// Why the ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file can't be read or written.
    #[error("the ledger of erasures {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A line is damaged.
    #[error("the ledger of erasures {0}: line {1} is damaged; bring back a whole copy")]
    Damaged(PathBuf, usize),
}

/// The ledger of a data folder.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    /// The ledger at a path; the file is made by the first entry.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Adds an entry, durably.
    pub async fn append(&self, entry: Entry) -> Result<(), LedgerError> {
        self.off_the_worker(move |ledger| {
            ledger.append_now(&entry).map_err(|error| LedgerError::Io(ledger.path.clone(), error))
        })
        .await
    }

    /// All entries, oldest first.
    pub async fn read(&self) -> Result<Vec<Entry>, LedgerError> {
        self.off_the_worker(Self::read_now).await
    }

    /// Does `work` on a thread that may wait for the disk.
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
        vault::lock_within(&file, PATIENCE)?;
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

    /// Erasures that began and have not ended.
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

/// Where the last whole line ends, looking backwards from the end of the file.
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
