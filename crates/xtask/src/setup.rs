//! What a machine needs for all tests, and how to install it: the one list of packages, for `cargo xtask test` and so
//! for CI.
//!
//! Promises: says what is missing and for what, before it installs it; installs nothing if nothing is missing; says
//! what is still missing afterwards. Refuses to install anything but packages of Debian and Ubuntu.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::command::{cargo, run};

/// The oldest major version of PostgreSQL that serves.
const OLDEST_POSTGRES: u32 = 15;

/// A package of Debian and Ubuntu.
struct Package {
    name: &'static str,
    needed_for: &'static str,
    is_there: fn(&Machine) -> bool,
}

const PACKAGES: [Package; 10] = [
    Package { name: "build-essential", needed_for: "linking, and C code of dependencies", is_there: |it| it.has("cc") },
    Package { name: "postgresql", needed_for: "nearly every test", is_there: Machine::has_postgres },
    Package { name: "python3", needed_for: "the tests of mail, buckets and clients", is_there: |it| it.has("python3") },
    Package {
        name: "python3-venv",
        needed_for: "their Python environments",
        is_there: |it| it.python_runs(&["-c", "import ensurepip, venv"]),
    },
    Package {
        name: "python3-pip",
        needed_for: "what they install from PyPI",
        is_there: |it| it.python_runs(&["-m", "pip", "--version"]),
    },
    Package { name: "curl", needed_for: "the commands of the documents", is_there: |it| it.has("curl") },
    Package { name: "faketime", needed_for: "the faults of clocks", is_there: |it| it.has("faketime") },
    Package { name: "npm", needed_for: "a client, and the linters of the document", is_there: |it| it.has("npm") },
    Package { name: "golang-go", needed_for: "Go's check of the published log", is_there: |it| it.has("go") },
    Package {
        name: "golang-golang-x-mod-dev",
        needed_for: "Go's check of the published log",
        is_there: |it| it.root.join("usr/share/gocode/src/golang.org/x/mod/sumdb").is_dir(),
    },
];

/// Where programs are looked for.
struct Machine {
    path: OsString,
    root: PathBuf,
    postgres_bin: Option<PathBuf>,
}

impl Machine {
    fn this() -> Self {
        Self {
            path: env::var_os("PATH").unwrap_or_default(),
            root: PathBuf::from("/"),
            postgres_bin: env::var_os("LETHE_POSTGRES_BIN").filter(|dir| !dir.is_empty()).map(PathBuf::from),
        }
    }

    fn missing(&self) -> Vec<&'static Package> {
        PACKAGES.iter().filter(|package| !(package.is_there)(self)).collect()
    }

    fn find(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path).map(|dir| dir.join(program)).find(|file| file.is_file())
    }

    fn has(&self, program: &str) -> bool {
        self.find(program).is_some()
    }

    fn python_runs(&self, args: &[&str]) -> bool {
        let Some(python) = self.find("python3") else { return false };
        let mut command = Command::new(python);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Looks where the server looks: only in the named folder if one is named; else in the path, then in the packages'
    /// folders.
    fn has_postgres(&self) -> bool {
        if let Some(dir) = &self.postgres_bin {
            return dir.join("postgres").is_file();
        }
        let packaged = fs::read_dir(self.root.join("usr/lib/postgresql")).into_iter().flatten().flatten();
        let fit = |folder: &Path| {
            let major = folder.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
            major.is_some_and(|major| major >= OLDEST_POSTGRES) && folder.join("bin/postgres").is_file()
        };
        self.find("postgres").is_some_and(|program| is_new_postgres(&program))
            || packaged.map(|entry| entry.path()).any(|folder| fit(&folder))
    }
}

/// Whether a `postgres` says that it is new enough.
fn is_new_postgres(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.split_once("(PostgreSQL) ").map_or("", |(_, version)| version);
    let major =
        version.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= OLDEST_POSTGRES)
}

