//! Imports: how long a file of very many records takes until it is imported again over HTTP, and the memory that the
//! server takes meanwhile. The first import sets every record back, and the second finds them all as they are.

use std::time::{Duration, Instant};

use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    export::{FORMATS, export},
    filler::Filler,
    load::read_answer,
    outcome::BenchResult,
    stage::Stage,
};

/// How often a file is asked for. Who asks more than 1,200 times in five minutes is suspended, and imports nothing.
const SELDOM: Duration = Duration::from_millis(500);

pub async fn run(records: usize) -> BenchResult<()> {
    let stage = Stage::set(1, 8).await?;
    let filler = Filler::open(&stage).await?;
    filler.words(&stage.tokens[0], records, 5).await?;
    for format in FORMATS {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).await?;
        let (id, _) = export(&mut stream, &stage, 0, format, SELDOM, &mut 0).await?;
        download(&stage, &id, format).await?;
    }
    filler.words(&stage.tokens[0], records, 6).await?;
    println!("An import of {records} records\n");
    println!("| format | s | file MiB | resident before, MiB | most resident, MiB |");
    println!("|---|---:|---:|---:|---:|");
    for format in FORMATS {
        let (before, started) = (stage.resident_mib()?, Instant::now());
        let mut sending = tokio::spawn(import(stage.port, stage.tokens[0].clone(), stage.scratch().join(format)));
        let mut most = before;
        let size = loop {
            most = most.max(stage.resident_mib()?);
            if let Ok(sent) = tokio::time::timeout(Duration::from_millis(20), &mut sending).await {
                break sent??;
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        println!("| {format} | {seconds:.1} | {} | {before} | {most} |", size / 1024 / 1024);
    }
    Ok(())
}

fn head(token: &str) -> String {
    format!("host: localhost\r\nauthorization: Bearer {token}\r\n")
}

/// Downloads an export into the file of this name.
async fn download(stage: &Stage, id: &str, name: &str) -> BenchResult<()> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", stage.port)).await?);
    let ask = format!("GET /v1/privacy/exports/{id}/download HTTP/1.1\r\n{}\r\n", head(&stage.tokens[0]));
    stream.write_all(ask.as_bytes()).await?;
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("refused: {line}").into());
    }
    line.clear();
    while stream.read_line(&mut line).await? > "\r\n".len() {
        if let Some((_, value)) = line.to_ascii_lowercase().split_once("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    let mut file = File::create(stage.scratch().join(name)).await?;
    tokio::io::copy(&mut stream.take(length), &mut file).await?;
    Ok(file.sync_all().await?)
}

/// Sends a file, and returns its size once it has been imported.
async fn import(port: u16, token: String, path: std::path::PathBuf) -> BenchResult<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut file = File::open(path).await?;
    let size = file.metadata().await?.len();
    let ask = format!(
        "POST /v1/privacy/import HTTP/1.1\r\n{}content-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n",
        head(&token)
    );
    stream.write_all(ask.as_bytes()).await?;
    tokio::io::copy(&mut file, &mut stream).await?;
    let mut answer = Vec::new();
    read_answer(&mut stream, &mut answer).await?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(size)
}
