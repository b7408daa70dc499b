//! Releasing statistics. One pass over the people who consent opens their records, adds them up and forgets them. Then
//! one transaction draws the noise, decides what is published, stores it and notes it in the log. A stored release is
//! returned for ever; nothing is drawn twice.
//!
//! Nothing true leaves memory. Only noisy numbers are stored and, for each account, that it was considered, with what
//! was read of it sealed for its owner. The draw holds the lock of the system's own streams, and happens only if the
//! quarter is not released yet. So two servers never both draw, and a crash leaves either a whole release or none.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use aws_lc_rs::digest;
use chrono::{Days, NaiveDate, NaiveTime};
use context::{Ctx, SubjectId, crash_point};
use db::{FromRow, Gate, Row, Tx};
use domain::{
    Choice,
    kinds::{WorkDay, WorkProfile},
    quarter::Quarter,
    rights::consent::{Notice, Purpose},
    statistics::{
        plan::{Plan, PlanCommand, Planned, Plans, Policy},
        release::{Draw, Release, ReleaseCommand, ReleaseError},
        roll_up::{Cell, Earlier, RollUp, roll_ups, withhold},
        table::{Contribution, DaySums, Table, contribution},
    },
};
use event_log::cqrs_es::Aggregate;
use noise::{Mechanism, Os, Totals};
use projections::{
    log::audit::stream_newest,
    records::record::RecordRow,
    statistics::{
        hospital::{Hospital, hospital_list},
        release::{
            EarlierRow, PaidRelease, PersonRow, Published, PublishedFilter, ReleaseRow, ledger_insert, published_count,
            published_insert, published_list, release_alone, release_days, release_earlier, release_insert,
            release_list, release_people, release_profiles, spending_insert,
        },
    },
};
use serde::Deserialize;
use uuid::Uuid;
use vault::SubjectKeys;

use crate::{
    app::{
        App, AppError, frame,
        identity::account,
        operation::job::Next,
        statistics::{
            considered::{self, Look, PAGE},
            hospital,
            loading::{self, of_rows},
        },
    },
    data::ledger::Entry,
};

/// The kind of job that releases whatever is due, every day at two in the morning, UTC.
pub const RELEASE_JOB: &str = "stats_release";
/// The id of the stream that holds the plans.
const PLANS: &str = "statistics";

/// The result of asking for a release.
#[derive(Clone, Debug)]
pub struct Released {
    /// The release as it is stored.
    pub row: ReleaseRow,
    /// Whether it was drawn now; false if it was stored before.
    pub is_new: bool,
    /// How many cells of its tables are published.
    pub published: usize,
}

/// The body of a record of a known shape, from an event that holds one.
#[derive(Deserialize)]
enum Submitted<B> {
    Submitted { body: B },
    Amended { body: B },
}

impl<B> Submitted<B> {
    fn body(self) -> B {
        let (Self::Submitted { body } | Self::Amended { body }) = self;
        body
    }
}

/// A table that is being added up, cell by cell.
struct Sums {
    table: Table,
    mechanism: Mechanism,
    cells: HashMap<String, Totals>,
}

/// The sealed records of one page of people, with their keys.
struct Page {
    people: Vec<(SubjectKeys, Vec<RecordRow>, Vec<RecordRow>)>,
}

/// The sums so far, which grow page by page.
struct Pass {
    sums: Vec<Sums>,
    hospitals: Arc<HashSet<String>>,
    /// What was opened of each person, in the order of ids.
    looks: Vec<Look>,
    /// How many records did not open.
    damaged: usize,
}

