//! What we show: read models that follow the log, and the queries that read them.
//!
//! Inline read models are written in the command's own transaction; they match on the stored event's type and move sealed
//! bytes, so they need no key. Unsealing happens at the edges. Catch-up read models follow behind, each event once.

pub mod account;
pub mod activity;
pub mod alert;
pub mod answer;
pub mod audit;
pub mod catch_up;
pub mod compliance;
pub mod consent;
pub mod dead_letter;
pub mod deletion;
pub mod erasure;
pub mod export;
pub mod hold;
pub mod hospital;
pub mod job;
pub mod lag;
pub mod rebuild;
pub mod record;
pub mod release;
pub mod restriction;
pub mod retention;

use catch_up::CatchUp;
use event_log::Inline;
use rebuild::Rebuild;

/// All inline read models, in the order in which they are written.
pub const INLINE: &[&dyn Inline] = &[
    &account::Accounts,
    &consent::Consents,
    &record::Records,
    &deletion::Deletions,
    &export::Exports,
    &restriction::Restrictions,
    &hold::Holds,
    &retention::Retentions,
];

/// All catch-up projections.
pub const CATCH_UP: &[&CatchUp] = &[&activity::ACTIVITY];

/// The inline read models that can be made equal to log and register.
pub const REBUILDS: &[&Rebuild] =
    &[&record::REBUILD, &consent::REBUILD, &account::REBUILD, &deletion::REBUILD, &retention::REBUILD];
