//! The frames in which transactions run. A capability names its operation, says what it reads and what must be true of
//! the person, and decides. The frame does the rest: the ticket and the locks, the standing, the stored answer to a
//! repeated request, the events, and the read models that follow from the events.
//!
//! - `query` reads a person's own data, in one flight.
//! - `command` decides something for a person. `command_once` does so once for each idempotency key, `attempt`
//!   does so while nobody has signed in, and `first` creates the person.
//! - `system_query`, `system_command` and, in several flights, `system_work` do the same for data that is about
//!   nobody; `system_command_once` and `system_work_once` do so once for each idempotency key of a member of staff.
//! - `claim` and `staff_claim` claim an idempotency key; `answered` looks for the answer before anything else is done.
//! - `ticket_query` reads without a standing.

mod answer;
mod demand;
mod person;
mod standing;
mod system;
mod work;

pub(crate) use answer::Claim;
pub use answer::{IdempotentRequest, Once};
pub(crate) use demand::Frame;
pub use person::right_keys;
pub(crate) use person::{
    acting_keys, answered, attempt, claim, command, command_once, first, index_key, query, staff_claim,
};
pub use standing::Standing;
pub(crate) use system::{
    system_command, system_command_once, system_query, system_work, system_work_once, ticket_query,
};
pub(crate) use work::{Work, newest_of, own_id};
