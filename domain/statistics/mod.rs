//! Which hospitals count, what is drawn, and what may be shown of it.

pub mod hospital;
pub mod plan;
pub mod release;
pub mod roll_up;
pub mod table;
