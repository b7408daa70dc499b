//! The watch over the log: every few seconds each rule looks for its pattern. Several servers look; an alert is raised once.

use std::{sync::Arc, time::Duration};

use domain::desk::alert::Severity;

use crate::app::{App, AppError, desk::alert};

const EVERY: Duration = Duration::from_secs(5);

/// Looks until the task is ended.
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

/// Looks once with every rule; says how many alerts were raised.
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
        // The others have looked all the same.
        Some(error) => {
            alert::alarm(app, "log_not_watched", Severity::Critical, 1).await;
            Err(error)
        }
        None => Ok(raised),
    }
}
