//! The drill: proof on the living system that erased data does not come back from an older backup.
//!
//! The drill registers an invented person, who submits days with a text found nowhere else and has them exported. A
//! backup is taken. Then the person is erased by the usual transaction, though without a letter; the key ring is
//! rotated, a second backup is taken, and the old version is destroyed. Now the older backup is loaded into a scratch
//! cluster, and every living key is tried on the person's keys and events. The older log is restored with the newer
//! keys. Last, the raw bytes of everything in reach are searched for the text. Nobody else's data is touched, but the
//! rotation is a real one, and the second backup is the newest there is.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::NaiveDate;
use context::{Client, Ctx, Personal, RequestId, SubjectId};
use db::FromRow;
use domain::{
    RoleLevel, Source, Specialty,
    desk::drill::DrillResult,
    filter::Filter,
    kinds::{Shape, WORK_DAY, WorkDay, WorkProfile},
    rights::{
        consent::Purpose,
        deletion::Scope,
        export::{ExportFormat, ExportState},
    },
};
use event_log::Event;
use futures_util::TryStreamExt;
use memchr::memmem;
use serde::Serialize;
use tokio_postgres::Client as Superuser;
use vault::{RecordEntry, SubjectKeys, Vault, WrappedSubject};

use crate::{
    app::{
        App, AppError,
        desk::compliance,
        identity::{
            account::{self, Registration},
            known,
        },
        operation::keys,
        records::record::{self, Batch, Submission},
        rights::{download, erasure, export, export_run},
    },
    backup::{
        archive::{Content, Reader},
        create,
        load::{begin, load},
        restore,
        scan::Needle,
    },
    data::home::{Database, Folder},
    server::{ServerError, Settings, Store, exports_folder},
};

const DAYS: u32 = 3;
/// How often, and with which pause, the drill checks whether its export is written.
const EXPORT_LOOKS: usize = 300;
const EXPORT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Holds,
    Fails,
    /// The fact could not be examined from this machine.
    NotExamined,
}

#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The statement that must be true.
    pub what: &'static str,
    /// The observed facts, for people to read.
    pub fact: String,
    pub verdict: Verdict,
}

/// The system that the drill is held on.
pub struct Ground<'g> {
    pub app: &'g Arc<App>,
    pub vault: &'g Arc<Vault>,
    pub folder: &'g Folder,
    pub store: &'g Store,
    /// The password of the superuser who takes backups; `None` if none is needed.
    pub password: Option<&'g str>,
}

/// The two archives of one backup.
struct Pair {
    log: PathBuf,
    keys: PathBuf,
}

impl Ground<'_> {
    async fn back_up(&self, to: &Path, name: &str) -> Result<Pair, ServerError> {
        let now = self.app.clock.now();
        // Each drill has its own file names, because archives are never written over.
        let name = format!("{name}-{}", now.format("%Y%m%dT%H%M%S%3fZ"));
        let pair = Pair { log: to.join(format!("{name}.log.zip")), keys: to.join(format!("{name}.keys.zip")) };
        create(self.store, self.password, self.vault, &self.app.ledger, &pair.log, &pair.keys, now).await?;
        Ok(pair)
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, fact: String, holds: bool) {
        let verdict = if holds { Verdict::Holds } else { Verdict::Fails };
        self.0.push(Finding { what, fact, verdict });
    }
}

