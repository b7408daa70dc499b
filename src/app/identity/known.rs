//! Finds who has an account by the keyed hash of an address.

use context::{Ctx, SubjectId, UserId};
use db::{FromRow, Gate, Lookup, Row};
use domain::kinds::former_spelling;

use crate::{
    app::{App, AppError, frame},
    auth::accounts::{AddressRow, UserRow, address_get},
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
    let subject = AddressRow::from_row(row).verified(app.vault.ring(), address);
    let subject = subject.ok_or_else(|| AppError::Corrupt("an address was moved to another person".to_owned()))?;
    Ok(Known { subject })
}

/// The public id of a person, of the rows of [`user_get`](crate::auth::accounts::user_get). Refuses if the person is erased.
pub(crate) fn user_id(app: &App, subject: SubjectId, rows: &[Row]) -> Result<UserId, AppError> {
    let user = UserRow::from_row(rows.first().ok_or(AppError::SignedOut)?).verified(app.vault.ring(), subject);
    user.ok_or_else(|| AppError::Corrupt("a public id was moved to another person".to_owned()))
}
