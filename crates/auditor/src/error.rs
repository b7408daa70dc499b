//! Why an audit could not be made.

use std::{io, path::PathBuf};

use cqrs_es::persist::PersistenceError;

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("a connection string must not hold a password: name a file of mode 0600 with --password-file")]
    PasswordInArgument,
    #[error("{0}: {1}")]
    PasswordFile(PathBuf, #[source] io::Error),
    #[error("{0}: others may read it; its mode must be 0600")]
    TooOpen(PathBuf),
    /// The database refused a statement, or cannot be reached.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The repository of `postgres-es` failed.
    #[error(transparent)]
    Repository(#[from] PersistenceError),
    #[error("{0}: not a key that `lethe keys grant` gave")]
    Grant(PathBuf),
    #[error("the server can't be reached: {0}")]
    Server(#[from] reqwest::Error),
    #[error("{0}: the server answered {1}")]
    Refused(String, u16),
    /// The text is no checkpoint, or no trusted key signed it.
    #[error("a checkpoint: {0}")]
    Note(#[from] transparency::NoteError),
    /// The policy cannot be parsed.
    #[error("the policy: {0}")]
    Policy(#[from] transparency::PolicyError),
    /// The caller gave no key for this origin, or the source has no tree with it.
    #[error("no key, or no tree, of the log {0}")]
    UnknownOrigin(String),
    /// Without a checkpoint from outside, nothing can be verified.
    #[error("name a checkpoint from outside with --checkpoint")]
    NoCheckpoint,
    #[error("these are checkpoints of several logs: verify each by itself")]
    SeveralLogs,
    #[error("{0}: another witness has this folder; two would cosign two histories")]
    FolderInUse(PathBuf),
    /// The proof cannot be parsed.
    #[error("the proof: {0}")]
    Proof(#[from] transparency::ProofError),
    #[error("the proof does not name its leaf: give the leaf's hash with --leaf-hash")]
    NoLeaf,
    #[error("--leaf-hash must be the 32 bytes of a SHA-256 in base64")]
    LeafHash,
    /// A copy was not finished, because the log differs from a signed checkpoint with so many leaves.
    #[error("the log is not what was signed for {0} leaves: `verify` says where")]
    NotAsSigned(u64),
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl AuditError {
    /// The program's exit code after this error.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::NotAsSigned(_)) { terminal::FOUND } else { terminal::FAILED }
    }
}
