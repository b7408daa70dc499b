//! Finds who has an account by the keyed hash of an address.

use context::{Ctx, SubjectId, UserId};
use db::{Gate, Lookup, Query, Row};
use domain::kinds::former_spelling;
use uuid::Uuid;

use crate::app::{
    App, AppError,
    frame::{self},
};

/// The person to whom an address leads.
pub struct Known {
    pub subject: SubjectId,
}

/// The person to whom a normalised address belongs, also if an earlier version filed it under another spelling.
pub async fn account_of(app: &App, ctx: &Ctx, email: &str) -> Result<Option<Known>, AppError> {
    let ring = app.vault.ring();
    let found = account_at(app, ctx, ring.address_hash(email).0).await?;
    let Some(former) = former_spelling(email) else { return Ok(found) };
    // The former spelling is looked up in any case, so that the time of the answer does not tell if the first lookup
    // found somebody.
    let by_former = account_at(app, ctx, ring.address_hash(&former).0).await?;
    Ok(found.or(by_former))
}

/// The person under whom an address is filed. The row's MAC is checked, so that a row moved to another person is
/// refused.
async fn account_at(app: &App, ctx: &Ctx, address: Lookup) -> Result<Option<Known>, AppError> {
    let queries = || [address_get(address)];
    let [rows] = frame::ticket_query(app, "account_of", ctx, Gate::lookup(address), queries).await?;
    rows.first().map(|row| known(app, address, row)).transpose()
}

fn known(app: &App, address: Lookup, row: &Row) -> Result<Known, AppError> {
    let (subject, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
    if !app.vault.ring().check_row("addresses", &[subject.as_bytes(), &address.0], &mac) {
        return Err(AppError::Corrupt("an address was moved to another person".to_owned()));
    }
    Ok(Known { subject: SubjectId(subject) })
}

pub(crate) fn user_id(app: &App, subject: SubjectId, row: &Row) -> Result<UserId, AppError> {
    let (user, mac): (Uuid, Vec<u8>) = (row.get(0), row.get(1));
    if !app.vault.ring().check_row("users", &[subject.0.as_bytes(), user.as_bytes()], &mac) {
        return Err(AppError::Corrupt("a public id was moved to another person".to_owned()));
    }
    Ok(UserId(user))
}

/// Reads the public id of a person, with the MAC of its row.
pub(crate) fn user_get(subject: SubjectId) -> Query {
    Query::new("-- user_get\nSELECT user_id, mac FROM auth.users WHERE subject_id = $1").bind(subject.0)
}

fn address_get(address: Lookup) -> Query {
    Query::new("-- address_get\nSELECT subject_id, mac FROM auth.addresses WHERE address_hash = $1")
        .bind(address.0.to_vec())
}
