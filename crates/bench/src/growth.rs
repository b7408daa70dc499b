//! What requests cost while the log grows. A town of people whose rows nobody can open is added to the log, spread over a
//! year, and after each step the same requests are measured: submissions at eight clients, and each request below alone.
//! The people who ask stay the same: one with ten years of days that were amended three times, and one with ninety days.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use context::{Clock, Role};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use crate::{
    daily::{PEOPLE, median, settle, submissions},
    filler::Filler,
    load::{answer_to, drive},
    outcome::BenchResult,
    plot::{Line, plot},
    stage::Stage,
};

/// Days of the busy person, and how often each is written.
const DAYS: u64 = 3_650;
const VERSIONS: u16 = 4;
/// Days of the small person.
const FEW: u64 = 90;
/// Records of each person of the town. With two versions of each, reads and the registration this makes 47 events.
const EACH: u64 = 17;
const EVENTS_OF_EACH: u64 = 47;
/// Over so many days the events of the town are spread.
const SPREAD: u64 = 360;
/// How often each request is sent; the median counts.
const TIMES: usize = 41;
const CLIENTS: usize = 8;

/// A request that is measured alone.
struct Asked {
    name: &'static str,
    token: String,
    target: String,
}

pub async fn run(sizes: &[u64], seconds: u64, to: Option<&Path>) -> BenchResult<()> {
    let stage = Stage::set(PEOPLE, 16).await?;
    let client = db::admin(&stage.database.address, &stage.database.admin, None).await?;
    let today = Clock::system().now().date_naive();
    let asked = people(&stage, today).await?;
    let (counter, submit) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    let mut lines: Vec<Line> = vec![Line::new("submission, 8 clients")];
    lines.extend(asked.iter().map(|asked| Line::new(asked.name)));
    let mut town = 0;
    for &size in sizes {
        town += fill(&client, size, town, today).await?;
        follow(&client).await?;
        settle(&client).await?;
        drive(stage.port, CLIENTS, Duration::from_secs(2), &counter, &submit).await?;
        let mut rates = Vec::new();
        for _ in 0..3 {
            rates.push(drive(stage.port, CLIENTS, Duration::from_secs(seconds), &counter, &submit).await?);
        }
        lines[0].costs.push(1000.0 / median(rates).per_second);
        follow(&client).await?;
        for (asked, line) in asked.iter().zip(&mut lines[1..]) {
            line.costs.push(time(&stage, asked).await?);
        }
    }
    print(sizes, &lines);
    if let Some(path) = to {
        std::fs::write(path, plot(sizes, &lines))?;
    }
    Ok(())
}

/// Lets two people submit what their lists show, and says which requests are measured.
async fn people(stage: &Stage, today: NaiveDate) -> BenchResult<Vec<Asked>> {
    let filler = Filler::open(stage).await?;
    let [busy, small, ..] = stage.tokens.as_slice() else { return Err("too few people".into()) };
    for version in 0..VERSIONS {
        filler.days(busy, today, DAYS, 480 + version).await?;
    }
    filler.days(small, today, FEW, 480).await?;
    let desk = filler.staff(Role::Compliance).await?;
    let day = |back: u64| today.checked_sub_days(Days::new(back)).unwrap_or(today);
    let quarter = format!("/v1/work-events/me?from={}&to={}", day(89), today);
    let trail = format!("/v1/compliance/trail?from={0}T00:00:00Z&to={0}T23:59:59Z&limit=100", day(30));
    let asked = |name, token: &str, target: &str| Asked { name, token: token.to_owned(), target: target.to_owned() };
    Ok(vec![
        asked("quarter of a small list", small, &quarter),
        asked("quarter of a long list", busy, &quarter),
        asked("first page of a long list", busy, "/v1/work-events/me?limit=100"),
        asked("audit page, few events", small, "/v1/privacy/audit-log?limit=50"),
        asked("audit page, many events", busy, "/v1/privacy/audit-log?limit=50"),
        asked("retention, many records", busy, "/v1/privacy/retention"),
        asked("desk: overview", &desk, "/v1/compliance/overview"),
        asked("desk: trail of a day", &desk, &trail),
    ])
}

/// Adds people until the log has `size` events. Returns how many.
async fn fill(client: &Client, size: u64, town: u64, today: NaiveDate) -> BenchResult<u64> {
    let events: i64 = client.query_one("SELECT count(*) FROM log.events", &[]).await?.get(0);
    let people = size.saturating_sub(events.unsigned_abs()) / EVENTS_OF_EACH;
    let mut added = 0;
    for step in 0..SPREAD {
        let until = people * (step + 1) / SPREAD;
        if until == added {
            continue;
        }
        let at: DateTime<Utc> = today.and_time(chrono::NaiveTime::MIN).and_utc()
            - TimeDelta::days(i64::try_from(SPREAD - step)?)
            + TimeDelta::hours(12);
        let settings = format!(
            "SET fill.records = 0; SET fill.versions = 0; SET fill.each = {EACH}; SET fill.people = {}; SET fill.first = {}; SET fill.at = '{at}'",
            until - added,
            town + added,
        );
        client.batch_execute(&settings).await?;
        client.batch_execute(include_str!("../../../tests/fill.sql")).await?;
        added = until;
    }
    // In a town few people wait for their deletion.
    client.batch_execute("DELETE FROM read.deletions WHERE get_byte(uuid_send(subject_id), 15) > 0").await?;
    Ok(added)
}

/// Waits until the tree and the projections have come to the end of the log.
async fn follow(client: &Client) -> BenchResult<()> {
    let sql = "SELECT NOT EXISTS (SELECT FROM log.events e WHERE (e.txid, e.position) > (t.txid, t.position))
                  AND NOT EXISTS (SELECT FROM log.events e WHERE (e.txid, e.position) > (c.txid, c.position))
               FROM log.trees t, read.checkpoints c ORDER BY t.tree DESC LIMIT 1";
    for _ in 0..6000 {
        if client.query_opt(sql, &[]).await?.is_some_and(|row| row.get(0)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("tree or projections do not come to the end of the log".into())
}

/// The median of the milliseconds that a request takes.
async fn time(stage: &Stage, asked: &Asked) -> BenchResult<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).await?;
    stream.set_nodelay(true)?;
    let request =
        format!("GET {} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", asked.target, asked.token);
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let started = Instant::now();
        let answer = answer_to(&mut stream, &request).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        if !answer.starts_with("HTTP/1.1 2") {
            return Err(format!("{} is refused: {answer}", asked.name).into());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMES / 2])
}

fn print(sizes: &[u64], lines: &[Line]) {
    println!(
        "Milliseconds a request while the log grows; of submissions, a thousandth of the seconds for a thousand\n"
    );
    let heads: Vec<String> = sizes.iter().map(|size| format!("{size} events")).collect();
    println!("| request | {} | last to first |\n|---|{}---:|", heads.join(" | "), "---:|".repeat(sizes.len()));
    for Line { name, costs } in lines {
        let cells: Vec<String> = costs.iter().map(|cost| format!("{cost:.2}")).collect();
        let ratio = costs.last().zip(costs.first()).map_or(0.0, |(last, first)| last / first);
        println!("| {name} | {} | {ratio:.2} |", cells.join(" | "));
    }
}
