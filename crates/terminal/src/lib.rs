//! How the programs speak to people and scripts. Results go to the standard output, as lines for people or as JSON for
//! programs; everything else goes to the standard error.
//!
//! Promises: a pipe that its reader has closed makes no program panic, fail or stop. What nobody reads is dropped and
//! the work goes on, because an unread line does less harm than half a rotation of keys. All output goes through this
//! crate: the macros of the standard library panic where a pipe is closed, so clippy refuses them in both programs.

mod quote;

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

use clap::CommandFactory;
pub use clap_complete::Shell;
use serde::Serialize;

pub use quote::quoted;

/// The version of the package and, in a release build, the commit that it was built of.
pub const VERSION: &str = env!("LETHE_VERSION");

/// The exit code after a failure. Clap ends with 2 where the command line is wrong.
pub const FAILED: u8 = 1;
/// The exit code if everything was examined, and something does not hold.
pub const FOUND: u8 = 3;

/// How results are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Output {
    /// Print results as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
}

impl Output {
    /// Prints a result: the text or, with `--json`, one line of JSON.
    pub fn say(self, text: impl Display, json: impl Serialize) -> io::Result<()> {
        if self.json { print(&(serde_json::to_string(&json)? + "\n")) } else { print(&format!("{text}\n")) }
    }
}

/// Writes to the standard output.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Writes a line to the standard error. A line that can't be written is dropped: there is no other place for it.
pub fn note(text: impl Display) {
    let _ = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Prints the completions of a program for a shell.
pub fn completions<Program: CommandFactory>(shell: Shell) -> io::Result<()> {
    let mut command = Program::command();
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
