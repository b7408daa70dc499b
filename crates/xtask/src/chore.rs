//! Chores that run other programs, most of them cargo, in the root of the repository. They name targets and no package: so
//! dependencies keep the features that they have in the whole workspace, and what was built for the tests serves again.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{landed, setup};

/// The test that compares the live catalogue with `policies/matrix.snap`, or writes it.
const MATRIX_TEST: &str = "policies::the_catalogue_is_what_the_matrix_says";

/// Writes the OpenAPI document; the old one stays where the server does not build.
pub fn openapi(root: &Path) -> Result<(), String> {
    let document = output(cargo(root, &["run", "-q", "--bin", "lethe", "--", "openapi"]))?;
    let path = root.join("openapi/openapi.json");
    fs::create_dir_all(root.join("openapi"))
        .and_then(|()| fs::write(&path, document))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes the policy matrix.
pub fn matrix(root: &Path) -> Result<(), String> {
    let mut command = cargo(root, &["test", "-q", "--test", "main", "--", "--exact", MATRIX_TEST]);
    run(command.env("UPDATE_MATRIX", "1"))
}

/// Format, lints, documentation, landed migrations, dependencies.
pub fn check(root: &Path) -> Result<(), String> {
    setup::components(root)?;
    run(&mut cargo(root, &["fmt", "--all", "--check"]))?;
    landed::run(&root.join("sql"), false)?;
    run(&mut cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo(root, &["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    if installed(root, "deny") {
        return run(&mut cargo(root, &["deny", "--workspace", "check"]));
    }
    eprintln!("xtask: cargo-deny is not installed: dependencies are not checked (cargo install cargo-deny)");
    Ok(())
}

/// All tests, on a machine that has what they need; `more` goes to `cargo test`.
pub fn test(root: &Path, more: &[String]) -> Result<(), String> {
    setup::packages(root)?;
    // What a test lacks all the same, such as a way to PyPI, is a failure here.
    run(cargo(root, &["test", "--workspace"]).args(more).env("LETHE_TEST_ALL", "1"))
}

/// The cargo that runs us, or the one that is found.
pub fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root);
    command
}

fn installed(root: &Path, subcommand: &str) -> bool {
    let mut command = cargo(root, &[subcommand, "--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The command as one would type it.
fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

pub fn run(command: &mut Command) -> Result<(), String> {
    eprintln!("xtask: {}", typed(command));
    let status = command.status().map_err(|error| format!("{}: {error}", typed(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", typed(command))) }
}

fn output(mut command: Command) -> Result<Vec<u8>, String> {
    eprintln!("xtask: {}", typed(&command));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", typed(&command)))?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{}: {}", typed(&command), output.status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_named_with_its_status() {
        let mut command = Command::new("/bin/sh");
        let fault = run(command.args(["-c", "exit 3"])).expect_err("it fails");
        assert_eq!(fault, "sh -c exit 3: exit status: 3");
        assert!(run(&mut Command::new("/no/such/program")).expect_err("it is not there").starts_with("program: "));
    }

    #[test]
    fn output_is_given_where_the_command_succeeds() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            output(command)
        };
        assert_eq!(shell("printf '{}'").expect("it succeeds"), b"{}");
        assert!(shell("printf '{'; exit 1").is_err());
    }
}
