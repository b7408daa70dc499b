//! The log: appending events with whatever follows from them, loading streams, reading on in commit order.
//!
//! Promises: a command's events, its read models and its answer are stored together or not at all; a reader that pages by
//! [`Position`] loses nothing, repeats nothing and keeps the order. Refuses: to change or remove an event. Events that
//! describe a person are sealed here, on the way in; nothing else of the server sees how.

mod append;
mod event;
mod reader;
mod store;
pub mod tree;

pub use append::{Inline, Unit, append};
pub use event::{Actor, Event, Trail, stored_json};
pub use reader::{PlacedEvent, Position, Reader, holders};
pub use store::{Sealing, Store, Stream, execute};

/// `cqrs-es`'s traits, as this log takes them.
pub use cqrs_es;
