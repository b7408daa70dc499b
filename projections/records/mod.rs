//! Records that are not removed, and stored answers to repeated requests.

pub mod answer;
pub mod record;
