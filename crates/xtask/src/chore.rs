//! Chores that run other programs, most of them cargo, in the root of the repository. They name targets and no package,
//! so that dependencies keep the features that they have in the whole workspace, and builds for the tests are used
//! again.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    command::{cargo, output, run},
    contract, landed, layers, release, setup,
};

/// The test that compares the live catalogue with `policies/matrix.snap`, or writes it.
const MATRIX_TEST: &str = "policies::the_catalogue_is_what_the_matrix_says";
const FUZZ_TEST: &str = "fuzz::schemathesis_finds_nothing";
const MODEL_TESTS: [&str; 2] = [
    "model::the_server_does_what_a_model_of_its_documentation_does",
    "group::whatever_others_do_each_person_has_their_own_days_and_answers",
];

/// The test that compares the documented refusals with those that all tests have seen.
const ANSWERS_TEST: &str = "answers::every_documented_refusal_was_seen";

/// In so many rounds each kind of fault comes once.
const KINDS_OF_FAULTS: u32 = 15;

/// Writes both forms of the OpenAPI document. If the server does not build, the old documents stay.
pub fn openapi(root: &Path) -> Result<(), String> {
    for (name, form) in [("openapi.json", &[][..]), ("openapi-3.0.json", &["--older"])] {
        let document = output(cargo(root, &[&["run", "-q", "--bin", "lethe", "--", "openapi"], form].concat()))?;
        let path = root.join("openapi").join(name);
        fs::write(&path, document).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Writes the policy matrix.
pub fn matrix(root: &Path) -> Result<(), String> {
    let mut command = cargo(root, &["test", "-q", "--test", "main", "--", "--exact", MATRIX_TEST]);
    run(command.env("UPDATE_MATRIX", "1"))
}

/// Checks format, lints, documentation, landed migrations, layers, the contract, the release and dependencies.
pub fn check(root: &Path) -> Result<(), String> {
    setup::components(root)?;
    run(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    run(&mut cargo(root, &["fmt", "--check", "--manifest-path", "openapi/rust/generator/Cargo.toml"]))?;
    landed::run(&root.join("sql"), false)?;
    layers::run(root, false)?;
    contract::check(root)?;
    release::run(root)?;
    run(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(root, &["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if installed(root, "deny") {
        run(&mut cargo(root, &["deny", "--workspace", "check"]))?;
        let generator =
            ["deny", "--manifest-path", "openapi/rust/generator/Cargo.toml", "check", "--config", "deny.toml"];
        return run(&mut cargo(root, &generator));
    }
    eprintln!("xtask: cargo-deny is not installed: dependencies are not checked (cargo install cargo-deny)");
    Ok(())
}

/// Runs all tests, after it has installed what they need. `more` goes to `cargo test`.
pub fn test(root: &Path, more: &[String]) -> Result<(), String> {
    setup::packages(root)?;
    let is_whole = more.is_empty();
    if is_whole {
        // What an earlier run saw says nothing of this one.
        drop(fs::remove_dir_all(root.join("target/tmp/answers")));
    }
    // With this variable, a test fails if something that it needs is missing, such as access to PyPI.
    run(cargo(root, &["test", "--workspace"]).args(more).env("LETHE_TEST_ALL", "1"))?;
    if is_whole {
        run(&mut cargo(root, &["test", "-q", "--test", "main", "--", "--ignored", "--exact", ANSWERS_TEST]))?;
        faults(root, KINDS_OF_FAULTS, 1, &[])?;
    }
    Ok(())
}

/// Runs the test that calls every operation with random values, with this number of calls.
pub fn fuzz(root: &Path, examples: u32, seed: u64) -> Result<(), String> {
    setup::packages(root)?;
    let mut command = cargo(root, &["test", "--test", "main", "--", "--exact", FUZZ_TEST]);
    command.env("LETHE_FUZZ_EXAMPLES", examples.to_string()).env("LETHE_FUZZ_SEED", seed.to_string());
    run(command.env("LETHE_TEST_ALL", "1"))
}

/// Builds the server, its auditor and the program that makes faults, and lets it make so many.
pub fn faults(root: &Path, rounds: u32, seed: u64, more: &[String]) -> Result<(), String> {
    setup::packages(root)?;
    // With the tests, because without them crates would be built anew with fewer features.
    run(&mut cargo(root, &["build", "--workspace", "--bins", "--tests"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new(target.join("debug/faults"));
    command.current_dir(root).args(["--rounds", &rounds.to_string(), "--seed", &seed.to_string()]).args(more);
    run(command.env("LETHE_TEST_ALL", "1"))
}

/// Runs the test that compares the server with a model, and the one of persons who act at the same moments, with this
/// number of sequences of steps.
pub fn model(root: &Path, cases: u32, seed: Option<u64>) -> Result<(), String> {
    let mut command = cargo(root, &[&["test", "--test", "main", "--", "--exact"][..], &MODEL_TESTS].concat());
    if let Some(seed) = seed {
        command.env("LETHE_MODEL_SEED", seed.to_string());
    }
    run(command.env("LETHE_MODEL_CASES", cases.to_string()))
}

fn installed(root: &Path, subcommand: &str) -> bool {
    let mut command = cargo(root, &[subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
