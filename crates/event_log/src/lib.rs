//! The log: appending events together with their read models, loading streams, and reading on in commit order.
//!
//! Promises: a command's events, its read models and its answer are stored together or not at all; a reader that pages
//! by [`Position`] loses nothing, repeats nothing and keeps the order. Refuses to change or remove an event. Events
//! that describe a person are sealed here when they are added; no other part of the server knows how.

mod append;
mod event;
mod reader;
mod store;
pub mod tree;

pub use append::{Added, Inline, Unit, event_append};
pub use event::{Actor, Event, Trail, stored_json};
pub use reader::{PlacedEvent, Position, Reader, log_holders};
pub use store::{Sealing, Store, Stream, execute};

/// The traits of `cqrs-es` that this log uses.
pub use cqrs_es;
