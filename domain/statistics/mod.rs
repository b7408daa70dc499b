//! Which hospitals count, what is drawn, and what may be shown of it.

pub mod hospital;
pub mod release;
pub mod roll_up;
