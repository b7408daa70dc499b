//! Why an audit could not be made.

use std::{io, path::PathBuf};

use cqrs_es::persist::PersistenceError;

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