/// Holds the drill, and returns its findings. Archives go to the folder `to`.
pub async fn drill(ground: &Ground<'_>, to: &Path) -> Result<Vec<Finding>, ServerError> {
    let mut findings = Findings::default();
    std::fs::create_dir_all(to)?;
    let (app, canary) = (ground.app, canary());
    let subject = enter(app, &canary).await?;
    let superuser = db::admin(&ground.store.database.address, &ground.store.database.admin, ground.password).await?;
    let events = events_of(&superuser, subject).await?;
    let living = try_living_keys(&superuser, ground.vault, &events).await?;
    let fact = format!("{} of {} sealed values opened", living.opened, events.len());
    findings.add("before: the person's own keys open the person's events", fact, living.opened >= events.len());

    let exported = take_along(ground, subject, &canary, &mut findings).await?;

    let before = ground.back_up(to, "before").await?;
    let old = app.vault.ring().current().version;
    erasure::at_once(app, subject).await?;
    if exported {
        let left =
            app.exports.list().await.map_err(AppError::from)?.iter().filter(|file| file.subject == subject).count();
        findings.add("no export of the person is left", format!("{left} files"), left == 0);
    }
    let (new, _) = keys::rotate(app, &|_| ControlFlow::Continue(())).await?;
    let after = ground.back_up(to, "after").await?;
    keys::destroy(app, old, false).await?;
    findings.add("the old version is destroyed", format!("version {old} is gone, {new} is in use"), new > old);
    let tried = try_living_keys(&superuser, ground.vault, &events).await?;
    let fact = format!("{} keys of {} people tried on {} events", tried.keys, tried.people, events.len());
    findings.add("no living key opens the person's events", fact, tried.opened == 0 && tried.people > 0);

    let scratch = tempfile::Builder::new().prefix("lethe-drill-").tempdir_in(to)?;
    let folder = Folder::open(scratch.path())?;
    let cluster = Store::start(&folder, &[]).await?;
    let elsewhere = cluster.cluster.as_ref().map(|cluster| cluster.cluster_dir().to_owned());
    let outcome = in_scratch(ground, &folder, &cluster, (&before, &after), subject, &mut findings).await;
    cluster.stop().await?;
    outcome?;
    superuser.batch_execute("CHECKPOINT").await.map_err(db::DbError::from)?;
    search(ground, to, &canary, &mut findings)?;
    // If the account that runs PostgreSQL can't enter the scratch folder, the cluster lies elsewhere.
    if let Some(elsewhere) = elsewhere.filter(|folder| !folder.starts_with(scratch.path())) {
        std::fs::remove_dir_all(elsewhere.parent().unwrap_or(&elsewhere))?;
    }
    let count = |verdict| findings.0.iter().filter(|it| it.verdict == verdict).count().try_into().unwrap_or(u32::MAX);
    let (holds, fails) = (count(Verdict::Holds), count(Verdict::Fails));
    compliance::drill_record(
        app,
        DrillResult { at: app.clock.now(), holds, fails, not_examined: count(Verdict::NotExamined) },
    )
    .await?;
    Ok(findings.0)
}

/// Has the person's export written by us, or by a server that is faster, then reads it and searches its stored bytes.
/// Does no other jobs, because this process may keep exports elsewhere than the servers do. Returns whether the file is
/// in a store that this process can see.
async fn take_along(
    ground: &Ground<'_>,
    subject: SubjectId,
    canary: &str,
    findings: &mut Findings,
) -> Result<bool, ServerError> {
    let app = ground.app;
    let ctx = &Ctx::system(app.clock.clone()).for_subject(subject, None);
    let export =
        export::request(app, ctx, Scope::Full, ExportFormat::Json, Filter::default(), None).await?.value.row.export;
    export_run::run(app, subject, export, 1).await?;
    for _ in 0..EXPORT_LOOKS {
        let state = export::get(app, ctx, export).await?.0.row.state;
        if !matches!(state, ExportState::Pending | ExportState::Processing) {
            break;
        }
        tokio::time::sleep(EXPORT_PAUSE).await;
    }
    let what = "before: the person's export opens, and is sealed where it is stored";
    if !app.exports.list().await.map_err(AppError::from)?.iter().any(|file| file.export == export) {
        let fact =
            "a server keeps exports in a store of its own: look there for files of people who are erased".to_owned();
        findings.0.push(Finding { what, fact, verdict: Verdict::NotExamined });
        return Ok(false);
    }
    let size = download::file(app, ctx, export).await?.size;
    let parts: Vec<Vec<u8>> =
        download::open(app, ctx, export).await?.range(0..size).await.map_err(AppError::from)?.try_collect().await?;
    let opens = memmem::find(&parts.concat(), canary.as_bytes()).is_some();
    let (found, searched) = Needle::new(canary).below(&exports_folder(ground.folder), &[])?;
    let fact = format!("{size} bytes; {searched} stored files searched");
    findings.add(what, fact, opens && found.is_empty() && searched > 0);
    Ok(true)
}

