//! Released statistics, and the list of hospitals.

pub mod hospital;
pub mod release;
