//! Puts the version of the programs together: the package's and, in a release build, the commit that it was built of.
//!
//! A build outside the repository names no commit, so that it depends on nothing but the sources. A debug build names
//! none either, because everything would be built again after each commit.

use std::{env, path::Path, process::Command};

/// What a release is built of. Cargo runs this file again when something here changes.
const SOURCES: [&str; 9] =
    ["Cargo.lock", "Cargo.toml", "crates", "domain", "openapi", "policies", "projections", "sql", "src"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    let built_of = match env::var("PROFILE").as_deref() {
        Ok("release") => commit().map(|commit| format!(" ({commit})")).unwrap_or_default(),
        _ => " (debug build)".to_owned(),
    };
    println!("cargo:rustc-env=LETHE_VERSION={version}{built_of}");
}

/// The commit, with `-modified` if a file was changed since. `None` outside the repository.
fn commit() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    // The sources may have been unpacked inside another repository.
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    for moves in ["HEAD", "logs/HEAD"] {
        println!("cargo:rerun-if-changed={}", root.join(git(root, &["rev-parse", "--git-path", moves])?).display());
    }
    git(root, &["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=-modified"])
}

fn git(root: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).current_dir(root).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
