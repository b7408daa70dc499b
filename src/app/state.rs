//! Everything that commands and queries need, made once when a server starts.

use std::sync::Arc;

use chrono::TimeDelta;
use context::{Clock, SubjectId};
use tokio::sync::Notify;
use vault::Vault;

use crate::{
    app::{
        Databases,
        desk::{alert_rules::Rules, webhook::Endpoint},
        identity::remembered::RememberedStandings,
        log::{access_log::AccessLog, settings::LogSettings},
        operation::{readiness::Readiness, request_limit::RequestLimits},
        records::present::PresentRecords,
        rights::{controller::Controller, import_turn::Imports},
    },
    auth::{Tokens, counter::Counter},
    data::ledger::Ledger,
    export::Store,
};

/// The rules that raise alerts, and who is told of an alert.
#[derive(Clone)]
pub struct Alerts {
    pub rules: Rules,
    /// The webhooks to which alerts are sent.
    pub endpoints: Vec<Endpoint>,
    /// The address to which alerts are mailed; `None`: no mail is sent.
    pub mail: Option<String>,
}

impl Default for Alerts {
    /// The built-in rules; nobody is told.
    fn default() -> Self {
        Self { rules: Rules::built_in(), endpoints: Vec::new(), mail: None }
    }
}

impl Alerts {
    /// The name of mail among the endpoints.
    pub const MAIL: &'static str = "mail";

    /// The names of all to whom alerts are sent.
    pub fn names(&self) -> Vec<String> {
        let mail = self.mail.iter().map(|_| Self::MAIL.to_owned());
        self.endpoints.iter().map(|endpoint| endpoint.name.clone()).chain(mail).collect()
    }
}

/// The state of a server that all its commands and queries share.
pub struct App {
    pub db: Databases,
    /// Holds the key ring, and opens the keys of people.
    pub vault: Arc<Vault>,
    /// Issues and checks access tokens.
    pub tokens: Tokens,
    /// Records reads of personal data.
    pub access_log: AccessLog,
    /// Whether the server can do its work.
    pub readiness: Readiness,
    /// Notes outside the database what a restored backup must not bring back.
    pub ledger: Ledger,
    /// How the log is made verifiable.
    pub log: LogSettings,
    pub alerts: Alerts,
    /// Where export files are kept.
    pub exports: Store,
    /// Counts the recent requests of guests.
    pub guests: Counter,
    /// Counts all recent requests.
    pub limits: RequestLimits,
    /// The origins whose pages may call the API from a browser.
    pub origins: Vec<String>,
    /// Standings that were read lately.
    pub standings: RememberedStandings,
    /// Records that were stored lately.
    pub present: PresentRecords,
    /// Knows which people import records on this server now.
    pub imports: Imports,
    /// Who is responsible for the data (GDPR Art. 4(7)).
    pub controller: Controller,
    /// How long a confirmed deletion can be cancelled.
    pub grace: TimeDelta,
    /// Wakes the tasks of this server that carry out jobs.
    pub wake: Arc<Notify>,
    pub clock: Clock,
}

impl App {
    /// Forgets what this server remembers of a person who is erased.
    pub(crate) fn forget(&self, subject: SubjectId) {
        self.vault.forget(subject);
        self.standings.forget(subject);
    }
}
