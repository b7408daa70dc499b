//! What people submit, of every kind alike, and what guests have evaluated.

pub mod record;
