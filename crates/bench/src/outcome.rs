//! The result of a measurement.

/// Any error, because a bench only prints it.
pub type BenchResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
