//! The HTTP side: one file for each capability, each a small API of its own; the other files hold what they share.
//!
//! Every operation is under `/v1`; the bare paths of older clients answer 308 to it. Every refusal is a problem
//! document.

mod api;
mod cross_origin;
mod deprecation;
pub(crate) mod desk;
mod document;
pub(crate) mod identity;
mod json_ld;
pub(crate) mod log;
pub(crate) mod operation;
mod problem;
mod problem_page;
mod problem_type;
mod rate_limit;
pub(crate) mod records;
mod repeatable;
pub(crate) mod request;
pub(crate) mod rights;
mod service;
pub(crate) mod statistics;
mod table;
mod tag;
mod transfer;
mod types;

pub use api::{document, document_3_0};
pub use request::client::TrustedProxies;
pub use service::routes;
