//! The load: connections that send a request, wait for its answer, and send the next one. HTTP/1.1 with as little work
//! as possible, because the load runs on the same cores as the server that it measures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::outcome::BenchResult;

/// The load of a comparison.
#[derive(Args)]
pub struct Load {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Numbers of connections
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 32])]
    pub clients: Vec<usize>,
    /// Connections to PostgreSQL, of the server and of each peer
    #[arg(long, default_value_t = 16)]
    pub connections: usize,
}

/// The result of a measurement.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    pub per_second: f64,
    /// Median latency in milliseconds.
    pub median_ms: f64,
    /// 99th percentile of the latency in milliseconds.
    pub p99_ms: f64,
}

impl Rate {
    /// The rate of latencies (in milliseconds) that were measured in `elapsed`.
    pub fn of(mut latencies_ms: Vec<f64>, elapsed: Duration) -> Self {
        latencies_ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let index = ((latencies_ms.len() as f64 - 1.0) * share).max(0.0) as usize;
            latencies_ms.get(index).copied().unwrap_or_default()
        };
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
        let per_second = latencies_ms.len() as f64 / elapsed.as_secs_f64();
        Self { per_second, median_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// Makes the request with this number.
pub type Request = dyn Fn(usize) -> String + Send + Sync;

/// Sends requests over `clients` connections for some time. Every answer must be of class 2xx.
pub async fn drive(
    port: u16,
    clients: usize,
    length: Duration,
    counter: &Arc<AtomicUsize>,
    request: &Arc<Request>,
) -> BenchResult<Rate> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(connection(port, started + length, counter.clone(), request.clone())))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    Ok(Rate::of(latencies, started.elapsed()))
}

async fn connection(
    port: u16,
    until: Instant,
    counter: Arc<AtomicUsize>,
    request: Arc<Request>,
) -> BenchResult<Vec<f64>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut latencies, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    while Instant::now() < until {
        let text = request(counter.fetch_add(1, Ordering::Relaxed));
        let started = Instant::now();
        stream.write_all(text.as_bytes()).await?;
        read_answer(&mut stream, &mut answer).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1000.0);
        if !answer.starts_with(b"HTTP/1.1 2") {
            return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    Ok(latencies)
}

/// Sends one request and returns the answer, including its head.
pub async fn answer_to(stream: &mut TcpStream, request: &str) -> BenchResult<String> {
    let mut answer = Vec::with_capacity(4096);
    stream.write_all(request.as_bytes()).await?;
    read_answer(stream, &mut answer).await?;
    Ok(String::from_utf8(answer)?)
}

/// Reads one answer: a head, and as many bytes of body as the head says.
pub async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> BenchResult<()> {
    answer.clear();
    loop {
        if stream.read_buf(answer).await? == 0 {
            return Err("the server closed the connection".into());
        }
        let Some(head) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&answer[..head])?;
        let length = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(Ok(0), |(_, value)| value.trim().parse::<usize>())?;
        while answer.len() < head + 4 + length {
            if stream.read_buf(answer).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
        return Ok(());
    }
}
