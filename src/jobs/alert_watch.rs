//! The watch over the log: every five seconds each rule looks for its pattern. All servers look; an alert is raised
//! once all the same.

use std::{sync::Arc, time::Duration};

use domain::desk::alert::Severity;

use crate::app::{App, AppError, desk::alert};

const EVERY: Duration = Duration::from_secs(5);

/// Looks every five seconds until the task is ended. Logs a failure only when it begins.
pub async fn watch_log(app: Arc<App>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        every.tick().await;
        match watch_log_once(&app).await {
            Ok(_) => failed = false,
            Err(error) if !failed => {
                tracing::error!(%error, "the log can't be watched");
                failed = true;
            }
            Err(_) => {}
        }
    }
}

/// Looks once with every rule, and returns how many alerts were raised. A rule that fails does not stop the others.
pub async fn watch_log_once(app: &App) -> Result<usize, AppError> {
    let (mut raised, mut failed) = (0, None);
    for rule in &app.alerts.rules.rules {
        match alert::look(app, rule).await {
            Ok(count) => raised += count,
            Err(error) => {
                tracing::error!(%error, rule = rule.name, "a rule can't be looked after");
                failed = failed.or(Some(error));
            }
        }
    }
    match failed {
        // All other rules have looked by now.
        Some(error) => {
            alert::alarm(app, "log_not_watched", Severity::Critical, 1).await;
            Err(error)
        }
        None => Ok(raised),
    }
}
