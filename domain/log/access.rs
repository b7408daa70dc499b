//! Reads of personal data: each is an event, in a stream that holds the reads of one moment.
//!
//! They have no aggregate. No command follows a read, so nobody loads such a stream, and a read carries nothing but itself.

/// The type of such streams.
pub const ACCESS: &str = "access";
/// The type of such events.
pub const DATA_ACCESSED: &str = "data.accessed";
/// That a member of staff opened a person's data, with a reason that the person sees.
pub const DATA_OPENED: &str = "data.opened";
/// That somebody who is signed in asked for what is not there, or not theirs.
pub const ACCESS_REFUSED: &str = "access.refused";
/// That a release of statistics came to an account: one entry for every account. What was read of it, if anything, is sealed for
/// its owner, so that the log tells nobody else who takes part.
pub const STATS_CONSIDERED: &str = "stats.considered";

/// The types of all such events.
pub const EVENT_TYPES: &[&str] = &[DATA_ACCESSED, DATA_OPENED, ACCESS_REFUSED, STATS_CONSIDERED];
