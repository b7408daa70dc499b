//! Other programs: each command is printed before it runs, and a command that fails is named with its status.

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

/// The cargo that runs this program, or else the cargo in the path.
pub fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root);
    command
}

/// Git, in the repository.
pub fn git(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(args).current_dir(root);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<(), String> {
    eprintln!("xtask: {}", typed(command));
    let status = command.status().map_err(|error| format!("{}: {error}", typed(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", typed(command))) }
}

/// Runs a command to its end, and returns what it writes to standard output.
pub fn output(mut command: Command) -> Result<Vec<u8>, String> {
    eprintln!("xtask: {}", typed(&command));
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("{}: {error}", typed(&command)))?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{}: {}", typed(&command), output.status)) }
}

/// The command as a person would type it.
fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
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
