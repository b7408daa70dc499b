//! Opening a person's data. A member of the compliance desk names a reason, and may then read that one person's records
//! for a quarter of an hour. The person sees that their data was opened, by which role, and why. Each read is an event
//! of the person too, and its answer leaves only once that event is durable.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use context::{Client, Ctx, Personal, SubjectId};
use db::FromRow;
use domain::{
    Kind,
    log::access::{ACCESS, DATA_OPENED},
};
use event_log::{Actor, Trail};
use projections::{
    desk::compliance::{OpeningRow, opening_add, opening_get},
    page::Page,
};
use uuid::Uuid;
use vault::{RecordEntry, SubjectKeys, record_register};
use zeroize::Zeroizing;

use crate::app::{
    App, AppError,
    frame::{self, Frame, IdempotentRequest, Once, Standing},
    identity::known,
    log::{
        access::{self, access_event},
        access_log::Read,
    },
    reason,
    records::{
        list::{self, RecordPlace, Records},
        opened::OpenRecord,
    },
};

/// How long an opening lasts.
const LASTS: TimeDelta = TimeDelta::minutes(15);

/// The person whose data is to be opened.
pub enum Whom {
    /// By the log's own id.
    Subject(SubjectId),
    /// By the person's address.
    Address(String),
}

/// Opens a person's data to a member of staff, for a reason; returns the id and the end of the opening.
pub async fn open(
    app: &App,
    staff: &Ctx,
    whom: Whom,
    reason: &str,
    request: Option<&IdempotentRequest<'_>>,
) -> Result<Once<(Uuid, DateTime<Utc>)>, AppError> {
    let session = staff.session.ok_or(AppError::SignedOut)?;
    let reason = reason::parse(reason)?;
    let claim = frame::staff_claim(app, staff, "data_open", request).await?;
    if let Some(answer) = frame::answered(app, Frame::act("data_open", staff), claim.as_ref()).await? {
        return Ok(answer);
    }
    let opening = context::EventId::random().0;
    // Recorded in the log of the member of staff, with the client's address; refuses if the session has ended.
    access::note_session_read(app, staff, "opening", 1, opening.to_string()).await?;
    let subject = match whom {
        Whom::Subject(subject) => subject,
        Whom::Address(email) => {
            known::account_of(app, staff, &email).await?.ok_or(AppError::NotFound("account"))?.subject
        }
    };
    let person = &opened_by(staff, subject);
    let keys = match frame::acting_keys(app, person).await {
        Err(AppError::SignedOut) => return Err(AppError::NotFound("account")),
        keys => keys?,
    };
    opened_read(app, staff, opened_event(person), keys, format!("reason: {}", reason.as_str())).await?;
    let expires_at = staff.now() + LASTS;
    let mac = opening_mac(app, opening, subject, staff.subject, expires_at).to_vec();
    let row = &OpeningRow { subject, staff: staff.subject, expires_at, mac };
    let system = &Ctx::system(app.clock.clone());
    frame::system_work_once(app, "data_open", system, claim, move |work| async move {
        work.queue(opening_add(opening, session.0, row));
        Ok((opening, expires_at))
    })
    .await
}

/// Grants the keys of a person's records to an auditor, for a reason; `lethe-audit replay --subject-key` reads the
/// result. The person sees that it was done, and why. A later erasure does not take back what was granted.
pub async fn keys_grant(app: &App, email: &str, reason: &str) -> Result<Zeroizing<String>, AppError> {
    let reason = reason::parse(reason)?;
    let system = &Ctx::system(app.clock.clone());
    let subject = known::account_of(app, system, email).await?.ok_or(AppError::NotFound("account"))?.subject;
    let ctx = &Ctx::job(app.clock.clone(), subject);
    let frame = Frame::act("keys_grant", ctx).shared();
    let (Standing { keys, .. }, [register]) = frame::query(app, frame, || [record_register(subject)]).await?;
    let mut records = serde_json::Map::new();
    for entry in register.iter().map(RecordEntry::from_row) {
        let key = keys.open_record(&entry)?.granted();
        records.insert(entry.record.to_string(), key.as_str().into());
    }
    let details = format!("keys granted to an auditor; reason: {}", reason.as_str());
    opened_read(app, system, opened_event(ctx), keys, details).await?;
    let grant = serde_json::json!({
        "format": "lethe-grant/1",
        "subject_id": subject,
        "granted_at": system.now(),
        "records": records,
    });
    Ok(Zeroizing::new(format!("{grant:#}\n")))
}

/// A page of the records of one kind of the person whose data this opening lets the member of staff read.
pub async fn records(
    app: &App,
    staff: &Ctx,
    opening: Uuid,
    kind: &'static Kind,
    page: &Page<RecordPlace>,
) -> Result<(Vec<OpenRecord>, Option<RecordPlace>), AppError> {
    let [rows] = frame::system_query(app, "opening_get", || [opening_get(opening)]).await?;
    let row = rows.first().map(OpeningRow::from_row).ok_or(AppError::NotFound("opening"))?;
    let mac = opening_mac(app, opening, row.subject, row.staff, row.expires_at);
    let ours = aws_lc_rs::constant_time::verify_slices_are_equal(&mac, &row.mac).is_ok();
    if !ours || row.staff != staff.subject || row.expires_at <= staff.now() {
        return Err(AppError::NotFound("opening"));
    }
    access::note_session_read(app, staff, "person", 1, format!("{opening} {}", kind.name())).await?;
    let person = &opened_by(staff, row.subject);
    let Records { records, next, keys } = list::of_kind(app, person, "opening_records", kind, None, page).await?;
    let event = access_event(person, row.subject, kind.name(), records.len());
    opened_read(app, staff, event, keys, format!("opening: {opening}")).await?;
    Ok((records, next))
}

/// Records in the person's own log that staff read data: with the reader's role and session, without an address.
async fn opened_read(
    app: &App,
    staff: &Ctx,
    event: event_log::Event,
    keys: Arc<SubjectKeys>,
    details: String,
) -> Result<(), AppError> {
    let trail = Trail { details: Some(Personal::new(details)), ..Trail::default() };
    app.access_log.record(Read { event, actor: Actor::of(staff), trail, keys }).await
}

fn opening_mac(app: &App, opening: Uuid, subject: SubjectId, staff: SubjectId, expires_at: DateTime<Utc>) -> [u8; 32] {
    let time = expires_at.timestamp_micros().to_be_bytes();
    let parts: [&[u8]; 4] = [opening.as_bytes(), subject.0.as_bytes(), staff.0.as_bytes(), &time];
    app.vault.ring().row_mac("openings", &parts)
}

/// The event that the data of the context's subject was opened.
fn opened_event(person: &Ctx) -> event_log::Event {
    let event = access_event(person, person.subject, ACCESS, 1);
    event_log::Event { event_type: DATA_OPENED.to_owned(), payload: "{}".to_owned(), ..event }
}

/// The context in which a person's log names a member of staff: role and session, without an address.
pub(crate) fn by_staff(staff: &Ctx, subject: SubjectId) -> Ctx {
    let mut ctx = staff.for_subject(subject, staff.session).acting_as(staff.role);
    ctx.client = Client::default();
    ctx
}

/// The context in which staff read the rows of a person: without a session, because the person has none here.
fn opened_by(staff: &Ctx, subject: SubjectId) -> Ctx {
    let mut ctx = staff.for_subject(subject, None).acting_as(staff.role);
    ctx.client = Client::default();
    ctx
}
