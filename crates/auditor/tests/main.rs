//! The program `lethe-audit`: what its exit status says.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn lethe_audit(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lethe-audit"));
    command.args(args).stdin(Stdio::null()).output().expect("it runs")
}

#[test]
fn the_exit_status_tells_a_wrong_command_line_from_what_cannot_be_read() {
    let help = lethe_audit(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["replay", "verify", "mirror", "proof", "witness"] {
        assert!(String::from_utf8_lossy(&help.stdout).contains(&format!("\n  {command} ")), "{command}");
    }
    assert_eq!(lethe_audit(&["verify", "--log", "."]).status.code(), Some(2), "it names no checkpoint and no key");

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| Path::join(folder.path(), name).to_str().expect("UTF-8").to_owned();
    let unread = lethe_audit(&["proof", "--proof", &file("proof"), "--key", &file("log.vkey")]);
    let told = String::from_utf8_lossy(&unread.stderr).into_owned();
    assert!(unread.status.code() == Some(1) && told.starts_with("lethe-audit: "), "{:?} {told}", unread.status);
}