/// Installs missing packages with apt, as root or by sudo.
pub fn packages(root: &Path) -> Result<(), String> {
    let machine = Machine::this();
    let missing = machine.missing();
    if missing.is_empty() {
        return Ok(());
    }
    for Package { name, needed_for, .. } in &missing {
        eprintln!("xtask: {name} is missing, for {needed_for}");
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("apt-get install {}", names.join(" "));
    if !machine.has("apt-get") {
        return Err(format!("there is no apt-get: install by hand what Debian has as `{by_hand}`"));
    }
    if !is_root()? && !machine.has("sudo") {
        return Err(format!("there is no sudo: run `{by_hand}` as root"));
    }
    eprintln!("xtask: installing {}", names.join(" "));
    run(&mut as_root(root, &["apt-get", "update", "-qq"])?)?;
    let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    run(as_root(root, &quiet)?.args(&names))?;
    let missing: Vec<&str> = Machine::this().missing().iter().map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "still missing, although apt-get installed it: {} (PostgreSQL must be {OLDEST_POSTGRES} or newer)",
        missing.join(" ")
    ))
}

/// Adds the components of cargo that the checks need.
pub fn components(root: &Path) -> Result<(), String> {
    let there = |component: &str| {
        let mut command = cargo(root, &[component, "--version"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if there("fmt") && there("clippy") {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    run(command.args(["component", "add", "rustfmt", "clippy"]).current_dir(root))
        .map_err(|fault| format!("cargo's `fmt` and `clippy` are missing: {fault}"))
}

fn is_root() -> Result<bool, String> {
    let output = Command::new("id").arg("-u").output().map_err(|error| format!("id: {error}"))?;
    Ok(output.stdout.trim_ascii() == b"0")
}

fn as_root(root: &Path, words: &[&str]) -> Result<Command, String> {
    let words = if is_root()? { words.to_vec() } else { [&["sudo"][..], words].concat() };
    let (program, args) = words.split_first().expect("a command has a program");
    let mut command = Command::new(program);
    command.args(args).current_dir(root).stdin(Stdio::null());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(path: &Path, script: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, script).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("set");
    }

    fn names(machine: &Machine) -> Vec<&str> {
        machine.missing().iter().map(|package| package.name).collect()
    }

    #[test]
    fn a_bare_machine_lacks_everything_and_a_full_one_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (root, bin) = (dir.path().to_owned(), dir.path().join("bin"));
        let machine = Machine { path: bin.clone().into(), root: root.clone(), postgres_bin: None };
        let all: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
        assert_eq!(names(&machine), all);

        for program in ["cc", "curl", "faketime", "go", "npm", "python3"] {
            put(&bin.join(program), "#!/bin/sh\n");
        }
        put(&root.join("usr/lib/postgresql/14/bin/postgres"), "");
        fs::create_dir_all(root.join("usr/share/gocode/src/golang.org/x/mod/sumdb")).expect("made");
        assert_eq!(names(&machine), ["postgresql"], "14 is too old");
        put(&root.join("usr/lib/postgresql/17/bin/postgres"), "");
        assert_eq!(names(&machine), [""; 0]);
        fs::remove_dir_all(root.join("usr/lib/postgresql")).expect("removed");
        put(&bin.join("postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 14.9'\n");
        assert_eq!(names(&machine), ["postgresql"], "14 is too old on the path as well");
        put(&bin.join("postgres"), "#!/bin/sh\necho 'postgres (PostgreSQL) 18beta1'\n");
        assert_eq!(names(&machine), [""; 0]);

        let elsewhere = Machine { postgres_bin: Some(root.join("nowhere")), ..machine };
        assert_eq!(names(&elsewhere), ["postgresql"], "a folder that is named counts alone");
    }

    #[test]
    fn a_python_without_its_modules_lacks_these_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let machine = Machine { path: dir.path().into(), root: dir.path().to_owned(), postgres_bin: None };
        put(&dir.path().join("python3"), "#!/bin/sh\n[ \"$2\" = pip ]\n");
        let missing = names(&machine);
        assert!(missing.contains(&"python3-venv") && !missing.contains(&"python3-pip"), "{missing:?}");
        assert!(!missing.contains(&"python3"), "{missing:?}");
    }
}
