//! The watch over sessions: whoever holds a transaction open for too long is ended by the database, which no setting of a session
//! prevents (`policies/frame/watch.sql` has the bounds), and named in an alert. An open transaction holds back every reader of the
//! log, and with them its tree.

use std::{sync::Arc, time::Duration};

use db::{Query, Row};
use domain::desk::alert::Severity;

use crate::app::{
    App, AppError,
    desk::alert,
    frame::{self},
};

const EVERY: Duration = Duration::from_secs(5);

/// A session that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose it was.
    pub login: String,
    /// How old its transaction was, in seconds.
    pub age_s: i32,
    /// What it did, in PostgreSQL's words.
    pub state: String,
}

impl Ended {
    fn from_row(row: &Row) -> Self {
        Self { login: row.get("login"), age_s: row.get("age_s"), state: row.get("state") }
    }
}

/// Looks until the task is ended.
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

/// Has sessions ended that hold a transaction for too long, and raises an alert for each login; says which.
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
