//! Programs that a machine may lack. Plain `cargo test` leaves a test that needs one out, and prints its name. With
//! `LETHE_TEST_ALL` set, as by `cargo xtask test` and CI, leaving a test out is a failure.
//!
//! Rust's harness can't leave a test out while it runs, and hides a test's output. So the line goes straight to
//! standard error, and the test returns.

use std::{
    io::{ErrorKind, Write, stderr},
    path::Path,
    process::{Command, Stdio},
};

/// The variable that makes leaving out a failure.
const ALL: &str = "LETHE_TEST_ALL";
const GO_MODULES: &str = "/usr/share/gocode/src/golang.org/x/mod/sumdb";
const ADVICE: &str = "`cargo xtask test` installs it on Debian and Ubuntu";

/// Says that the running test is left out, and why. Call it on the test's own thread, which has the test's name.
pub fn left_out(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(std::env::var_os(ALL).is_none(), "{test} would be left out: {why}");
    say(&format!("LEFT OUT {test}: {why}"));
}

/// Writes a line to standard error that the harness does not hide.
pub fn say(line: &str) {
    // An error can't be reported anywhere else.
    let _ = stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// The program or package that Go's tests lack here, if any.
pub fn lacking_go() -> Option<String> {
    if !runs("go", &["version"]) {
        return Some(format!("`go` is missing (package golang-go): {ADVICE}"));
    }
    let missing = format!("{GO_MODULES} is missing (package golang-golang-x-mod-dev): {ADVICE}");
    (!Path::new(GO_MODULES).exists()).then_some(missing)
}

/// The program or module that Python's tests lack here, if any. Packages from PyPI are not checked.
pub fn lacking_python() -> Option<String> {
    if !runs("python3", &["--version"]) {
        return Some(format!("`python3` is missing (packages python3 and python3-venv): {ADVICE}"));
    }
    let missing = format!("python3's `venv` and `ensurepip` are missing (package python3-venv): {ADVICE}");
    (!runs("python3", &["-c", "import ensurepip, venv"])).then_some(missing)
}

/// The program that packages from npm lack here, if any; it brings `node`. The packages are not checked.
pub fn lacking_npm() -> Option<String> {
    (!runs("npm", &["--version"])).then(|| format!("`npm` is missing (package npm): {ADVICE}"))
}

/// The program that the documents' commands lack here, if any.
pub fn lacking_walk() -> Option<String> {
    if !runs("curl", &["--version"]) {
        return Some(format!("`curl` is missing (package curl): {ADVICE}"));
    }
    (!runs("python3", &["--version"])).then(|| format!("`python3` is missing (package python3): {ADVICE}"))
}

/// Ends the run with one sentence if PostgreSQL is missing, because nearly every test needs it.
pub fn require_postgres() {
    if let Err(error) = lethe::supervisor::find_bin_dir() {
        say(&format!("The tests need PostgreSQL, and end here. {error}. {ADVICE}."));
        std::process::exit(1);
    }
}

fn runs(program: &str, args: &[&str]) -> bool {
    let status =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) => status.success(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{program} can't be started: {error}"),
    }
}

/// This test binary again, for one test, on a machine with no programs on its path.
fn on_a_bare_machine(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("we run"));
    command.args(["--exact", test]).env("PATH", "").env_remove(ALL);
    command
}

#[test]
fn what_needs_a_missing_program_is_left_out_by_name_and_fails_where_all_must_run() {
    for (test, program) in [
        ("tree::another_implementation_takes_notes_proofs_tiles_and_leaves", "`go`"),
        ("sdk::the_python_client_walks_every_operation_and_makes_the_journey", "`python3`"),
        ("sdk::the_typescript_client_walks_every_operation_and_makes_the_journey", "`npm`"),
        ("sdk::an_older_client_still_makes_its_journey", "`npm`"),
        ("bucket::files_in_a_bucket_are_whole_sealed_and_gone_when_they_are_removed", "`python3`"),
        ("fuzz::schemathesis_finds_nothing", "`python3`"),
        ("lint::linters_find_nothing_in_the_document", "`npm`"),
        ("walk::the_documents_print_what_they_say", "`curl`"),
        ("mail::an_error_never_repeats_what_the_relay_said_of_somebody", "`python3`"),
    ] {
        let output = on_a_bare_machine(test).output().expect("it runs");
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("1 passed"), "{test} does not exist, or fails:\n{said}\n{told}");
        assert!(told.contains(&format!("LEFT OUT {test}: {program} is missing")), "{told}");
        let output = on_a_bare_machine(test).env(ALL, "1").output().expect("it runs");
        assert!(!output.status.success(), "{test} is left out where all must run");
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("would be left out: {program} is missing")));
    }
}

#[test]
fn without_postgresql_the_run_ends_with_a_sentence() {
    for test in [
        "reads::a_read_of_staff_that_cannot_be_logged_is_not_answered",
        "demo::one_command_runs_it_stops_in_order_goes_on_and_recovers",
    ] {
        let output = on_a_bare_machine(test).env("LETHE_POSTGRES_BIN", "/nowhere").output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("The tests need PostgreSQL, and end here. LETHE_POSTGRES_BIN is /nowhere"), "{told}");
        assert!(!told.contains("panicked") && !String::from_utf8_lossy(&output.stdout).contains("panicked"), "{told}");
    }
}
