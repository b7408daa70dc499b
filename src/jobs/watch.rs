//! The watch over the database. When roles, grants or policies differ from what they must be, the server stops. A
//! login's settings for its own sessions do not affect the server's sessions: they raise an alert, and the server goes
//! on, because otherwise the weakest login could stop it. The watch also compares the database's clock with ours.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use context::Ctx;
use db::{Clocks, Drift, Gate, catalogue, drift, matrix};
use domain::desk::alert::Severity;

use crate::app::{App, AppError, desk::alert, frame};

/// How far the database's clock may be from ours. The log refuses events whose time is two minutes off.
pub const CLOCKS_APART: TimeDelta = TimeDelta::seconds(5);

/// Roles, grants or policies in the database differ from `policies/matrix.snap`.
#[derive(Debug, thiserror::Error)]
#[error("roles, grants or policies are not what they must be (`lethe migrate` applies roles, grants and policies anew):\n{}", .0.join("\n"))]
pub struct PolicyDrift(pub Vec<String>);

/// Settings that logins have for their own sessions, one line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct OwnSettings(pub Vec<String>);

impl OwnSettings {
    /// Each login once.
    pub fn logins(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(|line| line.split(' ').find(|word| word.starts_with("lethe_"))).collect()
    }
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the database's clock says {}, this server's {}: more than {} s apart; set them by the same time source, since the log takes \
     no event of another time", .0.theirs.format("%FT%T%.3fZ"), .0.ours.format("%FT%T%.3fZ"), CLOCKS_APART.num_seconds()
)]
pub struct ClocksApart(pub Clocks);

/// Compares the live catalogue with `policies/matrix.snap`.
pub async fn check_policies(app: &App) -> Result<Result<OwnSettings, PolicyDrift>, AppError> {
    let ctx = &Ctx::system(app.clock.clone());
    let queries = || [catalogue()];
    let [rows] = frame::ticket_query(app, "check_policies", ctx, Gate::read(ctx), queries).await?;
    let Drift { lines, own_settings } = drift(&matrix(&rows));
    Ok(if lines.is_empty() { Ok(OwnSettings(own_settings)) } else { Err(PolicyDrift(lines)) })
}

/// Logs the altered settings, and raises one alert for each login.
pub async fn tell_own_settings(app: &App, settings: &OwnSettings) {
    for login in settings.logins() {
        let of_login: Vec<_> = settings.0.iter().filter(|line| line.contains(login)).map(String::as_str).collect();
        let changes = of_login.join("; ");
        tracing::warn!(login, changes, "a login's settings were altered; `lethe migrate` sets them again");
        alert::alarm_about(app, login, "login_altered", Severity::Warning, of_login.len() as u64).await;
    }
}

/// Compares our clock with the database's.
pub async fn check_clock(app: &App) -> Result<Result<Clocks, ClocksApart>, AppError> {
    let clocks = app.db.system.clocks(&app.clock).await?;
    Ok(if clocks.apart() <= CLOCKS_APART { Ok(clocks) } else { Err(ClocksApart(clocks)) })
}
