//! The command line: starts logging and the runtime, runs one command, and turns its outcome into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::{io::IsTerminal, process::ExitCode};

use mimalloc::MiMalloc;
use terminal::note;
use tracing_subscriber::EnvFilter;

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

/// The threads of the server: one for every two cores, unless `TOKIO_WORKER_THREADS` says how many, because PostgreSQL needs
/// the others for the same requests. More threads would wake one another for each of them.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        runtime.worker_threads((cores / 2).max(1));
    }
    runtime.enable_all().build()
}

/// Forbids core dumps, because a core dump would hold keys in clear.
fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core dumps can't be forbidden");
    }
}