/// Examines a scratch cluster: the older pair of archives is refused and its keys open nothing; the older log with the
/// newer keys brings everybody else back.
async fn in_scratch(
    ground: &Ground<'_>,
    folder: &Folder,
    cluster: &Store,
    (before, after): (&Pair, &Pair),
    subject: SubjectId,
    findings: &mut Findings,
) -> Result<(), ServerError> {
    // The ledger is outside the database, so that it survives the loss of the database.
    std::fs::copy(ground.folder.join("erasures.ledger"), folder.join("erasures.ledger"))?;
    let settings = Settings { rehearsal: true, ..Settings::new(folder.clone(), ground.app.clock.clone()) };
    let (vault, ring) = (ground.vault, ground.vault.ring());

    let older = scratch_database(cluster, "older");
    let refused = match restore(&settings, &older, None, vault.clone(), &before.log, &before.keys, &|_| ()).await {
        Err(ServerError::Restore(fact)) => Some(fact),
        Err(other) => return Err(other),
        Ok(_) => None,
    };
    let fact = refused.clone().unwrap_or_else(|| "it was restored".to_owned());
    findings.add("a restore of the older pair is refused", fact, refused.is_some());
    older.migrate(None, vault, &folder.passwords()?).await?;
    let client = db::admin(&older.database.address, &older.database.admin, None).await?;
    let log = Reader::open(&before.log, Content::Log, ring)?;
    let keys = Reader::open(&before.keys, Content::Keys, ring)?;
    let mut mark = begin(&client, &log, &keys).await?;
    load(&client, &mut mark, log, keys, &|_| ()).await?;
    let wrapped = wrapped(&client, subject).await?;
    let opens = wrapped.as_ref().is_some_and(|wrapped| opens(vault, subject, wrapped));
    let fact = format!(
        "the person's keys are {}, {} versions tried",
        if wrapped.is_some() { "there" } else { "missing" },
        ring.keks().len()
    );
    findings.add(
        "loaded all the same, no version of the ring opens the person's keys",
        fact,
        wrapped.is_some() && !opens,
    );

    let newer = scratch_database(cluster, "newer");
    let archived = Reader::open(&after.keys, Content::Keys, ring)?.manifest.tables["vault.subjects"].rows;
    let restored = restore(&settings, &newer, None, vault.clone(), &before.log, &after.keys, &|_| ()).await?;
    let client = db::admin(&newer.database.address, &newer.database.admin, None).await?;
    let fact = format!(
        "{} of {archived} people; {} registered after the log was archived; {} events",
        restored.people, restored.lost_people, restored.events
    );
    let whole = restored.people + restored.lost_people == archived && restored.people > 0;
    findings.add("the older log with the newer keys brings everybody else back", fact, whole);
    let back = self::wrapped(&client, subject).await?.is_some();
    findings.add("the person is not among them", "looked for by id".to_owned(), !back);
    Ok(())
}

/// Searches the raw bytes of the data folder, the archives and the scratch cluster for the text.
fn search(ground: &Ground<'_>, to: &Path, canary: &str, findings: &mut Findings) -> Result<(), ServerError> {
    let wanted = Needle::new(canary);
    for (what, place, but) in [
        ("the text stands nowhere in the data folder, waiting mail aside", ground.folder.path(), &["mail", "run"][..]),
        ("the text stands nowhere in the archives and the scratch cluster", to, &["run"][..]),
    ] {
        let (found, searched) = wanted.below(place, but)?;
        let fact = if found.is_empty() { format!("{searched} files searched") } else { format!("{found:?}") };
        findings.add(what, fact, found.is_empty() && searched > 0);
    }
    let verdict = Verdict::NotExamined;
    if ground.store.cluster.is_none() {
        let what = "the text stands nowhere in the database's own files";
        let fact = "the cluster is not in the data folder: search its folder on its own machine".to_owned();
        findings.0.push(Finding { what, fact, verdict });
    }
    let what = "the text stands nowhere in what servers wrote while the drill was held";
    let fact = format!("their output goes where you send it: search it for `{canary}`");
    findings.0.push(Finding { what, fact, verdict });
    Ok(())
}

/// A random text of 24 letters that occurs nowhere else.
fn canary() -> String {
    let letter = |byte: u8| char::from(b'a' + byte % 26);
    let bytes = RequestId::random().0.into_bytes().into_iter().chain(RequestId::random().0.into_bytes());
    format!("dr{}", bytes.take(22).map(letter).collect::<String>())
}

