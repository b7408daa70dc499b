//! What can go wrong: errors of this tool itself, and findings about the server.

use std::fmt;

/// Any error of the tool, because it only prints it.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Something that was acknowledged is not there.
    Lost,
    /// Something was done more than once.
    Doubled,
    /// The server does not serve, or does not finish, without help.
    Stuck,
    /// Two things differ that must be equal: log and read models, events and tree, answers and what is stored.
    Unequal,
}

/// Something about the server that does not hold, in a line.
#[derive(Clone, Debug)]
pub struct Finding {
    pub wrong: Wrong,
    pub what: String,
}

impl Finding {
    pub fn new(wrong: Wrong, what: impl Into<String>) -> Self {
        Self { wrong, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", format!("{:?}", self.wrong).to_uppercase(), self.what)
    }
}
