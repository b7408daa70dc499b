//! What goes on beside requests: the log of reads, letters, housekeeping, and the watch over the policies.

mod access_log;
mod housekeeping;
mod letters;
mod watch;

pub use access_log::{AccessLog, Read};
pub use housekeeping::{keep_house, keep_house_once};
pub use letters::{deliver_letters, deliver_some};
pub use watch::{PolicyDrift, check_policies};
