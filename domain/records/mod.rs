//! Records, of every kind alike.

pub mod record;
