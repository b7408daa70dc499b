//! Node programs for the tests: each folder `NAME/` with a `package.json` and its `package-lock.json` gets its packages
//! below `target/`.
//!
//! Needs `node` and `npm`, and npm's registry for the first run. A test is left out if one of them is missing
//! (`left_out.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::left_out::lacking_npm;

/// The folder of the programs of a folder of tests, installed anew if they are missing or the lock file has changed; or
/// the name of what it lacks.
pub fn programs(name: &str) -> Result<PathBuf, String> {
    if let Some(lacking) = lacking_npm() {
        return Err(lacking);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let folder = target.join(format!("node-{name}"));
    let wanted = fs::read_to_string(here.join("package-lock.json")).expect("the lock file is there");
    let (programs, stamp) = (folder.join("node_modules/.bin"), folder.join("installed.json"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(programs);
    }
    fs::create_dir_all(&folder).expect("made");
    for file in ["package.json", "package-lock.json"] {
        fs::copy(here.join(file), folder.join(file)).expect("copied");
    }
    let mut install = Command::new("npm");
    // No package needs a script to be installed, and some send where they are.
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
    let installed = install.output().expect("npm is there");
    if !installed.status.success() {
        let said = String::from_utf8_lossy(&installed.stderr);
        let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("npm says nothing");
        return Err(format!("npm can't install what tests/{name} names; is its registry reachable? {first}"));
    }
    fs::write(stamp, wanted).expect("noted");
    Ok(programs)
}
