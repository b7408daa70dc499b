//! A time limit of one transaction's own, for work that grows with one person's data and has to end.

use crate::Query;

/// Lets each statement that follows in this transaction run for fifteen minutes, instead of the login's half minute. A request never
/// asks for it: only jobs, and commands of the operator, do work that long.
pub fn long_statements() -> Query {
    Query::new("-- long_statements\nSELECT set_config('statement_timeout', '15min', true)")
}
