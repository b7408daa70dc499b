//! Work beside requests: catching up projections, growing the tree, letters, alerts, jobs, housekeeping, and the
//! watches over the key ring, the policies, the database's clock, and sessions that hold others up.

mod alert_watch;
mod catch_up;
mod deliver_alerts;
mod housekeeping;
mod letters;
mod ring_watch;
mod runner;
mod session_watch;
mod tree;
mod watch;
mod witness;

pub use alert_watch::{watch_log, watch_log_once};
pub use catch_up::{catch_up, catch_up_once, enter_all};
pub use deliver_alerts::{client, deliver_alerts, deliver_alerts_once};
pub use housekeeping::{keep_house, keep_house_once};
pub use letters::{deliver_letters, deliver_some};
pub use ring_watch::{join_ring, leave_ring, watch_ring};
pub use runner::{plan, run_due, run_jobs, run_some};
pub use session_watch::{watch_sessions, watch_sessions_once};
pub use tree::{Cover, grow_once, grow_tree, watch_cover};
pub use watch::{CLOCKS_APART, ClocksApart, OwnSettings, PolicyDrift, check_clock, check_policies, tell_own_settings};
pub use witness::{Witnesses, add_checkpoint};
