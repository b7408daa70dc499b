//! Reads of personal data. Each read is an event, in a stream that holds the reads of one moment.
//!
//! Reads have no aggregate, because no command follows a read: nobody loads such a stream, and the event carries
//! nothing but the read itself.

/// The type of the streams of reads.
pub const ACCESS: &str = "access";
/// Personal data was read.
pub const DATA_ACCESSED: &str = "data.accessed";
/// A member of staff opened a person's data, for a reason that the person can read.
pub const DATA_OPENED: &str = "data.opened";
/// Somebody who is signed in asked for something that does not exist or is not theirs.
pub const ACCESS_REFUSED: &str = "access.refused";
/// A release of statistics came to an account. Every account gets one such event. The account's data that was read, if
/// any, is named in a sealed part that only the owner can open, so that the log tells nobody else who takes part.
pub const STATS_CONSIDERED: &str = "stats.considered";

pub const EVENT_TYPES: &[&str] = &[DATA_ACCESSED, DATA_OPENED, ACCESS_REFUSED, STATS_CONSIDERED];