impl Pass {
    /// Opens the records of a page, adds them up and forgets them.
    fn add(mut self, page: Page) -> Self {
        for (keys, days, profiles) in page.people {
            let mut look = Look::of(keys.subject());
            if days.is_empty() {
                // Without a work day no table needs the work profile, so it is not opened.
                self.looks.push(look);
                continue;
            }
            (look.work_days, look.profiles) = (days.len(), profiles.len());
            let versions: Vec<(NaiveDate, WorkProfile)> = profiles
                .iter()
                .filter_map(|row| {
                    let profile: WorkProfile = self.open(&keys, row)?;
                    // Days are those of the person's own calendar.
                    Some((account::today(row.event.recorded_at, &profile.time_zone), profile))
                })
                .collect();
            let mut sums = vec![DaySums::default(); versions.len()];
            for row in &days {
                let Some(day) = self.open::<WorkDay>(&keys, row) else { continue };
                // The newest profile on that day; on days before the first profile, the first.
                let at = versions.iter().rposition(|(since, _)| *since <= day.date).unwrap_or(0);
                let Some(sums) = sums.get_mut(at) else { continue };
                *sums += DaySums::of(&day);
            }
            let hospitals = self.hospitals.clone();
            for Sums { table, mechanism, cells } in &mut self.sums {
                let days = versions.iter().zip(&sums);
                let days = days.map(|((_, work), sums)| (table.cell(work, |id| hospitals.contains(id)), *sums));
                if let Some(Contribution { cell, overtime, planned }) = contribution(days) {
                    cells.entry(cell).or_default().add(mechanism, overtime, planned);
                    look.counted = true;
                }
            }
            self.looks.push(look);
        }
        self
    }

    fn open<B: for<'de> Deserialize<'de>>(&mut self, keys: &SubjectKeys, row: &RecordRow) -> Option<B> {
        let opened = keys.open_record(&row.entry).and_then(|key| row.event.open(&key));
        let body = opened.ok().and_then(|text| serde_json::from_slice::<Submitted<B>>(text.reveal()).ok());
        if body.is_none() {
            self.damaged += 1;
        }
        body.map(Submitted::body)
    }
}

/// Sets what is published from a quarter on that has not begun, or from any quarter on as long as the log knows nobody.
pub async fn plan(app: &App, from: Quarter, policy: Policy) -> Result<(), AppError> {
    let ctx = &loading::ctx(app);
    let today = ctx.now().date_naive();
    let is_first = loading::nobody_was_here(app).await?;
    frame::system_work(app, &app.db.stats, "release_plan", ctx, move |work| async move {
        let [_, rows] = work.tx.flight([release_alone(), stream_newest(SubjectId::NIL, Plans::TYPE, PLANS)]).await?;
        let command = PlanCommand { from, policy, today, is_first };
        work.command::<Plans>(PLANS, &rows, command).await?;
        Ok(())
    })
    .await
}

/// All plans, earliest first.
pub async fn plans(app: &App) -> Result<Vec<Planned>, AppError> {
    let [rows] =
        frame::system_query(app, "release_plans", || [stream_newest(SubjectId::NIL, Plans::TYPE, PLANS)]).await?;
    Ok(of_rows::<Plans>(&rows)?.planned().to_vec())
}

/// Releases all first releases and revisions that are due and not released yet. The job runs again the next night.
pub(crate) async fn due(app: &App) -> Result<Next, AppError> {
    let now = app.clock.now();
    let began = loading::begin_of_log(app).await?;
    let quarters = std::iter::successors(Some(Quarter::last_closed_before(now.date_naive())), |quarter| {
        Some(Quarter::last_closed_before(quarter.first_day()))
    });
    for period in quarters.take_while(|period| Policy::may_be_due(*period, now.date_naive())) {
        // Quarters before this installation are released by hand or not at all, although days of them may be submitted
        // later.
        if began.is_none_or(|began| period.last_day() < began) {
            break;
        }
        let (policy, releases) = state_of(app, period).await?;
        let due = |revision: &u32| {
            policy.percent(*revision).is_some() && policy.due_on(period, *revision) <= now.date_naive()
        };
        if let Some(revision) = Some(releases).filter(due) {
            match make(app, period, revision).await {
                Ok(released) => {
                    tracing::info!(%period, revision, published = released.published, "statistics are released");
                }
                // Waiting does not help, because the release or the budget that was kept for it is lost or spent.
                Err(error @ AppError::Invalid(_)) => tracing::warn!(%period, revision, %error, "not released"),
                Err(error) => return Err(error),
            }
        }
    }
    let night = now.date_naive() + Days::new(1);
    Ok(Next::Later(night.and_time(NaiveTime::from_hms_opt(2, 0, 0).expect("two in the morning")).and_utc()))
}

/// The policy of a quarter, and how many releases it has had.
pub async fn state_of(app: &App, period: Quarter) -> Result<(Policy, u32), AppError> {
    let ctx = &loading::ctx(app);
    let (policy, release) = frame::system_work(app, &app.db.stats, "release_state", ctx, move |work| async move {
        state(&work.tx, period).await
    })
    .await?;
    Ok((policy, release.releases()))
}

