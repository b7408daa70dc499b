//! The compliance desk: open requests and erasures, consents, holds, and the age of drills, keys and checkpoints. The
//! system reads them for staff. They show random ids, never personal values.

use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::FromRow;
use domain::desk::{
    drill::{Drill, DrillEvent, DrillResult},
    extension::due_at,
};
use event_log::{PlacedEvent, cqrs_es::Aggregate};
use projections::{
    desk::{
        alert::alerts_open,
        compliance::{
            AccountCount, AffectedRow, ConsentCount, ErasureRow, HoldRow, OpenRequest, StaffRow, VersionRow,
            accounts_count, affected_list, consents_count, erasures_list, holds_list, request_list, server_version,
            staff_list,
        },
        trail::{TrailFilter, TrailPlace, trail_list},
    },
    log::audit::stream_newest,
    page::{Page, TimedPlace},
};
use uuid::Uuid;

use crate::{
    app::{
        App, AppError,
        frame::{self, newest_of},
        log::published,
    },
    supervisor::version::newest_minor,
};

/// What the compliance desk sees at a glance.
pub struct Overview {
    pub accounts: AccountCount,
    /// How many requests are not answered yet, and how many of them are overdue.
    pub requests: (usize, usize),
    /// Erasures that wait, and those of the last thirty days that are done.
    pub erasures: Vec<ErasureRow>,
    /// The time after which no backup brings back what is erased now.
    pub unrecoverable_by: DateTime<Utc>,
    pub consents: Vec<ConsentCount>,
    pub holds: Vec<HoldRow>,
    /// Privileged accounts.
    pub staff: Vec<StaffRow>,
    /// The result of the last drill; `None` if there was none.
    pub drill: Option<DrillResult>,
    /// Versions of the key-encryption key: number, whether it is the current one, and when it was made.
    pub keys: Vec<(i32, bool, Option<DateTime<Utc>>)>,
    /// When the next rotation is due; `None` if the age of the current version is unknown.
    pub rotation_due_at: Option<DateTime<Utc>>,
    /// The published checkpoint: its number of leaves, and when it was signed.
    pub checkpoint: Option<(u64, DateTime<Utc>)>,
    /// For how many seconds something has been waiting for a published checkpoint; 0 if nothing waits.
    pub uncovered_s: i64,
    /// The witnesses by name, and when each cosigned the published checkpoint.
    pub witnesses: Vec<(String, Option<DateTime<Utc>>)>,
    /// PostgreSQL's version, and whether it is new enough to close the known ways around row-level security.
    pub postgres: (String, bool),
    /// How many alerts nobody has acknowledged.
    pub open_alerts: i64,
}

/// Reads what the compliance desk sees at a glance.
pub async fn overview(app: &App) -> Result<Overview, AppError> {
    let (now, id) = (app.clock.now(), SubjectId::NIL.to_string());
    let queries = || {
        [
            accounts_count(now),
            request_list(None, now),
            erasures_list(now),
            consents_count(),
            holds_list(now),
            staff_list(),
            stream_newest(SubjectId::NIL, Drill::TYPE, &id),
            server_version(),
            alerts_open(),
        ]
    };
    let [accounts, requests, erasures, consents, holds, staff, drill, version, alerts] =
        frame::system_query(app, "compliance_overview", queries).await?;
    let ring = app.vault.ring();
    let published = published::checkpoint(app, None).await?;
    let checkpoint = published.as_ref().map(|stored| (stored.size, stored.signed_at));
    let cosigned = published.and_then(|stored| transparency::Checkpoint::unverified(&stored.note).ok());
    let witnesses = app.log.policy.iter().flat_map(|policy| &policy.witnesses).map(|line| {
        let at = cosigned.as_ref().and_then(|checkpoint| line.witness.cosigned_at(checkpoint));
        let at = at.and_then(|at| DateTime::from_timestamp(i64::try_from(at).ok()?, 0));
        (line.name.clone(), at)
    });
    let version = VersionRow::from_row(&version[0]);
    Ok(Overview {
        accounts: AccountCount::from_row(&accounts[0]),
        requests: (requests.len(), overdue(&OpenRequest::from_rows(&requests), now)),
        erasures: ErasureRow::from_rows(&erasures),
        unrecoverable_by: ring.unrecoverable_by(now),
        consents: ConsentCount::from_rows(&consents),
        holds: HoldRow::from_rows(&holds),
        staff: StaffRow::from_rows(&staff),
        drill: newest_of(&drill).and_then(|event| match serde_json::from_str(&event.payload) {
            Ok(DrillEvent::Completed(outcome)) => Some(outcome),
            Err(_) => None,
        }),
        keys: ring.keks().into_iter().map(|kek| (kek.version, kek.is_current, kek.created_at)).collect(),
        rotation_due_at: ring.rotation_due(),
        checkpoint,
        uncovered_s: published::uncovered(app).await?.map_or(0, |waiting| waiting.num_seconds().max(0)),
        witnesses: witnesses.collect(),
        postgres: (version.text, version.number % 10_000 >= newest_minor(version.number / 10_000)),
        open_alerts: alerts[0].get("open"),
    })
}

/// A page of the requests that are not answered yet, oldest first; the place of its last one, if another page follows;
/// and how many of all requests are overdue.
pub async fn requests(
    app: &App,
    page: &Page<TimedPlace>,
) -> Result<(Vec<OpenRequest>, Option<TimedPlace>, usize), AppError> {
    let now = app.clock.now();
    let [rows] = frame::system_query(app, "request_list", || [request_list(None, now)]).await?;
    let requests = OpenRequest::from_rows(&rows);
    let overdue = overdue(&requests, now);
    let (requests, next) = page.choose(requests, OpenRequest::place);
    Ok((requests, next, overdue))
}

/// How many of these requests should have been answered by now.
fn overdue(requests: &[OpenRequest], now: DateTime<Utc>) -> usize {
    requests.iter().filter(|request| due_at(request.received_at, request.extended) < now).count()
}

/// A page of the trail.
pub async fn trail(
    app: &App,
    filter: &TrailFilter,
    page: &Page<TrailPlace>,
) -> Result<(Vec<PlacedEvent>, Option<TrailPlace>), AppError> {
    let [rows] = frame::system_query(app, "trail_list", || [trail_list(filter.clone(), page)]).await?;
    Ok(page.cut(PlacedEvent::from_rows(&rows), |row| (row.position.txid, row.position.position)))
}

/// A page of the people concerned by a breach; the id of its last one, if another page follows; and how many people
/// there are in all.
pub async fn affected(
    app: &App,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    kinds: &[String],
    page: &Page<Uuid>,
) -> Result<(Vec<AffectedRow>, Option<Uuid>, i64), AppError> {
    let reads = || [affected_list(from, to, kinds.to_vec(), page)];
    let [rows] = frame::system_query(app, "breach_affected", reads).await?;
    let people = rows.first().map_or(0, |row| row.get("people"));
    let (affected, next) = page.cut(AffectedRow::from_rows(&rows), |row| row.subject);
    Ok((affected, next, people))
}

/// Records the outcome of a drill.
pub async fn drill_record(app: &App, outcome: DrillResult) -> Result<(), AppError> {
    let (ctx, id) = (&Ctx::system(app.clock.clone()), SubjectId::NIL.to_string());
    frame::system_command::<Drill>(app, "drill_record", ctx, &id, outcome).await.map(drop)
}
