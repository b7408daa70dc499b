//! Accounts: making one, and recording what happens to it. `sign_in.rs` signs people in and out.

use chrono::{DateTime, NaiveDate, Utc};
use context::{Ctx, Role, SessionId, SubjectId, UserId};
use db::{Lookup, Row};
use domain::{
    identity::account::{Account, AccountCommand, AccountError},
    kinds::{Contact, Shape, WorkProfile, kind},
    records::record::{Record, RecordCommand},
    rights::consent::{Consent, Purpose},
};
use event_log::{Sealing, Store, Stream, execute};
use projections::rights::consent::stream_id;
use vault::{RecordKey, SubjectKeys};

use crate::{
    app::{
        App, AppError,
        frame::{self, Frame, Work, newest_of},
        identity::session::{self, signs_in_on, use_up},
        records::opened::time_zone,
        rights::{decision, receipt},
    },
    auth::{
        Grant,
        accounts::{address_insert, user_insert},
        codes::Proof,
    },
};

/// What a person gives when registering.
pub struct Registration {
    /// The address, normalised.
    pub email: String,
    /// The work profile; `None` for staff.
    pub work: Option<WorkProfile>,
    /// The purposes to which the person consents with the registration.
    pub consents: Vec<Purpose>,
}

impl Registration {
    /// Refuses a work profile that breaks the rules of its kind.
    pub fn check(&self, ctx: &Ctx) -> Result<(), AppError> {
        let faults = self.work.as_ref().map(|work| work.faults(ctx.now().date_naive())).unwrap_or_default();
        if faults.is_empty() { Ok(()) } else { Err(AppError::Invalid(faults)) }
    }
}

/// Makes an account and signs its holder in. Keys, ids, contact, work profile, consents and session are stored in one
/// transaction.
pub async fn register(app: &App, ctx: &Ctx, person: &Registration, proof: &Proof) -> Result<Grant, AppError> {
    let grant = register_as(app, ctx, person, proof, Some(SessionId::random())).await?;
    grant.ok_or_else(|| AppError::Corrupt("a sign-in gave no token".to_owned()))
}

/// Makes an account for somebody else without signing them in. Only the command line does this.
pub async fn create(app: &App, ctx: &Ctx, person: &Registration) -> Result<(), AppError> {
    register_as(app, ctx, person, &Proof::Operator, None).await.map(drop)
}

async fn register_as(
    app: &App,
    ctx: &Ctx,
    person: &Registration,
    proof: &Proof,
    session: Option<SessionId>,
) -> Result<Option<Grant>, AppError> {
    person.check(ctx)?;
    let (address, pepper) = app.vault.ring().address_hash(&person.email);
    // The unique key of addresses tells whether the address is taken, so no query asks before.
    match register_tx(app, ctx, person, proof, session, (address, pepper)).await {
        Err(AppError::Db(db::DbError::Conflict(what))) if what.starts_with("addresses_") => {
            Err(AppError::of_rule(AccountError::Exists))
        }
        outcome => outcome,
    }
}

async fn register_tx(
    app: &App,
    ctx: &Ctx,
    person: &Registration,
    proof: &Proof,
    session: Option<SessionId>,
    (address, pepper): (Lookup, i32),
) -> Result<Option<Grant>, AppError> {
    let (subject, user) = (SubjectId::random(), UserId::random());
    let role = if session.is_some() { Role::Subject } else { Role::System };
    let ctx = &ctx.for_subject(subject, None).acting_as(role);
    let frame = Frame::act("auth_register", ctx).shared().looking_up(address);
    frame::first(app, frame, move |work, keys| async move {
        use_up(&work.tx, ctx, address, proof).await?;
        let ring = app.vault.ring();
        work.queue(user_insert(ring, subject, user));
        work.queue(address_insert(ring, subject, address, pepper));
        let commands = [
            Some(AccountCommand::Register),
            session.map(|session| AccountCommand::SignIn(session, signs_in_on(proof))),
        ];
        account_commands(&work, &[], commands.into_iter().flatten()).await?;
        let contact = Contact { email: person.email.clone() };
        first_record(&work, &keys, &contact).await?;
        if let Some(profile) = &person.work {
            first_record(&work, &keys, profile).await?;
        }
        for purpose in &person.consents {
            let (id, grant) = (stream_id(subject, *purpose), decision::command(*purpose, true, None));
            let granted = work.command::<Consent>(&id, &[], grant).await?;
            // An operator who makes the account acts, not the person, so the person gets no receipt.
            if let (Proof::Code(_), Some(event)) = (proof, granted) {
                receipt::post(&work, &person.email, &event, user)?;
            }
        }
        let zone = time_zone(person.work.as_ref());
        session.map(|session| session::grant(&work, (session, proof), user, Role::Subject, zone)).transpose()
    })
    .await
}

/// Runs commands on the account's stream, one after the other.
pub(crate) async fn account_commands(
    work: &Work<'_>,
    newest: &[Row],
    commands: impl IntoIterator<Item = AccountCommand>,
) -> Result<(), AppError> {
    let (id, mut newest) = (work.ctx.subject.to_string(), newest_of(newest));
    for command in commands {
        newest = work.command_after::<Account>(&id, newest.as_ref(), command).await?.or(newest);
    }
    Ok(())
}

/// Submits the first record of a kind of which a person has only one.
async fn first_record<S: Shape>(work: &Work<'_>, keys: &SubjectKeys, shape: &S) -> Result<(), AppError> {
    let (kind, record, key) =
        (kind(S::NAME).expect("every shape is in the list"), context::RecordId::random(), RecordKey::generate());
    let ctx = work.ctx;
    let today: NaiveDate = ctx.now().date_naive();
    let stream = Stream { subject: ctx.subject, kind: kind.name(), sealing: Sealing::Record(&key), newest: None };
    let store = Store::new(&work.unit, stream, &[], ctx.now());
    let command = RecordCommand::Submit { kind, body: shape.to_body(), today };
    execute::<Record>(store, &record.to_string(), command, ()).await?;
    let key_hash = keys.index().key_hash(kind.name(), &shape.natural_key());
    let entry = keys.enter(record, kind.name(), key_hash.to_vec(), None, &key);
    work.unit.enter(ctx.subject, entry);
    Ok(())
}

/// The current day in a time zone; the day in UTC if the zone is unknown.
pub fn today(now: DateTime<Utc>, time_zone: &str) -> NaiveDate {
    time_zone.parse::<chrono_tz::Tz>().map_or(now.date_naive(), |zone| now.with_timezone(&zone).date_naive())
}
