//! The daily submission: each request submits a new day of a person, with an idempotency key and everything switched
//! on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{Days, NaiveDate};
use context::Clock;

use crate::{
    load::{Load, Rate, Request, drive},
    outcome::BenchResult,
    pgbench::{Pgbench, TICKET, VARIABLE},
    stage::Stage,
};

/// How many people submit days.
pub(crate) const PEOPLE: usize = 256;

/// One row of the printed table.
struct Row {
    clients: usize,
    http: Rate,
    ticket: Rate,
    variable: Rate,
}

/// Prints what each statement of the load costs PostgreSQL.
pub async fn run_statements(load: &Load) -> BenchResult<()> {
    let stage = Stage::set_with(
        PEOPLE,
        load.connections,
        &[],
        &[("shared_preload_libraries", "pg_stat_statements".to_owned())],
    )
    .await?;
    let (counter, request) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    let client = db::admin(&stage.database.address, &stage.database.admin, None).await?;
    client.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
    for &clients in &load.clients {
        drive(stage.port, clients, Duration::from_secs(2), &counter, &request).await?;
        settle(&client).await?;
        client.batch_execute("SELECT pg_stat_statements_reset()").await?;
        let before = counter.load(Ordering::Relaxed);
        let rate = drive(stage.port, clients, Duration::from_secs(load.seconds), &counter, &request).await?;
        let requests = counter.load(Ordering::Relaxed) - before;
        println!("\n{clients} clients, {:.0} requests/s, p50 {:.2} ms\n", rate.per_second, rate.median_ms);
        println!("| statement | calls | us a call | us a request | rows a call |\n|---|---:|---:|---:|---:|");
        for row in client.query(STATEMENTS, &[]).await? {
            let (name, calls, total_ms, rows): (String, i64, f64, i64) =
                (row.get("name"), row.get("calls"), row.get("total_ms"), row.get("rows"));
            #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 calls")]
            let (calls_f, requests, rows) = (calls as f64, requests as f64, rows as f64);
            let total_us = total_ms * 1000.0;
            println!(
                "| {name} | {calls} | {:.0} | {:.1} | {:.1} |",
                total_us / calls_f,
                total_us / requests,
                rows / calls_f
            );
        }
    }
    Ok(())
}

/// The statements of the last measurement, by the time that they took.
const STATEMENTS: &str = "-- bench_statements
SELECT CASE WHEN query LIKE '-- %' THEN split_part(split_part(query, E'\\n', 1), ' ', 2) ELSE left(query, 40) END AS name,
       sum(calls)::bigint AS calls, sum(total_exec_time + total_plan_time) AS total_ms, sum(rows)::bigint AS rows
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
GROUP BY 1 ORDER BY 3 DESC LIMIT 16";

pub async fn run(load: &Load) -> BenchResult<()> {
    let length = Duration::from_secs(load.seconds);
    let stage = Stage::set(PEOPLE, load.connections).await?;
    let pgbench = Pgbench::prepare(&stage).await?;
    let (counter, request) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    drive(stage.port, 8, Duration::from_secs(2), &counter, &request).await?;
    settle(&db::admin(&stage.database.address, &stage.database.admin, None).await?).await?;
    let mut rows = Vec::new();
    for &clients in &load.clients {
        let (mut http, mut ticket, mut variable) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..load.rounds {
            http.push(drive(stage.port, clients, length, &counter, &request).await?);
            ticket.push(pgbench.measure(TICKET, clients, length)?);
            variable.push(pgbench.measure(VARIABLE, clients, length)?);
        }
        rows.push(Row { clients, http: median(http), ticket: median(ticket), variable: median(variable) });
    }
    print(&rows, stage.resident_mib()?);
    Ok(())
}

/// Does what autovacuum does within a minute: until then the plans are those for empty tables.
pub(crate) async fn settle(client: &tokio_postgres::Client) -> BenchResult<()> {
    Ok(client.batch_execute("VACUUM ANALYZE").await?)
}

pub(crate) fn median(mut rates: Vec<Rate>) -> Rate {
    rates.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rates.swap_remove(rates.len() / 2)
}

/// The n-th request. People take turns, and in each turn a person goes back one day.
pub(crate) fn submissions(stage: &Stage) -> Arc<Request> {
    let (tokens, today) = (stage.tokens.clone(), Clock::system().now().date_naive());
    Arc::new(move |number| {
        let body = day(today, (number / tokens.len()) as u64 % 3600);
        post("/v1/work-events/daily", &tokens[number % tokens.len()], &format!("bench-{number}"), &body)
    })
}

/// The work day that lies so many days back, as JSON.
pub(crate) fn day(today: NaiveDate, back: u64) -> String {
    let date = today.checked_sub_days(Days::new(back)).unwrap_or(today);
    format!(r#"{{"date":"{date}","planned_hours":8.5,"actual_hours":9.2,"source":"geofence"}}"#)
}

/// A request that submits something once for each idempotency key.
pub(crate) fn post(target: &str, token: &str, key: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len(),
    )
}

fn print(rows: &[Row], resident_mib: u64) {
    println!(
        "POST /v1/work-events/daily against P (the same four rows by pgbench, one statement at a time, with a ticket)\n"
    );
    println!(
        "| clients | requests/s | p50 ms | p99 ms | P tx/s | P p99 ms | P, plain variable | ratio to P | p99 ratio |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} | {:.0} | {:.2} | {:.2} |",
            row.clients,
            row.http.per_second,
            row.http.median_ms,
            row.http.p99_ms,
            row.ticket.per_second,
            row.ticket.p99_ms,
            row.variable.per_second,
            row.http.per_second / row.ticket.per_second,
            row.http.p99_ms / row.ticket.p99_ms,
        );
    }
    println!("\nresident memory of the server after it all: {resident_mib} MiB");
}
