//! The watch over sessions. The database ends each session that holds a transaction open for too long, and an alert
//! names its login. No setting of a session prevents that (`policies/frame/watch.sql` has the bounds). The reason: an
//! open transaction holds back every reader of the log, and with them its tree.

use std::{sync::Arc, time::Duration};

use db::{Query, Row};
use domain::desk::alert::Severity;

use crate::app::{
    App, AppError,
    desk::alert,
    frame::{self},
};

const EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The login that the session belonged to.
    pub login: String,
    /// The age of its transaction, in seconds.
    pub age_s: i32,
    /// The session's state in `pg_stat_activity`, such as `idle in transaction`.
    pub state: String,
}

impl Ended {
    fn from_row(row: &Row) -> Self {
        Self { login: row.get("login"), age_s: row.get("age_s"), state: row.get("state") }
    }
}

/// Looks every five seconds until the task is ended. Logs a failure only when it begins.
pub async fn watch_sessions(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        every.tick().await;
        match watch_sessions_once(&app).await {
            Ok(_) => failed = false,
            Err(error) if !failed => {
                tracing::error!(%error, "sessions can't be watched");
                failed = true;
            }
            Err(_) => {}
        }
    }
}

/// Ends the sessions that have held a transaction for too long, and raises an alert for each of their logins. Returns
/// the sessions.
pub async fn watch_sessions_once(app: &App) -> Result<Vec<Ended>, AppError> {
    let end = || Query::new("-- sessions_end\nSELECT login, age_s, state FROM watch.end_sessions()");
    let [rows] = frame::system_query(app, "sessions_end", || [end()]).await?;
    let ended: Vec<Ended> = rows.iter().map(Ended::from_row).collect();
    for Ended { login, age_s, state } in &ended {
        tracing::warn!(login, age_s, state, "a session held a transaction for too long, and was ended");
        let of_login = ended.iter().filter(|other| other.login == *login).count();
        alert::alarm_about(app, login, "session_ended", Severity::Critical, of_login as u64).await;
    }
    Ok(ended)
}