/// Releases a quarter, or returns the stored release if there is one.
pub async fn make(app: &App, period: Quarter, revision: u32) -> Result<Released, AppError> {
    let ctx = &loading::ctx(app);
    let today = ctx.now().date_naive();
    let known = frame::system_work(app, &app.db.stats, "release_check", ctx, move |work| async move {
        let (policy, release) = state(&work.tx, period).await?;
        match release.check(period, revision, &policy, today) {
            Ok(_) => Ok(Err(policy)),
            Err(ReleaseError::Released(_)) => Ok(Ok(stored(&work.tx, period, revision).await?)),
            Err(error) => Err(AppError::of_rule(error)),
        }
    })
    .await?;
    let policy = match known {
        Ok(stored) => return Ok(stored),
        Err(policy) => policy,
    };
    let percent = policy.percent(revision).ok_or_else(|| AppError::of_rule(ReleaseError::NotScheduled(period)))?;
    let (hospitals, listing) = hospital::hospitals_of(app, ctx, period).await?;
    let pass = pass(app, ctx, period, policy.plan, percent, &hospitals).await?;
    if pass.damaged > 0 {
        tracing::error!(damaged = pass.damaged, %period, "records did not open, and were not counted");
    }
    crash_point("release: added up");
    considered::consider(app, ctx, period, revision, &pass.looks).await?;
    crash_point("release: on record");
    let (sums, hospitals, listing) = (&pass.sums, &hospitals, &listing);
    let released = frame::system_work(app, &app.db.stats, "release", ctx, move |work| async move {
        let id = &period.to_string();
        let [_, rows] = work.tx.flight([release_alone(), stream_newest(SubjectId::NIL, Release::TYPE, id)]).await?;
        if of_rows::<Release>(&rows)?.releases() > revision {
            // Another server released it while this one was reading.
            return stored(&work.tx, period, revision).await;
        }
        let mut row = ReleaseRow {
            period_start: period.first_day(),
            period_end: period.last_day(),
            revision: i32::try_from(revision).unwrap_or(i32::MAX),
            plan: policy.plan.as_str().to_owned(),
            computed_at: ctx.now(),
            sha256: String::new(),
            hospitals_sha256: Some(listing.sha256.clone()),
        };
        let mut drawn = draw(sums, hospitals);
        for (Sums { table, .. }, cells) in sums.iter().zip(&mut drawn) {
            cells.earlier = earlier(&work.tx, &row, *table).await?;
            withhold(*table, &mut cells.cells, &cells.earlier);
        }
        let tables = publish(&row, sums, &drawn);
        let texts: Vec<(Table, String)> = tables.iter().map(|(table, rows)| (*table, json(rows))).collect();
        row.sha256 = sha256(texts.iter().map(|(_, text)| text.as_str()));
        let published = tables.iter().map(|(_, rows)| rows.len()).sum();
        work.queue(release_insert(&row));
        for (sums, drawn) in sums.iter().zip(&drawn) {
            work.queue(spending_insert(&row, sums.table, &sums.mechanism));
            work.queue(ledger_insert(&row, sums.table, &drawn.cells));
        }
        for (table, text) in texts {
            work.queue(published_insert(table, text));
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let command = Draw {
            period,
            revision,
            policy,
            drawn: count(drawn.iter().map(|drawn| drawn.cells.len()).sum()),
            published: count(published),
            sha256: row.sha256.clone(),
            hospitals: listing.clone(),
            today,
        };
        let command = ReleaseCommand::Publish(command);
        work.command::<Release>(id, &rows, command).await?;
        let entry = Entry::Released { period: period.to_string(), revision, at: ctx.now() };
        app.ledger.append(entry).await?;
        crash_point("release: drawn");
        Ok(Released { row, is_new: true, published })
    })
    .await?;
    crash_point("release: stored");
    Ok(released)
}

/// Notes that a release was made which a restored database does not have; returns whether that is so.
pub(crate) async fn lost(app: &App, period: Quarter, revision: u32) -> Result<bool, AppError> {
    let ctx = &loading::ctx(app);
    frame::system_work(app, &app.db.stats, "release_lost", ctx, move |work| async move {
        let id = &period.to_string();
        let [_, rows] = work.tx.flight([release_alone(), stream_newest(SubjectId::NIL, Release::TYPE, id)]).await?;
        let command = ReleaseCommand::Lose { period, revision };
        Ok(work.command::<Release>(id, &rows, command).await?.is_some())
    })
    .await
}

/// Makes one pass over everybody who consents, page by page: while one page is opened, the next is read.
async fn pass(
    app: &App,
    ctx: &Ctx,
    period: Quarter,
    plan: Plan,
    percent: u32,
    hospitals: &[String],
) -> Result<Pass, AppError> {
    let sums = plan.tables().iter().map(|table| Sums {
        table: *table,
        mechanism: plan.mechanism(*table, percent),
        cells: HashMap::new(),
    });
    let listed = Arc::new(hospitals.iter().cloned().collect());
    let mut pass = Pass { sums: sums.collect(), hospitals: listed, looks: Vec::new(), damaged: 0 };
    let (mut after, mut next) = (SubjectId::NIL, draw_page(app, ctx, period, SubjectId::NIL).await?);
    while let Some(page) = next.take() {
        after = page.people.last().map_or(after, |(keys, ..)| keys.subject());
        let adding = tokio::task::spawn_blocking(move || pass.add(page));
        let (read, added) = futures_util::future::join(draw_page(app, ctx, period, after), adding).await;
        pass = added.map_err(|_| AppError::Corrupt("a page of records could not be added up".to_owned()))?;
        next = read?;
    }
    Ok(pass)
}

/// The next page of people and their sealed records of a quarter, as of one moment. `None` if there are no more.
async fn draw_page(app: &App, ctx: &Ctx, period: Quarter, after: SubjectId) -> Result<Option<Page>, AppError> {
    let version = Notice::current(Purpose::Statistics).version;
    app.db
        .stats
        .run_tx("release_page", ctx, Gate::snapshot(ctx), move |tx| async move {
            let [people] = tx.flight([release_people(after, version, PAGE)]).await?;
            if people.is_empty() {
                return Ok(None);
            }
            let open = |row: &Row| {
                let PersonRow { subject, keys } = PersonRow::from_row(row);
                let keys = app.vault.open_once(subject, &keys)?;
                let bucket = keys.index().bucket("work_day", &period.to_string()).to_vec();
                Ok::<_, AppError>((subject.0, keys, bucket))
            };
            let people: Vec<_> = people.iter().map(open).collect::<Result<_, _>>()?;
            let (ids, buckets): (Vec<Uuid>, Vec<Vec<u8>>) =
                people.iter().map(|(id, _, bucket)| (*id, bucket.clone())).unzip();
            let [days, profiles] = tx.finish([release_days(ids.clone(), buckets), release_profiles(ids)]).await?;
            let (mut days, mut profiles) = (by_person(&days), by_person(&profiles));
            let of = |rows: &mut HashMap<Uuid, Vec<RecordRow>>, id| rows.remove(&id).unwrap_or_default();
            let people =
                people.into_iter().map(|(id, keys, _)| (keys, of(&mut days, id), of(&mut profiles, id))).collect();
            Ok(Some(Page { people }))
        })
        .await
}

/// The published rows of these releases, each given by the first day of its quarter and its revision.
pub async fn published(
    app: &App,
    ctx: &Ctx,
    table: Table,
    asked: &PublishedFilter,
    releases: &[(NaiveDate, i32)],
) -> Result<Vec<Published>, AppError> {
    frame::system_work(app, &app.db.api, "published_list", ctx, move |work| async move {
        let [rows] = work.tx.finish([published_list(table, asked, releases)]).await?;
        Ok(Published::from_rows(&rows))
    })
    .await
}

/// All releases, newest quarter first, each with what it cost; and the public list of hospitals.
pub async fn releases(app: &App, ctx: &Ctx) -> Result<(Vec<PaidRelease>, Vec<Hospital>), AppError> {
    frame::system_work(app, &app.db.api, "release_list", ctx, move |work| async move {
        let [releases, hospitals] = work.tx.finish([release_list(), hospital_list()]).await?;
        Ok((PaidRelease::from_rows(&releases), Hospital::from_rows(&hospitals)))
    })
    .await
}

async fn state(tx: &Tx, period: Quarter) -> Result<(Policy, Release), AppError> {
    let plans = stream_newest(SubjectId::NIL, Plans::TYPE, PLANS);
    let releases = stream_newest(SubjectId::NIL, Release::TYPE, &period.to_string());
    let [plans, releases] = tx.flight([plans, releases]).await?;
    Ok((of_rows::<Plans>(&plans)?.policy(period), loading::of_rows(&releases)?))
}

/// The stored release.
async fn stored(tx: &Tx, period: Quarter, revision: u32) -> Result<Released, AppError> {
    let revision = i32::try_from(revision).unwrap_or(i32::MAX);
    let [releases, published] = tx.flight([release_list(), published_count(period.first_day(), revision)]).await?;
    let mut releases = releases.iter().map(ReleaseRow::from_row);
    let row = releases.find(|row| row.period_start == period.first_day() && row.revision == revision);
    let row = row.ok_or_else(|| AppError::Corrupt("a release is in the log and not in its table".to_owned()))?;
    let published = usize::try_from(published[0].get::<_, i64>("rows")).unwrap_or_default();
    Ok(Released { row, is_new: false, published })
}

fn by_person(rows: &[Row]) -> HashMap<Uuid, Vec<RecordRow>> {
    let mut people: HashMap<Uuid, Vec<RecordRow>> = HashMap::new();
    for row in rows {
        let row = RecordRow::from_row(row);
        people.entry(row.event.subject_id.0).or_default().push(row);
    }
    people
}

/// The drawn cells of a table, and what earlier releases published of it.
struct Drawn {
    cells: Vec<Cell>,
    earlier: Earlier,
}

/// Draws the noise for every cell that a table can have, including empty cells.
fn draw(sums: &[Sums], hospitals: &[String]) -> Vec<Drawn> {
    let mut source = Os::new();
    let mut of_table = |Sums { table, mechanism, cells }: &Sums| {
        let draw = |name: String| {
            let totals = cells.get(&name).copied().unwrap_or_default();
            let noisy = mechanism.draw(&totals, &mut source);
            Cell { name, people: totals.users, noisy, published: mechanism.decides(&totals, &noisy) }
        };
        let cells = table.cells(hospitals).into_iter().map(draw).collect();
        Drawn { cells, earlier: Earlier::default() }
    };
    sums.iter().map(&mut of_table).collect()
}

/// The cells and roll-ups of a table that earlier releases of the same quarter published.
async fn earlier(tx: &Tx, release: &ReleaseRow, table: Table) -> Result<Earlier, AppError> {
    if release.revision == 0 {
        return Ok(Earlier::default());
    }
    let [rows] = tx.flight([release_earlier(release.period_start, release.revision, table)]).await?;
    let mut earlier = Earlier::default();
    for row in &rows {
        let EarlierRow { is_coarser, cell } = EarlierRow::from_row(row);
        let names = if is_coarser { &mut earlier.roll_ups } else { &mut earlier.cells };
        names.insert(cell);
    }
    Ok(earlier)
}

/// The rows that are published: drawn cells that passed the thresholds, and roll-ups of them, which need no further
/// draw.
fn publish(release: &ReleaseRow, sums: &[Sums], drawn: &[Drawn]) -> Vec<(Table, Vec<Published>)> {
    let mut tables = Vec::new();
    for (Sums { table, mechanism, .. }, Drawn { cells, earlier }) in sums.iter().zip(drawn) {
        let row = |cell: &Cell| {
            let figures = mechanism.figures(&cell.noisy, 1);
            Published::new(release, *table, mechanism, &cell.name, cell.noisy.users, &figures)
        };
        tables.push((*table, cells.iter().filter(|cell| cell.published).map(row).collect()));
        if *table == Table::StateSpecialty {
            let row = |sum: RollUp| {
                let figures = mechanism.figures(&sum.noisy, sum.cells);
                Published::new(release, Table::StateRole, mechanism, &sum.name, sum.noisy.users, &figures)
            };
            let coarse = roll_ups(*table, mechanism, cells, earlier).into_iter().map(row).collect();
            tables.push((Table::StateRole, coarse));
        }
    }
    tables
}

fn json(rows: &[Published]) -> String {
    serde_json::to_string(rows).expect("published rows can be written as JSON")
}

fn sha256<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    texts.for_each(|text| context.update(text.as_bytes()));
    hex::encode(context.finish())
}
