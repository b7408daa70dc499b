//! Reads of personal data: each is an event, in a stream that holds the reads of one moment.

/// The type of such streams.
pub const ACCESS: &str = "access";
/// The type of such events.
pub const DATA_ACCESSED: &str = "data.accessed";
