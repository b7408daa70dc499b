//! What goes on beside requests: the log of reads, letters, jobs, housekeeping, and the watches over
//! the key ring and the policies.

mod access_log;
mod alert_watch;
mod catch_up;
mod deliver_alerts;
pub mod generation;
mod housekeeping;
mod letters;
mod ring_watch;
mod runner;
mod tree;
mod watch;
mod witness;

pub use access_log::{AccessLog, Read};
pub use alert_watch::{watch_log, watch_log_once};
pub use catch_up::{REFUSED, Step, catch_up, catch_up_once, catch_up_step, enter_all, is_refused_value};
pub use deliver_alerts::{client, deliver_alerts, deliver_alerts_once};
pub use housekeeping::{keep_house, keep_house_once};
pub use letters::{deliver_letters, deliver_some};
pub use ring_watch::{join_ring, leave_ring, watch_ring};
pub use runner::{Next, plan, run_due, run_jobs, run_some};
pub use tree::{grow_once, grow_tree, watch_cover};
pub use watch::{PolicyDrift, check_policies};
pub use witness::{Witnesses, add_checkpoint};
