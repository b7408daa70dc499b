//! The catalogue of a live database: who may do what, as text with one line for each fact.
//!
//! `policies/matrix.snap` is what the catalogue must be. A test compares the two after a migration. The server compares
//! them when it starts and from time to time, and stops if they differ: it never opens further to stay available. One
//! difference does not stop it: what a login has set for its own sessions. A login may do that, and it changes nothing
//! in the server's sessions (`pool.rs`).
//!
//! A fact reads the same on every version of PostgreSQL that we support. Of PostgreSQL's own catalogue, only grants
//! beyond those that `initdb` makes are facts, so that what a version brings itself makes no difference.

use crate::{Query, Row};

/// What the catalogue must be.
pub const MATRIX: &str = include_str!("../../../policies/matrix.snap");

const SQL: &str = include_str!("catalogue.sql");

/// The beginning of a line that says what a login has set for its own sessions.
const OWN_SETTING: &str = "own setting ";

/// The statement that reads the catalogue. Any login may run it.
pub fn catalogue() -> Query {
    Query::new(SQL)
}

/// The same statement as text, for a superuser's connection.
pub fn catalogue_sql() -> &'static str {
    SQL
}

/// The catalogue as text, one line for each fact.
pub fn matrix(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.get::<_, &str>("line"))).collect()
}

/// How a catalogue differs from what it must be. A line begins with `-` if it is missing, and with `+` if it is too
/// much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Differences with which the server must not serve.
    pub lines: Vec<String>,
    /// What logins have set for their own sessions. It does the server no harm.
    pub own_settings: Vec<String>,
}

impl Drift {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.own_settings.is_empty()
    }
}

/// Compares a catalogue with what it must be.
pub fn drift(found: &str) -> Drift {
    let surplus = |these: &'_ str, those: &'_ str, sign: &str| -> Vec<String> {
        let is_new = |line: &&str| !those.lines().any(|other| other == *line);
        these.lines().filter(is_new).map(|line| format!("{sign} {line}")).collect()
    };
    let all = surplus(MATRIX, found, "-").into_iter().chain(surplus(found, MATRIX, "+"));
    let (own_settings, lines) = all.partition(|line| line[2..].starts_with(OWN_SETTING));
    Drift { lines, own_settings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_login_sets_for_itself_is_told_apart() {
        assert!(drift(MATRIX).is_empty());
        let found =
            format!("{MATRIX}own setting lethe_dashboard work_mem=64kB\nsetting lethe_dashboard log_statement=all\n");
        let found = found.replacen("own setting lethe_api statement_timeout=30s\n", "", 1);
        let drift = drift(&found);
        assert_eq!(drift.lines, ["+ setting lethe_dashboard log_statement=all"]);
        assert_eq!(
            drift.own_settings,
            ["- own setting lethe_api statement_timeout=30s", "+ own setting lethe_dashboard work_mem=64kB"]
        );
    }
}
