//! How far a backup or a restore has come.

/// How far a restore has come with the step that it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is counted: rows loaded, people whose read models are made.
    pub step: &'static str,
    /// How many are done.
    pub done: u64,
    /// How many there are in all.
    pub total: u64,
}

/// Who is told of a restore's progress.
pub type Watch<'w> = &'w (dyn Fn(Progress) + Send + Sync);
