//! Letters to a person. A letter is queued in the same transaction as the change it tells of, so that both happen or
//! neither.

use context::{Ctx, SubjectId};
use db::{Query, Row, Tx};
use domain::kinds::{CONTACT, Contact};
use projections::records::list::record_list;
use vault::SubjectKeys;

use crate::{
    app::{App, AppError, records::opened::single},
    mail::{Letter, letter_insert},
};

/// Reads the person's contact record.
pub(crate) fn contact(subject: SubjectId) -> Query {
    record_list(subject, CONTACT.name())
}

/// The person's email address, from the rows of their contact record.
pub(crate) fn address_of(keys: &SubjectKeys, contact: &[Row]) -> Result<String, AppError> {
    Ok(single::<Contact>(keys, contact)?.ok_or(AppError::NotFound("contact"))?.0.email)
}

/// Queues a letter in the transaction whose change it tells of.
pub(crate) fn post(app: &App, ctx: &Ctx, tx: &Tx, letter: &Letter) -> Result<(), AppError> {
    let (key, sealer) = app.vault.ring().transit(ctx.now())?;
    tx.queue(letter_insert(ctx, letter, key, &sealer));
    Ok(())
}
