//! The command line: starts logging and the runtime, runs one command, and turns its outcome into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::{
    io::{self, IsTerminal},
    num::NonZero,
    process::ExitCode,
    thread,
};

use mimalloc::MiMalloc;
use terminal::note;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

/// The variable that says how many threads answer requests. Tokio reads it too, and panics where it is no number.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// A request makes many small values and drops them soon, which this allocator does faster than the C library's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    let filter = EnvFilter::try_from_env("LETHE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        // What the subscriber itself can't write it would report with a macro that panics where the pipe is closed.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    if std::env::var("LETHE_LOG_FORMAT").is_ok_and(|format| format == "json") {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
    forbid_core_dumps();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(format_args!("lethe: {error}"));
            return terminal::FAILED.into();
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(format_args!("lethe: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Starts one thread for every two cores, because PostgreSQL needs the others for the same requests, or as many as
/// `TOKIO_WORKER_THREADS` says. More threads would wake one another for each request.
fn runtime() -> io::Result<Runtime> {
    let threads = match std::env::var_os(THREADS) {
        None => thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
        Some(value) => {
            let number = value.to_str().and_then(|text| text.parse().ok()).map(NonZero::<usize>::get);
            number.ok_or_else(|| io::Error::other(format!("{THREADS} must be a number of threads, at least 1")))?
        }
    };
    Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Forbids core dumps, because a core dump would hold keys in clear.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps can't be forbidden");
    }
}
