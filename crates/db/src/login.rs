//! The logins of the server, and of people and programs that read beside it.

use std::collections::BTreeMap;

/// The logins of `policies/frame/roles.sql`, one pool each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Login {
    /// Requests of persons and staff, under their tickets.
    Api,
    /// Jobs. This login cannot read keys.
    System,
    /// Writes reads of personal data to the log, and nothing else.
    Access,
    /// The release of statistics.
    Stats,
    /// Auditors, who write their own SQL.
    Auditor,
    /// The compliance desk, which writes its own SQL.
    Compliance,
    /// Dashboards that read published statistics.
    Dashboard,
}

impl Login {
    pub const ALL: [Self; 7] =
        [Self::Api, Self::System, Self::Access, Self::Stats, Self::Auditor, Self::Compliance, Self::Dashboard];

    /// The role's name in PostgreSQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "lethe_api",
            Self::System => "lethe_system",
            Self::Access => "lethe_access",
            Self::Stats => "lethe_stats",
            Self::Auditor => "lethe_auditor",
            Self::Compliance => "lethe_compliance",
            Self::Dashboard => "lethe_dashboard",
        }
    }
}

/// A password for each login, by the role's name.
pub type Passwords = BTreeMap<String, String>;