/// Registers the invented person, with the text in every field that takes one.
async fn enter(app: &Arc<App>, canary: &str) -> Result<SubjectId, AppError> {
    let client = Client { address: Personal::default(), agent: Personal::new(format!("drill {canary}")) };
    let ctx = &Ctx::anonymous(app.clock.clone(), client, RequestId::random());
    let email = format!("{canary}@drill.invalid");
    let work = WorkProfile {
        hospital_id: canary.to_owned(),
        specialty: Specialty::Other,
        role_level: RoleLevel::Other,
        state_code: None,
        country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
        time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
    };
    let person = Registration { email: email.clone(), work: Some(work), consents: vec![Purpose::WorkHours] };
    account::create(app, ctx, &person).await?;
    let subject = known::account_of(app, ctx, &email).await?.ok_or(AppError::NotFound("account"))?.subject;
    let ctx = &ctx.for_subject(subject, None);
    let today = ctx.now().date_naive();
    let day = |back: u32| {
        let date: NaiveDate = today.checked_sub_days(chrono::Days::new(u64::from(back))).unwrap_or(today);
        let day = WorkDay { date, planned_minutes: 480, actual_minutes: 500, source: Source::Manual };
        Submission { body: day.to_body(), expected: None, within: None }
    };
    let submissions: Vec<Submission> = (1..=DAYS).map(day).collect();
    let batch =
        Batch { operation: "record_submit", kind: WORK_DAY, submissions: &submissions, today, faults: Vec::new() };
    record::submit(app, ctx, &batch, None).await?;
    Ok(subject)
}

async fn wrapped(client: &Superuser, subject: SubjectId) -> Result<Option<WrappedSubject>, ServerError> {
    let sql = format!("SELECT {} FROM vault.subjects WHERE subject_id = $1", WrappedSubject::COLUMNS);
    let row = client.query_opt(&sql, &[&subject.0]).await.map_err(db::DbError::from)?;
    Ok(row.as_ref().map(WrappedSubject::from_row))
}

async fn events_of(client: &Superuser, subject: SubjectId) -> Result<Vec<Event>, ServerError> {
    let sql = format!("SELECT {} FROM log.events WHERE subject_id = $1", Event::COLUMNS);
    let rows = client.query(&sql, &[&subject.0]).await.map_err(db::DbError::from)?;
    Ok(Event::from_rows(&rows))
}

/// Whether any version of the key-encryption key opens a person's keys, whatever version their row names.
fn opens(vault: &Vault, subject: SubjectId, wrapped: &WrappedSubject) -> bool {
    let mut versions = vault.ring().keks().into_iter().map(|kek| kek.version);
    versions.any(|version| {
        vault.open_subject(subject, &WrappedSubject { ring_version: version, ..wrapped.clone() }).is_ok()
    })
}

/// The result of trying every living key.
#[derive(Default)]
struct Tried {
    people: usize,
    keys: usize,
    opened: usize,
}

async fn try_living_keys(client: &Superuser, vault: &Vault, events: &[Event]) -> Result<Tried, ServerError> {
    let sql = format!("SELECT {}, subject_id FROM vault.subjects", WrappedSubject::COLUMNS);
    let mut tried = Tried::default();
    for row in client.query(&sql, &[]).await.map_err(db::DbError::from)? {
        let subject = SubjectId(row.get("subject_id"));
        let Ok(keys) = vault.open_subject(subject, &WrappedSubject::from_row(&row)) else { continue };
        tried.people += 1;
        try_keys_of(client, &keys, events, &mut tried).await?;
    }
    Ok(tried)
}

async fn try_keys_of(
    client: &Superuser,
    keys: &SubjectKeys,
    events: &[Event],
    tried: &mut Tried,
) -> Result<(), ServerError> {
    tried.keys += 1;
    tried.opened += events.iter().filter(|event| matches!(event.open_trail(keys), Ok(Some(_)))).count();
    let sql = format!("SELECT {} FROM vault.records WHERE subject_id = $1", RecordEntry::COLUMNS);
    for row in client.query(&sql, &[&keys.subject().0]).await.map_err(db::DbError::from)? {
        let Ok(key) = keys.open_record(&RecordEntry::from_row(&row)) else { continue };
        tried.keys += 1;
        tried.opened += events.iter().filter(|event| event.open(&key).is_ok()).count();
    }
    Ok(())
}

fn scratch_database(cluster: &Store, name: &str) -> Store {
    let address = db::Address { database: name.to_owned(), ..cluster.database.address.clone() };
    Store { database: Database { address, ..cluster.database.clone() }, cluster: None }
}
