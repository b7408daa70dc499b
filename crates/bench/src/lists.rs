//! Batches of 31 days beside single days, and the list of a quarter, which is audited and opened, beside the same SELECT by
//! pgbench under a ticket.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::NaiveDate;
use context::{Clock, SubjectId};
use domain::{kinds::WORK_DAY, quarter::Quarter};
use projections::records::list::record_page;

use crate::{
    daily::{PEOPLE, day, median, post, settle, submissions},
    filler::Filler,
    load::{Load, Rate, Request, drive},
    outcome::BenchResult,
    pgbench::Pgbench,
    stage::Stage,
};

const BATCH: u64 = 31;
/// So many people read their lists.
const READERS: usize = 32;
/// All days of the quarter that is read, and some before and after it.
const DAYS: u64 = 200;

/// Batches are of days that lie so far back at least, and at most: ten years.
const LONG_AGO: u64 = 2_000;
const OLDEST: u64 = 3_640;

struct Row {
    clients: usize,
    single: Rate,
    batch: Rate,
    list: Rate,
    select: Rate,
}

pub async fn run(load: &Load) -> BenchResult<()> {
    let length = Duration::from_secs(load.seconds);
    let stage = Stage::set(PEOPLE, load.connections).await?;
    let today = Clock::system().now().date_naive();
    let quarter = Quarter::last_closed_before(today);
    let filler = Filler::open(&stage).await?;
    for token in &stage.tokens[..READERS] {
        filler.days(token, today, DAYS, 480).await?;
    }
    drop(filler);
    let pgbench = Pgbench::beside(&stage, &script(quarter)).await?;
    settle(&db::admin(&stage.database.address, &stage.database.admin, None).await?).await?;
    let (single, batch, list) = (submissions(&stage), batches(&stage, today), lists(&stage, quarter));
    let [days, turns, pages] = [0; 3].map(|_: u8| Arc::new(AtomicUsize::new(0)));
    // Days that the readers have already would be amended.
    days.store(PEOPLE * usize::try_from(DAYS)?, Ordering::Relaxed);
    let mut rows = Vec::new();
    for &clients in &load.clients {
        let mut measured = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..load.rounds {
            measured.0.push(drive(stage.port, clients, length, &days, &single).await?);
            measured.1.push(drive(stage.port, clients, length, &turns, &batch).await?);
            measured.2.push(drive(stage.port, clients, length, &pages, &list).await?);
            measured.3.push(pgbench.measure(&stage.database.address.database, clients, length)?);
        }
        let (single, batch, list, select) = measured;
        let [single, batch, list, select] = [single, batch, list, select].map(median);
        rows.push(Row { clients, single, batch, list, select });
    }
    print(&rows);
    Ok(())
}

/// The n-th batch. People take turns, and in each turn a person goes back 31 days, in a time before the single days.
fn batches(stage: &Stage, today: NaiveDate) -> Arc<Request> {
    let tokens = stage.tokens.clone();
    Arc::new(move |number| {
        let first = LONG_AGO + (number / tokens.len()) as u64 * BATCH % (OLDEST - LONG_AGO - BATCH);
        let days: Vec<String> = (first..first + BATCH).map(|back| day(today, back)).collect();
        let body = format!(r#"{{"events":[{}]}}"#, days.join(","));
        post("/v1/work-events/batch", &tokens[number % tokens.len()], &format!("batch-{number}"), &body)
    })
}

fn lists(stage: &Stage, quarter: Quarter) -> Arc<Request> {
    let tokens = stage.tokens[..READERS].to_vec();
    let target = format!("/v1/work-events/me?from={}&to={}&limit=100", quarter.first_day(), quarter.last_day());
    Arc::new(move |number| {
        format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\nauthorization: Bearer {}\r\n\r\n",
            tokens[number % tokens.len()],
        )
    })
}

/// Reads, as the server does, the bucket of one of the quarters that a person has all days of.
fn script(quarter: Quarter) -> String {
    let page = record_page(SubjectId::NIL, WORK_DAY.name(), Vec::new(), None);
    let mut select = page.sql().lines().skip(1).collect::<Vec<_>>().join(" ");
    let days = (quarter.last_day() - quarter.first_day()).num_days() + 1;
    let values = [":subject::uuid", "'work_day'::text", "ARRAY[:bucket::bytea]", "ARRAY[false]", "1000::bigint"];
    for (number, value) in values.iter().enumerate() {
        select = select.replace(&format!("${}", number + 1), value);
    }
    format!(
        "\\if :minted = 0
SELECT subject, bucket, bench.mint(subject) AS ticket FROM bench.filled({days}, :client_id) \\gset
\\set minted 1
\\endif
BEGIN;
SELECT lethe.show(:ticket, true);
{select};
COMMIT;
"
    )
}

fn print(rows: &[Row]) {
    println!(
        "POST /v1/work-events/batch with {BATCH} days beside single days; GET /v1/work-events/me of a quarter beside its SELECT (S)\n"
    );
    println!(
        "| clients | single days/s | batches/s | days/s in batches | to single | lists/s | p50 ms | S/s | lists to S |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        #[expect(clippy::cast_precision_loss, reason = "31")]
        let days = row.batch.per_second * BATCH as f64;
        println!(
            "| {} | {:.0} | {:.0} | {days:.0} | {:.1} | {:.0} | {:.2} | {:.0} | {:.2} |",
            row.clients,
            row.single.per_second,
            row.batch.per_second,
            days / row.single.per_second,
            row.list.per_second,
            row.list.median_ms,
            row.select.per_second,
            row.list.per_second / row.select.per_second,
        );
    }
}
