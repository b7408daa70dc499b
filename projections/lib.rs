//! What we show: read models that follow the log, and the queries that read them.
//!
//! Inline read models are written in the command's own transaction; they match on the stored event's type and move sealed
//! bytes, so they need no key. Unsealing happens at the edges.

pub mod account;
pub mod answer;
pub mod audit;
pub mod consent;
pub mod record;

use event_log::Inline;

/// All inline read models, in the order in which they are written.
pub const INLINE: &[&dyn Inline] = &[&account::Accounts, &consent::Consents, &record::Records];
