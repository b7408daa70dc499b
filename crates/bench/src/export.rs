//! Exports: the time from the request to the completed file over HTTP for a thousand records, and the memory that the
//! server takes while it writes a file of very many records.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::{filler::Filler, load::answer_to, outcome::BenchResult, stage::Stage};

/// How many records the timed export has.
const TIMED: usize = 1000;
/// How often a file is asked for that is timed.
const OFTEN: Duration = Duration::from_millis(2);
pub const FORMATS: [&str; 2] = ["json", "csv"];

pub async fn run(rounds: usize, many: usize) -> BenchResult<()> {
    let stage = Stage::set(2, 8).await?;
    let filler = Filler::open(&stage).await?;
    filler.words(&stage.tokens[0], TIMED, 5).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).await?;
    println!("An export of {TIMED} records, from the request to the completed file, over HTTP\n");
    println!("| format | median ms | slowest ms | file KiB |");
    println!("|---|---:|---:|---:|");
    for format in FORMATS {
        let (mut times, mut size) = (Vec::with_capacity(rounds), 0);
        for _ in 0..rounds {
            let started = Instant::now();
            (_, size) = export(&mut stream, &stage, 0, format, OFTEN, &mut 0).await?;
            times.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
        println!("| {format} | {:.0} | {:.0} | {} |", times[times.len() / 2], times[times.len() - 1], size / 1024);
    }
    if many == 0 {
        return Ok(());
    }
    filler.words(&stage.tokens[1], many, 5).await?;
    println!("\nAn export of {many} records\n");
    println!("| format | s | file MiB | resident before, MiB | most resident, MiB |");
    println!("|---|---:|---:|---:|---:|");
    for format in FORMATS {
        let (before, mut most) = (stage.resident_mib()?, 0);
        let started = Instant::now();
        let (_, size) = export(&mut stream, &stage, 1, format, OFTEN, &mut most).await?;
        let seconds = started.elapsed().as_secs_f64();
        println!("| {format} | {seconds:.1} | {} | {before} | {most} |", size / 1024 / 1024);
    }
    Ok(())
}

/// Asks for a file and waits until it is complete, by asking again and again. Returns its id and its size, and in `most` the most memory that the server took
/// meanwhile.
pub async fn export(
    stream: &mut TcpStream,
    stage: &Stage,
    person: usize,
    format: &str,
    pause: Duration,
    most: &mut u64,
) -> BenchResult<(String, u64)> {
    let head = format!("host: localhost\r\nauthorization: Bearer {}\r\n", stage.tokens[person]);
    let body = format!(r#"{{"request_type":"full","format":"{format}"}}"#);
    let ask = format!(
        "POST /v1/privacy/export-data HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let asked = answer_to(stream, &ask).await?;
    let id = field(&asked, "export_id").ok_or_else(|| format!("refused: {asked}"))?;
    let see = format!("GET /v1/privacy/exports/{id} HTTP/1.1\r\n{head}\r\n");
    loop {
        let seen = answer_to(stream, &see).await?;
        *most = (*most).max(stage.resident_mib()?);
        match field(&seen, "status") {
            Some("pending" | "processing") => tokio::time::sleep(pause).await,
            Some("completed") => return Ok((id.to_owned(), field(&seen, "size").ok_or("no size")?.parse()?)),
            _ => return Err(format!("it did not succeed: {seen}").into()),
        }
    }
}

/// The value of a field, as text, in the JSON of an answer.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("\"{name}\":"))?;
    Some(rest.split([',', '}']).next()?.trim_matches('"'))
}
