//! How a client is told that a rule refused a command. Each aggregate says it beside its own error, so that no list of
//! errors has to be kept elsewhere.

use crate::Fault;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Fields are wrong.
    Invalid(Vec<Fault>),
    /// There is no thing of this name.
    NotFound(&'static str),
    /// The present state does not allow the command.
    Conflict(Conflict),
    /// The command can only be refused if stored data is damaged.
    Damaged,
}

/// A type of problem (RFC 9457).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// The last segment of its address, such as `held`.
    pub name: &'static str,
    /// What it means, in a few words.
    pub title: &'static str,
    /// When it happens and what a client can do, in whole sentences.
    pub advice: &'static str,
}

/// A problem with the present state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub kind: ProblemType,
    /// What is special about this occurrence; `None` if there is nothing to add.
    pub detail: Option<String>,
}

/// The error of an aggregate.
pub trait Rule: std::error::Error + Send + Sync + 'static {
    /// What a client is told of this error.
    fn refused(&self) -> Refused;
}

impl Refused {
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(field, message)])
    }

    /// A conflict without detail. The aggregate lists its type in `Described::CONFLICTS`.
    pub fn conflict(kind: ProblemType) -> Self {
        Self::Conflict(Conflict { kind, detail: None })
    }

    /// A conflict with a detail, which is a whole sentence.
    pub fn explained(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self::Conflict(Conflict { kind, detail: Some(detail.into()) })
    }
}

/// Of rules that refuse nothing.
impl Rule for std::convert::Infallible {
    fn refused(&self) -> Refused {
        match *self {}
    }
}
