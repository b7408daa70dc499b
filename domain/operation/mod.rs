//! The history of the key ring.

pub mod key_ring;
