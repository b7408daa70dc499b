//! Behaviour on a real PostgreSQL: journeys over HTTP, isolation by direct SQL, properties, drift. One binary, one cluster a run.

mod support;

mod policies;
mod sign_in;
