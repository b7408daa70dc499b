//! What a step is answered: a status with what the body says, or a problem.

use std::collections::BTreeMap;

/// Status and name of a type of problem.
pub type Problem = (u16, &'static str);

/// What the documentation says of the answer to the last step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nobody asked.
    #[default]
    Nothing,
    /// The status, and what the body says.
    Done(u16, Said),
    /// A problem: one of these, because the documentation does not say which of several faults is named.
    Refused(Vec<Problem>),
}

/// What a body says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    /// The same as the first answer to this request.
    TheSameAgain,
    Day(u8, u16),
    Days(Vec<(u8, u16)>),
    /// Days that are new, changed, and as before.
    Counts(u64, u64, u64),
    Word(u8, u8),
    Removed(u64),
    /// Whether consent is given, and whether an objection stands.
    Consent(bool, bool),
    /// How many work days and words would go.
    WouldGo(u64, u64),
    Status(&'static str),
    /// The days and the words in a file; `None` if the server may have written it before or after a removal of the same
    /// moment.
    File(Option<Contents>),
}

/// Days with their times, and words with their counts.
pub type Contents = (BTreeMap<u8, u16>, BTreeMap<u8, u8>);

pub const SIGNED_OUT: Problem = (401, "signed-out");
pub const ERASED: Problem = (401, "erased");
pub const CODE_REFUSED: Problem = (401, "code-refused");
pub const REFRESH_REFUSED: Problem = (401, "refresh-refused");
pub const FORBIDDEN: Problem = (403, "forbidden");
pub const SIGN_IN_NEEDED: Problem = (403, "sign-in-needed");
pub const CONSENT_NEEDED: Problem = (403, "consent-needed");
pub const MISSING: Problem = (404, "missing");
pub const RESTRICTED: Problem = (409, "restricted");
pub const HELD: Problem = (409, "held");
pub const OBJECTION_STANDS: Problem = (409, "objection-stands");
pub const EXPORT_WAITING: Problem = (409, "export-waiting");
pub const EXPORT_CLOSED: Problem = (409, "export-closed");
pub const DELETION_WAITING: Problem = (409, "deletion-waiting");
pub const DELETION_CONFIRMED: Problem = (409, "deletion-confirmed");
pub const DELETION_CLOSED: Problem = (409, "deletion-closed");
pub const COOLING_OFF: Problem = (409, "cooling-off");
pub const GRACE_OVER: Problem = (409, "grace-over");
pub const CHANGED: Problem = (412, "changed");
pub const INVALID: Problem = (422, "invalid-input");
pub const KEY_REUSED: Problem = (422, "key-reused");

pub fn refused(problem: Problem) -> Told {
    Told::Refused(vec![problem])
}

/// The answer if none of these faults is there, each with its problem.
pub fn unless(faults: &[(bool, Problem)], done: impl FnOnce() -> Told) -> Told {
    let found: Vec<Problem> = faults.iter().filter(|(is_so, _)| *is_so).map(|(_, problem)| *problem).collect();
    if found.is_empty() { done() } else { Told::Refused(found) }
}

pub fn ok(said: Said) -> Told {
    Told::Done(200, said)
}
