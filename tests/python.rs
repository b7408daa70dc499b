//! Python programs for the tests: each folder `NAME/` with a `requirements.txt` gets a virtual environment below
//! `target/`.
//!
//! Needs `python3` with `venv`, and a package index for the first run. A test is left out if one of them is missing
//! (`left_out.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::left_out::lacking_python;

/// Runs a program to its end and returns its output; panics with the output if the program fails.
pub fn run(what: &str, command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{what}: {:?} does not run: {error}", command.get_program()));
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    assert!(output.status.success(), "{what} failed:\n{written}");
    written
}

/// The virtual environment of a folder of tests, made anew if it is missing or the requirements have changed; or the
/// name of what it lacks.
pub fn environment(name: &str) -> Result<PathBuf, String> {
    if let Some(lacking) = lacking_python() {
        return Err(lacking);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name).join("requirements.txt");
    let venv = target.join(format!("python-{name}-venv"));
    let wanted = fs::read_to_string(&requirements).expect("the requirements are there");
    let stamp = venv.join("requirements.txt");
    // The environment's Python is a link to the system's, which may have been removed.
    let runs = venv.join("bin/python").exists();
    if runs && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(venv);
    }
    run("making a virtual environment", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--requirement"]);
    let installed = install.arg(&requirements).output().expect("the environment has a python");
    if !installed.status.success() {
        let said = String::from_utf8_lossy(&installed.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("pip says nothing");
        return Err(format!("pip can't install what tests/{name}/requirements.txt names; is PyPI reachable? {last}"));
    }
    fs::write(stamp, wanted).expect("noted");
    Ok(venv)
}
