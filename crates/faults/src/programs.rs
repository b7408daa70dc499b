//! The programs: the server and the auditor, which lie beside this program; a copy of PostgreSQL's, so that the copy can
//! be moved away; and libfaketime, which shows a program another time.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::outcome::Outcome;

pub struct Programs {
    pub lethe: PathBuf,
    pub auditor: PathBuf,
    /// The copy of the folder of one version of PostgreSQL, which holds `bin`.
    pub postgres: PathBuf,
    /// A folder of programs whose `postgres` runs under another clock, once [`Programs::set_clocked`] has set it.
    pub clocked: PathBuf,
    /// The library that shows another time; `None` if it is not installed.
    pub faketime: Option<PathBuf>,
}

/// Where packages put the library, below `/usr`.
const FAKETIME: [&str; 4] = [
    "lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "lib64/faketime/libfaketime.so.1",
    "lib/faketime/libfaketime.so.1",
];

impl Programs {
    /// Finds the programs, and copies PostgreSQL's into `home`.
    pub fn find(home: &Path) -> Outcome<Self> {
        let beside = |name: &str| -> Outcome<PathBuf> {
            let path = env::current_exe()?.with_file_name(name);
            if !path.exists() {
                return Err(format!("{} is missing: `cargo xtask faults` builds it", path.display()).into());
            }
            Ok(path)
        };
        let postgres = copy_of_postgres(home)?;
        let usr = Path::new("/usr");
        let faketime = FAKETIME.iter().map(|path| usr.join(path)).find(|path| path.exists());
        let clocked = home.join("clocked");
        fs::create_dir(&clocked)?;
        Ok(Self { lethe: beside("lethe")?, auditor: beside("lethe-audit")?, postgres, clocked, faketime })
    }

    pub fn bin(&self) -> PathBuf {
        self.postgres.join("bin")
    }

    /// Fills the folder [`Programs::clocked`]: its `postgres` has a clock that is `offset` off.
    pub fn set_clocked(&self, offset: &str) -> Outcome<()> {
        let library = self.faketime.as_ref().ok_or("libfaketime is not installed")?;
        for entry in fs::read_dir(self.bin())? {
            let link = self.clocked.join(entry?.file_name());
            if !link.exists() && link.file_name() != Some(OsStr::new("postgres")) {
                symlink(self.bin().join(link.file_name().unwrap_or_default()), &link)?;
            }
        }
        let variables = clock(library, offset).map(|(name, value)| format!("{name}='{value}'")).join(" ");
        let script = format!("#!/bin/sh\nexec env {variables} '{}' \"$@\"\n", self.bin().join("postgres").display());
        let path = self.clocked.join("postgres");
        fs::write(&path, script)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }
}

/// The variables of a program whose clock is `offset` off, such as `-2h`. Clocks that only count on stay true, because
/// pauses are measured by them.
pub fn clock(library: &Path, offset: &str) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", offset.to_owned()),
        // Older versions read the second name.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Copies the folder of the newest PostgreSQL, or of the one that `LETHE_POSTGRES_BIN` names. Refuses programs that lie
/// among those of the system, because everything there would be copied.
///
/// PostgreSQL finds its libraries and texts by their paths relative to its programs, so the copy keeps the paths.
fn copy_of_postgres(home: &Path) -> Outcome<PathBuf> {
    let bin = postgres_bin()?;
    let version = bin.parent().ok_or("PostgreSQL's programs lie in no folder")?;
    if ["/", "/usr", "/usr/local"].map(Path::new).contains(&version) {
        let what = "lies among the system's programs; name one in a folder of its own with LETHE_POSTGRES_BIN";
        return Err(format!("the PostgreSQL in {} {what}", bin.display()).into());
    }
    let mut folders = vec![version.to_owned()];
    if let (Ok(number), Some(usr)) = (version.strip_prefix("/usr/lib/postgresql"), version.ancestors().nth(3)) {
        folders.push(usr.join("share/postgresql").join(number));
    }
    let root = home.join("programs");
    for folder in folders {
        let to = root.join(folder.strip_prefix("/")?);
        fs::create_dir_all(to.parent().unwrap_or(&root))?;
        let copied = Command::new("cp").arg("-a").arg(&folder).arg(&to).status()?;
        if !copied.success() {
            return Err(format!("{} could not be copied", folder.display()).into());
        }
    }
    Ok(root.join(version.strip_prefix("/")?))
}

/// Looks where the server looks, but into the packages' folders first.
fn postgres_bin() -> Outcome<PathBuf> {
    if let Some(dir) = env::var_os("LETHE_POSTGRES_BIN").filter(|dir| !dir.is_empty()) {
        return Ok(fs::canonicalize(dir)?);
    }
    let packaged = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = packaged
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").exists())
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).find_map(|dir| fs::canonicalize(dir.join("postgres")).ok());
    let bin = on_path.and_then(|program| program.parent().map(Path::to_owned));
    Ok(bin.ok_or("PostgreSQL is not installed; set LETHE_POSTGRES_BIN to the folder of its programs")?)
}
