//! What we show: read models that follow the log, and the queries that read them.
//!
//! Inline read models are written in the transaction of the command. They match on the type of the stored event and
//! move sealed bytes, so they need no key; values are unsealed elsewhere, before they are shown. Catch-up read models
//! follow behind the commands and apply each event once.

pub mod answer;
pub mod catch_up;
mod choice;
pub mod desk;
pub mod identity;
pub mod log;
pub mod operation;
pub mod page;
pub mod rebuild;
pub mod records;
pub mod rights;
pub mod statistics;

use catch_up::CatchUp;
use event_log::Inline;
use rebuild::Rebuild;

/// All inline read models, in the order in which they are written.
pub const INLINE: &[&dyn Inline] = &[
    &identity::account::Accounts,
    &rights::consent::Consents,
    &records::record::Records,
    &rights::deletion::Deletions,
    &rights::export::Exports,
    &rights::restriction::Restrictions,
    &rights::hold::Holds,
    &rights::retention::Retentions,
];

pub const CATCH_UP: &[&CatchUp] = &[&operation::activity::ACTIVITY];

/// The inline read models that can be made equal to the log and the register.
pub const REBUILDS: &[&Rebuild] = &[
    &records::record::REBUILD,
    &rights::consent::REBUILD,
    &identity::account::REBUILD,
    &rights::deletion::REBUILD,
    &rights::retention::REBUILD,
];
