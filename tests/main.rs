//! Behaviour on a real PostgreSQL: journeys over HTTP, isolation by direct SQL, properties, drift. One binary, one cluster a run.

mod program;
mod steps;
mod support;
mod town;

mod account;
mod audit;
mod bad_input;
mod canary;
mod client;
mod commits;
mod consent;
mod demo;
mod isolation;
mod kinds;
mod log;
mod openapi;
mod policies;
mod reads;
mod sign_in;
mod tickets;
mod work_day;
