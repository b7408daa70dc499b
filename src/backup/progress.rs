//! The progress of a restore.

/// How far a restore has come in its present step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The name of the things that are counted, such as `rows loaded`.
    pub step: &'static str,
    pub done: u64,
    pub total: u64,
}

/// The function that is told of a restore's progress.
pub type Watch<'w> = &'w (dyn Fn(Progress) + Send + Sync);
