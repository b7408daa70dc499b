//! A release of statistics for many people: how long it takes, including unsealing, and how much memory, in a process
//! of its own.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Days;
use context::{Client, Clock, Ctx, RequestId, Role};
use domain::{
    Choice, RoleLevel, Source, Specialty, StateCode,
    kinds::{Shape, WORK_DAY, WorkDay, WorkProfile},
    quarter::Quarter,
    rights::consent::Purpose,
    statistics::plan::GRACE_DAYS,
};
use lethe::{
    app::{
        App,
        identity::account::{self, Registration},
        records::record::{self, Batch, Submission},
        statistics::hospital,
    },
    auth::codes::Proof,
    data::home::Folder,
    server::{self, Settings, Store},
};
use tokio::task::JoinSet;
use vault::Vault;

use crate::outcome::BenchResult;

const AT_ONCE: usize = 8;

/// Fills a database, releases, and prints.
pub async fn run(people: usize, days: usize) -> BenchResult<()> {
    let dir = tempfile::tempdir()?;
    let folder = Folder::open(dir.path())?;
    // Filling is not measured, so it may be fast and unsafe.
    let quick = [("fsync", "off"), ("max_wal_size", "8GB"), ("shared_buffers", "512MB")];
    let store = Store::start(&folder, &quick.map(|(name, value)| (name, value.to_owned()))).await?;
    let vault = Arc::new(Vault::new(folder.ring(None)?));
    store.migrate(None, &vault, &folder.passwords()?).await?;
    let settings = Settings { connections: 12, ..Settings::new(folder.clone(), Clock::system()) };
    let app = server::open(&settings, &store.database, vault, &folder.passwords()?).await?;
    let today = app.clock.now().date_naive();
    let quarter = Quarter::last_closed_before(today - Days::new(u64::from(GRACE_DAYS) + 1));
    let started = Instant::now();
    // The hospitals are added before anybody registers, so that they count for the quarter.
    hospital::add(&app, &(0..50).map(|number| format!("hospital-{number}")).collect::<Vec<_>>()).await?;
    fill(&app, people, days, quarter).await?;
    eprintln!("filled in {:.0} s", started.elapsed().as_secs_f64());
    let admin = db::admin(&store.database.address, &store.database.admin, None).await?;
    admin.batch_execute("VACUUM ANALYZE").await?;
    drop(app);
    let binary = std::env::current_exe()?.with_file_name("lethe");
    let started = Instant::now();
    let mut child = Command::new(binary)
        .args(["stats", "release", "--period", &quarter.to_string(), "--data"])
        .arg(dir.path())
        .arg("--database")
        .arg(store.database.url(&store.database.admin, None))
        .stdin(Stdio::null())
        .spawn()?;
    let mut most = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        most = most.max(peak_mib(child.id()).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err("the release failed".into());
    }
    println!("\nA release of {people} people with {days} days each, unsealing and drawing included\n");
    println!("| people | records | seconds | records/s | most memory, MiB |\n|---:|---:|---:|---:|---:|");
    let records = people * days;
    println!("| {people} | {records} | {seconds:.1} | {:.0} | {most} |", records as f64 / seconds);
    store.stop().await?;
    Ok(())
}

/// The most memory that a process has had so far, in MiB.
fn peak_mib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

async fn fill(app: &Arc<App>, people: usize, days: usize, quarter: Quarter) -> BenchResult<()> {
    let mut tasks = JoinSet::new();
    for number in 0..people {
        if tasks.len() >= AT_ONCE {
            tasks.join_next().await.ok_or("a task")???;
        }
        let app = app.clone();
        tasks.spawn(async move { submit(&app, number, days, quarter).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn nth<C: Choice>(number: usize) -> C {
    C::parse(C::NAMES[number % C::NAMES.len()]).expect("a name of the list")
}

async fn submit(app: &App, number: usize, days: usize, quarter: Quarter) -> BenchResult<()> {
    let ctx = Ctx::anonymous(app.clock.clone(), Client::default(), RequestId::random());
    let work = WorkProfile {
        hospital_id: format!("hospital-{}", number % 50),
        specialty: nth::<Specialty>(number / 7),
        role_level: nth::<RoleLevel>(number / 3),
        state_code: Some(nth::<StateCode>(number)),
        country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
        time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
    };
    let consents = vec![Purpose::WorkHours, Purpose::Statistics];
    let person = Registration { email: format!("person.{number}@klinik.example"), work: Some(work), consents };
    let claims = account::register(app, &ctx, &person, &Proof::Operator).await?.claims;
    let ctx = ctx.for_subject(claims.subject, Some(claims.session)).acting_as(Role::Subject);
    let day = |at: usize| {
        let actual_minutes = 480 + u16::try_from((number + at) % 90).unwrap_or(0);
        let date = quarter.first_day() + Days::new(at as u64);
        let body = WorkDay { date, planned_minutes: 480, actual_minutes, source: Source::Manual }.to_body();
        Submission { body, expected: None, within: None }
    };
    let submissions: Vec<Submission> = (0..days).map(day).collect();
    let today = ctx.now().date_naive();
    record::submit(
        app,
        &ctx,
        &Batch { operation: "record_submit", kind: WORK_DAY, submissions: &submissions, today, faults: Vec::new() },
        None,
    )
    .await?;
    Ok(())
}
