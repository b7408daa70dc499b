//! How a measurement ends.

/// Whatever went wrong: a bench only says so.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
