//! Erasures over HTTP of a person with very many events: the time from the confirmation until the person's own token
//! opens nothing.

use std::{fs, path::Path, time::Instant};

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{load::answer_to, outcome::BenchResult, stage::Stage};

/// Days in one batch. The next batch amends the same days.
const DAYS: u64 = 366;

pub async fn run(people: usize, events: usize) -> BenchResult<()> {
    let stage = Stage::set_with(people, 8, &["--grace", "0"], &[]).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).await?;
    let mut times = Vec::with_capacity(people);
    for person in 0..people {
        fill(&mut stream, &stage.tokens[person], events).await?;
        times.push(erase(&mut stream, &stage, person).await?);
    }
    times.sort_by(f64::total_cmp);
    println!("An erasure of a person with {events} events, from the confirmation to the end, over HTTP\n");
    println!("| people | median ms | slowest ms |\n|---:|---:|---:|");
    println!("| {people} | {:.0} | {:.0} |", times[times.len() / 2], times[times.len() - 1]);
    Ok(())
}

/// Submits days, and amends them until there are `events` events.
async fn fill(stream: &mut TcpStream, token: &str, events: usize) -> BenchResult<()> {
    let last = NaiveDate::from_ymd_opt(2025, 12, 31).ok_or("a date")?;
    let (mut left, mut minutes) = (events, 400);
    while left > 0 {
        let count = left.min(usize::try_from(DAYS)?);
        let day = |back: u64| {
            let date = last.checked_sub_days(Days::new(back)).unwrap_or(last);
            json!({ "date": date, "planned_minutes": 480, "actual_minutes": minutes, "source": "manual" })
        };
        let days: Vec<Value> = (0..count as u64).map(day).collect();
        let answer = post(stream, token, "/v1/work-events/batch", &json!({ "events": days })).await?;
        if !answer.contains("created_count") {
            return Err(format!("refused: {answer}").into());
        }
        (left, minutes) = (left - count, minutes + 1);
    }
    Ok(())
}

/// Asks for the erasure, reads the token from the mail, confirms, and waits until the person is erased. Returns the
/// milliseconds from the confirmation on.
async fn erase(stream: &mut TcpStream, stage: &Stage, person: usize) -> BenchResult<f64> {
    let token = &stage.tokens[person];
    post(stream, token, "/v1/privacy/delete-data", &json!({ "deletion_type": "full" })).await?;
    let mailed = mailed_token(&stage.scratch().join("mail")).await?;
    let started = Instant::now();
    let target = format!("/v1/privacy/confirm-deletion/{mailed}");
    let confirmed = post(stream, token, &target, &json!({ "phrase": "delete everything about me" })).await?;
    if !confirmed.contains("confirmed") {
        return Err(format!("refused: {confirmed}").into());
    }
    let see = format!("GET /v1/auth/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n");
    while !answer_to(stream, &see).await?.contains("signed-out") {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}

async fn post(stream: &mut TcpStream, token: &str, target: &str, body: &Value) -> BenchResult<String> {
    let body = body.to_string();
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer_to(stream, &request).await
}

/// The token in the only letter. The letter is removed from the folder.
async fn mailed_token(folder: &Path) -> BenchResult<String> {
    let is_token = |line: &&str| line.len() == 43 && !line.contains(' ');
    for _ in 0..500 {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let letter = fs::read_to_string(&path).unwrap_or_default();
            if path.extension().is_some_and(|extension| extension == "eml") {
                fs::remove_file(&path)?;
                if let Some(token) = letter.lines().map(str::trim).find(is_token) {
                    return Ok(token.to_owned());
                }
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err("no letter with a token came".into())
}
