//! The small machine (requirement 292): the server may take 256 MiB of memory, and the database gives 24 connections. It
//! starts, takes the daily load and writes large exports within that, or the bench fails.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};

use tokio::net::TcpStream;

use crate::{
    daily::{PEOPLE, submissions},
    export::{FORMATS, export},
    filler::Filler,
    load::drive,
    outcome::BenchResult,
    stage::Stage,
};

const MEMORY: u64 = 256 * 1024 * 1024;
/// Connections of the database for everybody but its superuser, for whom it keeps three more.
const CONNECTIONS: usize = 24;
/// Connections for requests. The server's other pools take eight.
const FOR_REQUESTS: usize = 12;
const STARTS: usize = 5;
const LOAD: Duration = Duration::from_secs(10);
const RECORDS: usize = 100_000;

pub async fn run() -> BenchResult<()> {
    let options = [("max_connections", (CONNECTIONS + 3).to_string())];
    let mut stage = Stage::set_with(PEOPLE, FOR_REQUESTS, &[], &options).await?;
    let (mut starts, mut limit) = (Vec::new(), None);
    for _ in 0..STARTS {
        // The group of a server that has ended goes first.
        drop(limit.take());
        let limited = |server| {
            limit = Some(MemoryLimit::of(server)?);
            Ok(())
        };
        let started = stage.restart(limited).await?;
        starts.push(started.as_secs_f64());
    }
    starts.sort_by(f64::total_cmp);
    println!("The server within {} MiB and {CONNECTIONS} connections\n", MEMORY / 1024 / 1024);
    println!("| what | measured | most resident so far, MiB |");
    println!("|---|---:|---:|");
    println!(
        "| start until `/ready`, median of {STARTS} | {:.2} s | {} |",
        starts[STARTS / 2],
        stage.most_resident_mib()?
    );
    let counter = Arc::new(AtomicUsize::new(0));
    for clients in [8, 32] {
        let rate = drive(stage.port, clients, LOAD, &counter, &submissions(&stage)).await?;
        println!(
            "| daily load, {clients} clients | {:.0} requests/s | {} |",
            rate.per_second,
            stage.most_resident_mib()?
        );
    }
    Filler::open(&stage).await?.words(&stage.tokens[0], RECORDS, 5).await?;
    let mut stream = TcpStream::connect(("127.0.0.1", stage.port)).await?;
    for format in FORMATS {
        let started = Instant::now();
        export(&mut stream, &stage, 0, format, Duration::from_millis(500), &mut 0).await?;
        let seconds = started.elapsed().as_secs_f64();
        println!("| export of {RECORDS} records, {format} | {seconds:.1} s | {} |", stage.most_resident_mib()?);
    }
    Ok(())
}

/// A control group that ends its process where it would take more memory.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// Puts a process into a group of its own. Needs root.
    fn of(process: u32) -> BenchResult<Self> {
        let one_tree = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (root, limit) = match one_tree {
            true => ("/sys/fs/cgroup", "memory.max"),
            false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let folder = Path::new(root).join(format!("lethe-bench-{process}"));
        let made = || -> std::io::Result<()> {
            if one_tree {
                fs::write(Path::new(root).join("cgroup.subtree_control"), "+memory")?;
            }
            fs::create_dir(&folder)?;
            fs::write(folder.join(limit), MEMORY.to_string())?;
            fs::write(folder.join("cgroup.procs"), process.to_string())
        };
        made().map_err(|error| format!("no control group limits the server's memory ({error}): run as root"))?;
        Ok(Self(folder))
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // It stays while its process is there; an empty group costs nothing.
        let _ = fs::remove_dir(&self.0);
    }
}
