//! The doctor: checks each thing that must hold. A finding that is a fault says the remedy. It makes nothing and changes
//! nothing: no folder, file, key or table.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use context::{Clock, Role, SubjectId};
use db::{Address, Clocks, DbError, Drift, Login, Passwords, Session, catalogue_sql, drift, matrix};
use serde::Serialize;
use tokio_postgres::Client;
use vault::Vault;

use crate::{
    data::home::{Database, Folder},
    jobs::{CLOCKS_APART, ClocksApart, PolicyDrift},
    server::{self, ServerError},
};

/// One thing that was checked.
#[derive(Serialize)]
pub struct Finding {
    pub what: String,
    pub holds: bool,
    /// What was found; for a fault, the remedy too.
    pub fact: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "ok  " } else { "FAIL" };
        write!(f, "{verdict}  {}: {}", self.what, self.fact)
    }
}

/// The findings, in the order of the checks.
#[derive(Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    fn say(&mut self, what: &str, finding: Result<String, String>) {
        let (holds, fact) = finding.map_or_else(|fault| (false, fault), |fact| (true, fact));
        self.0.push(Finding { what: what.to_owned(), holds, fact });
    }

    /// One line for each finding.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(Finding::to_string).collect()
    }

    /// An error that names the faults, if there are any.
    pub fn verdict(&self) -> Result<(), ServerError> {
        let sick: Vec<&str> = self.0.iter().filter(|finding| !finding.holds).map(|it| it.what.as_str()).collect();
        if sick.is_empty() { Ok(()) } else { Err(ServerError::Sick(sick.join(", "))) }
    }
}

/// Examines a data folder and its database, with the clock of their server.
pub async fn find(
    folder: &Folder,
    database: &Database,
    vault: &Arc<Vault>,
    clock: &Clock,
) -> Result<Findings, ServerError> {
    let (passwords, mut found) = (folder.present_passwords()?, Findings::default());
    found.say("key ring", Ok(format!("opens, {} signing key(s)", vault.ring().signing().keys.len())));
    found.say("key-encryption key", key_age(vault, clock.now()));
    for login in Login::ALL {
        found.say(login.as_str(), logs_in(&database.address, login, &passwords).await);
    }
    let version = server::check_version(database, &passwords).await;
    found.say("PostgreSQL", version.map(|()| "is new enough".to_owned()).map_err(|error| error.to_string()));
    let password = passwords.get(Login::Api.as_str()).map(String::as_str);
    // The session opens as the server's sessions do, which override settings that the role may have been given.
    if let Ok(client) = db::session(&database.address, Login::Api, password).await {
        found.say("tickets", accepts_tickets(&client, vault).await?);
        let rows = client.query(catalogue_sql(), &[]).await.map_err(DbError::from)?;
        let Drift { lines, own_settings } = drift(&matrix(&rows));
        let drift = if lines.is_empty() { Ok("are what they must be".to_owned()) } else { Err(PolicyDrift(lines)) };
        found.say("roles and policies", drift.map_err(|drift| drift.to_string().replace('\n', " ")));
        found.say("settings of logins", settings(&own_settings));
        let clocks = Clocks::compare(&client, clock).await?;
        let apart = format!("{} ms from the database's", clocks.apart().num_milliseconds());
        let finding = if clocks.apart() <= CLOCKS_APART { Ok(apart) } else { Err(ClocksApart(clocks).to_string()) };
        found.say("clock", finding);
        found.say("prepared transactions", no_prepared(&client).await?);
    }
    Ok(found)
}

/// Whether a login can connect with the password of the data folder.
async fn logs_in(address: &Address, login: Login, passwords: &Passwords) -> Result<String, String> {
    let Some(password) = passwords.get(login.as_str()) else {
        return Err("has no password in logins.json: `lethe migrate` makes it".to_owned());
    };
    match db::session(address, login, Some(password)).await {
        Ok(_) => Ok("connects".to_owned()),
        Err(DbError::LoginRefused { code }) if code == "28P01" => {
            Err("its password is not the one in logins.json; somebody changed it: `lethe migrate` sets it again"
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn accepts_tickets(client: &Client, vault: &Vault) -> Result<Result<String, String>, ServerError> {
    let (session, now) = Session::begin(client).await?;
    let ticket = vault.ring().ticket_key().mint(SubjectId::NIL, None, Role::System, now, &session);
    let shown = "SELECT lethe.show($1, false)";
    client.query(shown, &[&ticket]).await.map_err(DbError::from)?;
    let row = client.query_one("SELECT lethe.ticket_role() AS role", &[]).await.map_err(DbError::from)?;
    let accepted = row.get::<_, Option<&str>>("role") == Some(Role::System.as_str());
    let foreign = || "the database does not accept this ring's tickets".to_owned();
    Ok(accepted.then(|| "are accepted".to_owned()).ok_or_else(foreign))
}

/// Altered settings of a login do the server no harm, but show that somebody has the login's password.
fn settings(altered: &[String]) -> Result<String, String> {
    if altered.is_empty() {
        return Ok("are what they must be".to_owned());
    }
    Err(format!("a login's settings were altered; `lethe migrate` sets them again: {}", altered.join("; ")))
}

/// Prepared transactions must be off: such a transaction outlives its session, and holds readers of the log back until
/// somebody ends it by hand.
async fn no_prepared(client: &Client) -> Result<Result<String, String>, ServerError> {
    let sql = "SELECT current_setting('max_prepared_transactions')::int AS most";
    let most: i32 = client.query_one(sql, &[]).await.map_err(DbError::from)?.get("most");
    let fault =
        || "max_prepared_transactions must be 0: such a transaction holds the log's readers back for good".to_owned();
    Ok(if most == 0 { Ok("are off".to_owned()) } else { Err(fault()) })
}

/// The age of the current key-encryption key; a fault if its rotation is overdue or not finished.
fn key_age(vault: &Vault, now: DateTime<Utc>) -> Result<String, String> {
    let kek = vault.ring().current();
    let Some(created_at) = kek.created_at else {
        return Err(format!("version {}, of unknown age: `lethe keys rotate`", kek.version));
    };
    let age = format!("version {}, {} day(s) old", kek.version, (now - created_at).num_days());
    if vault.ring().keks().len() > 1 {
        return Err(format!("{age}; an older version lives: `lethe keys rotate` to its end, then `keys destroy`"));
    }
    if vault.ring().rotation_due().is_some_and(|due| now <= due) {
        Ok(age)
    } else {
        Err(format!("{age}, to be rotated every {} days: `lethe keys rotate`", vault::ROTATION.num_days()))
    }
}
