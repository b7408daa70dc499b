//! The faults. Each begins and ends here: when [`strike()`] returns, what was taken away is back, and a server that was
//! killed here has been started again.

mod clock;
mod database;
mod kind;
mod processes;
mod scene;
mod storage;
mod strike;

pub use kind::{Fault, Lack, plan};
pub use scene::Scene;
pub use strike::strike;
