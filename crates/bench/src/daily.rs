//! The daily submission: each request submits a new day of a person, with an idempotency key and everything switched
//! on.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use chrono::{Days, NaiveDate};
use context::Clock;

use crate::{
    load::{Rate, Request, drive},
    outcome::BenchResult,
    pgbench::{Pgbench, Trust},
    stage::Stage,
};

const PEOPLE: usize = 256;

/// One row of the printed table.
struct Row {
    clients: usize,
    http: Rate,
    ticket: Rate,
    variable: Rate,
}

pub async fn run(seconds: u64, rounds: usize, clients: &[usize], connections: usize) -> BenchResult<()> {
    let length = Duration::from_secs(seconds);
    let stage = Stage::set(PEOPLE, connections).await?;
    let pgbench = Pgbench::prepare(&stage).await?;
    let (counter, request) = (Arc::new(AtomicUsize::new(0)), submissions(&stage));
    drive(stage.port, 8, Duration::from_secs(2), &counter, &request).await?;
    let mut rows = Vec::new();
    for &clients in clients {
        let (mut http, mut ticket, mut variable) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            http.push(drive(stage.port, clients, length, &counter, &request).await?);
            ticket.push(pgbench.measure(Trust::Ticket, clients, length)?);
            variable.push(pgbench.measure(Trust::Variable, clients, length)?);
        }
        rows.push(Row { clients, http: median(http), ticket: median(ticket), variable: median(variable) });
    }
    print(&rows, stage.resident_mib()?);
    Ok(())
}

fn median(mut rates: Vec<Rate>) -> Rate {
    rates.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    rates.swap_remove(rates.len() / 2)
}

/// The n-th request. People take turns, and in each turn a person goes back one day.
pub(crate) fn submissions(stage: &Stage) -> Arc<Request> {
    let (tokens, today) = (stage.tokens.clone(), Clock::system().now().date_naive());
    Arc::new(move |number| {
        let day: NaiveDate = today.checked_sub_days(Days::new((number / tokens.len()) as u64 % 3600)).unwrap_or(today);
        let body = format!(r#"{{"date":"{day}","planned_hours":8.5,"actual_hours":9.2,"source":"geofence"}}"#);
        format!(
            "POST /v1/work-events/daily HTTP/1.1\r\nhost: localhost\r\nuser-agent: bench\r\ncontent-type: application/json\r\n\
             authorization: Bearer {}\r\nidempotency-key: bench-{number}\r\ncontent-length: {}\r\n\r\n{body}",
            tokens[number % tokens.len()],
            body.len(),
        )
    })
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
