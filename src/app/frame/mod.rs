//! The frames in which transactions run. A capability names its operation, says what it reads and what must be true of
//! the person, and decides. The frame does the rest: the ticket and the locks, the standing, the stored answer to a
//! repeated request, the events, and the read models that follow from the events.
//!
//! - `query` reads a person's own data, in one flight.
//! - `command` decides something for a person. `command_once` does so once for each idempotency key, `attempt`
//!   does so while nobody has signed in, and `first` creates the person.
//! - `system_query`, `system_command` and, in several flights, `system_work` do the same for data that is about
//!   nobody.
//! - `ticket_query` reads without a standing.

mod demand;
mod person;
mod standing;
mod system;
mod work;

pub(crate) use demand::Frame;
pub use person::right_keys;
pub(crate) use person::{acting_keys, attempt, command, command_once, first, index_key, query};
pub use standing::Standing;
pub(crate) use system::{system_command, system_query, system_work, ticket_query};
pub(crate) use work::{Work, newest_of, own_id};
