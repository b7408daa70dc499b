//! The watch over sessions. The database ends each session that holds a transaction open for too long, and an alert
//! names its login. No setting of a session prevents that (`policies/frame/watch.sql` has the bounds). The reason: an
//! open transaction holds back every reader of the log, and with them its tree.

use std::{sync::Arc, time::Duration};

use db::FromRow;
use domain::desk::alert::Severity;
use projections::operation::ended_session::{EndedSession, sessions_end};

use crate::app::{App, AppError, desk::alert, frame};

const EVERY: Duration = Duration::from_secs(5);

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
pub async fn watch_sessions_once(app: &App) -> Result<Vec<EndedSession>, AppError> {
    let [rows] = frame::system_query(app, "sessions_end", || [sessions_end()]).await?;
    let ended = EndedSession::from_rows(&rows);
    for EndedSession { login, age_s, state } in &ended {
        tracing::warn!(login, age_s, state, "a session held a transaction for too long, and was ended");
        let of_login = ended.iter().filter(|other| other.login == *login).count();
        alert::alarm_about(app, login, "session_ended", Severity::Critical, of_login as u64).await;
    }
    Ok(ended)
}
