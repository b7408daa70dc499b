//! The doctor: says of each thing that must hold whether it does, in one line. Fails where one does not.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use context::{Clock, Role, SubjectId};
use db::{Login, catalogue_sql, drift, matrix};
use vault::Vault;

use crate::{
    place::{Database, Folder},
    server::{self, ServerError},
};

/// How far the database's clock may be from ours, in seconds. The log refuses events that are two minutes off.
const SKEW_S: i64 = 5;

/// Examines a place.
pub async fn examine(folder: &Folder, database: &Database, vault: &Arc<Vault>) -> Result<(), ServerError> {
    let passwords = folder.passwords()?;
    let mut sick = Vec::new();
    let mut say = |what: &str, finding: Result<String, String>| match finding {
        Ok(fact) => println!("ok    {what}: {fact}"),
        Err(fault) => {
            println!("FAIL  {what}: {fault}");
            sick.push(what.to_owned());
        }
    };
    say("key ring", Ok(format!("opens, {} signing key(s)", vault.ring().signing().keys.len())));
    say("key-encryption key", key_age(vault, Clock::system().now()));
    for login in Login::ALL {
        let password = passwords.get(login.as_str()).map(String::as_str);
        let finding = db::admin(&database.address, login.as_str(), password).await;
        say(login.as_str(), finding.map(|_| "connects".to_owned()).map_err(|error| error.to_string()));
    }
    let version = server::check_version(database, &passwords).await;
    say("PostgreSQL", version.map(|()| "is new enough".to_owned()).map_err(|error| error.to_string()));
    let password = passwords.get(Login::Api.as_str()).map(String::as_str);
    if let Ok(client) = db::admin(&database.address, Login::Api.as_str(), password).await {
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.map_err(db::DbError::from)?;
        let now = Clock::system().now();
        let ticket = vault.ring().ticket_key().mint(SubjectId::NIL, None, Role::System, now, row.get(0));
        let shown = "SELECT set_config('lethe.ticket', $1, false)";
        client.query(shown, &[&ticket]).await.map_err(db::DbError::from)?;
        let row = client.query_one("SELECT lethe.ticket_role()", &[]).await.map_err(db::DbError::from)?;
        let accepted = row.get::<_, Option<&str>>(0) == Some(Role::System.as_str());
        let foreign = || "the database does not accept this ring's tickets".to_owned();
        say("tickets", accepted.then(|| "are accepted".to_owned()).ok_or_else(foreign));
        let rows = client.query(catalogue_sql(), &[]).await.map_err(db::DbError::from)?;
        let drift = drift(&matrix(&rows));
        let finding = if drift.is_empty() { Ok("are what they must be".to_owned()) } else { Err(drift.join("; ")) };
        say("roles and policies", finding);
        let row = client.query_one("SELECT clock_timestamp()", &[]).await.map_err(db::DbError::from)?;
        let skew = (row.get::<_, DateTime<Utc>>(0) - Clock::system().now()).num_seconds().abs();
        say(
            "clock",
            if skew <= SKEW_S {
                Ok(format!("{skew} s from the database's"))
            } else {
                Err(format!("{skew} s from the database's"))
            },
        );
    }
    if sick.is_empty() { Ok(()) } else { Err(ServerError::Sick(sick.join(", "))) }
}

/// How old the current key-encryption key is; a fault where its rotation is overdue.
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
