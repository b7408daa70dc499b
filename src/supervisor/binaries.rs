//! PostgreSQL's own programs: where they are, and the account that runs them.
//!
//! Promises that a found folder holds every program the supervisor needs, of a version it supports, and that no program
//! runs as root. If `LETHE_POSTGRES_BIN` is set, only that folder counts: the supervisor refuses to look elsewhere.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use crate::supervisor::files::{STOP_LIMIT, SupervisorError, at, poll, read_if_present, remove_if_present};

const OLDEST_MAJOR: u32 = 15;
const UNFINISHED: &str = "postgres.new-";
const PROGRAMS: [&str; 3] = ["initdb", "postgres", "pg_ctl"];

/// The folders under which packages put one folder for each major version, with the text before the number in that
/// folder's name.
const PACKAGED: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// Finds the folder of `initdb`, `postgres` and `pg_ctl`, version 15 or newer.
///
/// If `LETHE_POSTGRES_BIN` is set, it decides. Otherwise `PATH` comes first, then the packages' folders, newest first.
///
/// # Errors
/// [`SupervisorError::NotInstalled`] says in one line how to get PostgreSQL; [`SupervisorError::UnfitBinDir`] means
/// that `LETHE_POSTGRES_BIN` names a folder without it.
pub fn find_bin_dir() -> Result<PathBuf, SupervisorError> {
    if let Some(dir) = chosen_dir() {
        return match major_in(&dir) {
            Some(major) if major >= OLDEST_MAJOR => Ok(dir),
            _ => Err(SupervisorError::UnfitBinDir(dir)),
        };
    }
    let fit = |dir: &PathBuf| major_in(dir).is_some_and(|major| major >= OLDEST_MAJOR);
    usual_dirs().find(fit).ok_or(SupervisorError::NotInstalled)
}

/// Finds the programs of one major version, because a newer server does not open an older cluster.
pub(super) fn find_bin_dir_of(major: u32) -> Result<PathBuf, SupervisorError> {
    let fit = |dir: &PathBuf| major_in(dir) == Some(major);
    let found = match chosen_dir() {
        Some(dir) => Some(dir).filter(fit),
        None => usual_dirs().find(fit),
    };
    found.ok_or(SupervisorError::MajorMissing(major))
}

fn chosen_dir() -> Option<PathBuf> {
    let dir = env::var_os("LETHE_POSTGRES_BIN").filter(|dir| !dir.is_empty())?;
    Some(PathBuf::from(dir))
}

fn usual_dirs() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A link on the path is followed, because `psql` and `pgbench` lie beside the program that it leads to.
    let real_dir = |dir: PathBuf| Some(fs::canonicalize(dir.join("postgres")).ok()?.parent()?.to_owned());
    let on_path: Vec<_> = env::split_paths(&path).filter_map(real_dir).collect();
    on_path.into_iter().chain(packaged_dirs())
}

fn packaged_dirs() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix) in PACKAGED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| leading_number(name.strip_prefix(prefix)?));
            found.extend(number.map(|number| (number, entry.path().join("bin"))));
        }
    }
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// The major version of a complete installation, asked of `postgres` itself because a folder's name may be wrong.
fn major_in(dir: &Path) -> Option<u32> {
    if !PROGRAMS.iter().all(|program| dir.join(program).is_file()) {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
    leading_number(String::from_utf8_lossy(&output.stdout).split_once("(PostgreSQL) ")?.1)
}

/// The digits at the start of a text: `17` of `17.2`, `18` of `18beta1`.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The operating system account that owns the cluster and runs PostgreSQL's programs.
#[derive(Debug)]
pub(super) struct Account {
    /// The user that this process runs as.
    own_uid: u32,
    /// The user and group that the programs run as; `None` if this process is not root, so that they run as its own
    /// user.
    become_ids: Option<(u32, u32)>,
}

impl Account {
    /// For root: the owner of the existing cluster `data`, else `postgres`, else `nobody`. For any other user: that
    /// user.
    pub(super) fn for_cluster(own_uid: u32, data: &Path) -> Result<Self, SupervisorError> {
        if own_uid != 0 {
            return Ok(Self { own_uid, become_ids: None });
        }
        // The owner is kept even when a later package adds the user `postgres`, because a server opens only its own
        // files.
        let owner = fs::metadata(data.join("PG_VERSION")).ok().map(|file| (file.uid(), file.gid()));
        let passwd = fs::read_to_string("/etc/passwd").map_err(at("/etc/passwd"))?;
        let become_ids = owner
            .filter(|(uid, _)| *uid != 0)
            .or_else(|| ids_of(&passwd, "postgres"))
            .or_else(|| ids_of(&passwd, "nobody"))
            .ok_or(SupervisorError::NoAccount)?;
        Ok(Self { own_uid, become_ids: Some(become_ids) })
    }

    /// The user that the programs run as.
    fn uid(&self) -> u32 {
        self.become_ids.map_or(self.own_uid, |(uid, _)| uid)
    }

    /// A command that runs as this account. Of our environment it gets only the variables that find programs and
    /// libraries, because the rest may hold secrets, or `PG…` settings meant for another server.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null());
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        if let Some((uid, gid)) = self.become_ids {
            // When root sets a uid, the standard library also drops the supplementary groups.
            command.gid(gid).uid(uid);
        }
        command
    }

    /// Runs a command to its end.
    pub(super) fn output(&self, program: &Path, args: &[&OsStr]) -> Result<Output, SupervisorError> {
        self.command(program).args(args).output().map_err(at(program))
    }

    /// Whether this account can enter `dir`. This is tried, not computed, because access lists and mounts matter too.
    pub(super) fn can_enter(&self, dir: &Path) -> Result<bool, SupervisorError> {
        if self.become_ids.is_none() {
            return Ok(true);
        }
        Ok(self.output(Path::new("test"), &["-x".as_ref(), dir.as_ref()])?.status.success())
    }

    /// Makes `dir` a folder of this account that nobody else can enter.
    ///
    /// An existing folder is taken over only if it is ours already: a stranger may have made one under the temporary
    /// folder to catch the socket.
    pub(super) fn private_dir(&self, dir: &Path) -> Result<(), SupervisorError> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(dir)(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(dir).map_err(at(dir))?;
        if !found.is_dir() || ![self.uid(), self.own_uid].contains(&found.uid()) {
            return Err(SupervisorError::ForeignDir(dir.into()));
        }
        if let Some((uid, gid)) = self.become_ids {
            lchown(dir, Some(uid), Some(gid)).map_err(at(dir))?;
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(at(dir))
    }
}

/// Our effective user id, asked of `id` because the standard library does not tell it.
pub(super) fn current_uid() -> Result<u32, SupervisorError> {
    let output = Command::new("id").arg("-u").stdin(Stdio::null()).output().map_err(at("id"))?;
    leading_number(&String::from_utf8_lossy(&output.stdout)).ok_or(SupervisorError::NoAccount)
}

fn ids_of(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
    let mut ids = line.split(':').skip(2).map(|id| id.parse().ok());
    Some((ids.next()??, ids.next()??))
}

/// PostgreSQL's programs and the account that runs them.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) dir: PathBuf,
    pub(super) account: Account,
}

impl Programs {
    /// Creates the cluster beside its final path, and moves it there when it is complete and on disk. So a cluster at
    /// the final path can be trusted.
    pub(super) fn create_cluster(&self, home: &Path, data: &Path) -> Result<(), SupervisorError> {
        for entry in fs::read_dir(home).map_err(at(home))?.flatten() {
            if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
                // An `initdb` that outlived a killed run may still use the folder; then the next start removes it.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        // The name holds our process id, so that such an `initdb` does not write into our folder.
        let unfinished = home.join(format!("{UNFINISHED}{}", std::process::id()));
        self.account.private_dir(&unfinished)?;
        let fixed = ["-U", "postgres", "-E", "UTF8", "--no-locale", "--data-checksums", "--auth=reject", "-D"];
        self.run("initdb", fixed, &unfinished)?;
        fs::rename(&unfinished, data).map_err(at(data))?;
        File::open(home).and_then(|home| home.sync_all()).map_err(at(home))
    }

    /// Starts the server, which writes to `log`.
    pub(super) fn spawn_server(
        &self,
        data: &Path,
        log: &File,
        settings: &[(String, OsString)],
    ) -> Result<Child, SupervisorError> {
        let program = self.dir.join("postgres");
        let mut command = self.account.command(&program);
        command.arg("-D").arg(data);
        for (name, value) in settings {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg("-c").arg(setting);
        }
        let log = || log.try_clone().map_err(at(&program));
        // The server gets its own process group, so that Ctrl-C reaches only us, and we stop the server after its
        // clients are done.
        command.process_group(0).stdout(log()?).stderr(log()?);
        command.spawn().map_err(at(&program))
    }

    /// Tells the running server of `data` to stop, in the mode `fast` or `immediate`, and waits for its end if `wait`
    /// is true.
    pub(super) fn stop_server(&self, data: &Path, mode: &str, wait: bool) -> Result<(), SupervisorError> {
        let waiting = if wait { "--wait" } else { "--no-wait" };
        self.run("pg_ctl", ["stop", "--mode", mode, waiting, "--timeout=60", "-D"], data)
    }

    /// Stops the server of `data` that a killed run left behind. The caller holds the folder's lock, so nobody uses it.
    ///
    /// A process that only has the number of an ended server is not touched. Then the file that names it is removed,
    /// because PostgreSQL would take it for a running server.
    pub(super) fn stop_left_behind(&self, data: &Path) -> Result<(), SupervisorError> {
        let pid_file = data.join("postmaster.pid");
        if let Some(pid) = read_if_present(&pid_file)?.as_deref().and_then(leading_number) {
            match self.holder(pid, data)? {
                Holder::Cluster => self.end_server(pid, data)?,
                Holder::Stranger => remove_if_present(&pid_file).map_err(at(&pid_file))?,
                Holder::Unclear => {}
            }
        }
        self.end_orphaned_sessions(data)
    }

    /// Ends a server step by step; the next step is taken only if the process still lives.
    fn end_server(&self, pid: u32, data: &Path) -> Result<(), SupervisorError> {
        let lives = || matches!(self.holder(pid, data), Ok(Holder::Cluster));
        for mode in ["fast", "immediate"] {
            // An error may only mean that the file disappeared while `pg_ctl` read it, so the process decides.
            if self.stop_server(data, mode, true).is_ok() {
                poll(STOP_LIMIT, || !lives());
            }
            if !lives() {
                return Ok(());
            }
        }
        self.signal("KILL", pid)?;
        poll(STOP_LIMIT, || !lives());
        Ok(())
    }

    /// Ends sessions that still run after their server was killed, because no other server can start while they hold
    /// its shared memory. A session that is stopped (SIGSTOP) obeys SIGKILL only. Killing it loses nothing: its server
    /// is gone, so the next one recovers from the WAL anyway. This needs `/proc`; without it the start fails, and the
    /// log says why.
    fn end_orphaned_sessions(&self, data: &Path) -> Result<(), SupervisorError> {
        let is_session = |pid: &u32| matches!(self.holder(*pid, data), Ok(Holder::Cluster));
        for signal in ["QUIT", "KILL"] {
            let sessions: Vec<u32> = self.processes().filter(is_session).collect();
            for pid in &sessions {
                self.signal(signal, *pid)?;
            }
            if poll(STOP_LIMIT, || !sessions.iter().any(is_session)) {
                break;
            }
        }
        // If a session still lives, PostgreSQL refuses to start.
        Ok(())
    }

    /// The processes of our account.
    fn processes(&self) -> impl Iterator<Item = u32> {
        let uid = self.account.uid();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = processes.filter(move |process| process.metadata().is_ok_and(|process| process.uid() == uid));
        ours.filter_map(|process| process.file_name().to_str()?.parse().ok())
    }

    /// Sends a signal as the account, which has no right over processes of other accounts.
    fn signal(&self, name: &str, pid: u32) -> Result<(), SupervisorError> {
        let args = ["kill", name, &pid.to_string()].map(OsString::from);
        let args: Vec<&OsStr> = args.iter().map(OsString::as_os_str).collect();
        // `pg_ctl` fails when the process has ended meanwhile; then no signal is needed.
        self.account.output(&self.dir.join("pg_ctl"), &args).map(drop)
    }

    /// Says whether the process `pid` belongs to the cluster `data`.
    fn holder(&self, pid: u32, data: &Path) -> Result<Holder, SupervisorError> {
        if !Path::new("/proc/self/stat").exists() {
            return self.holder_by_ps(pid, data);
        }
        let process = Path::new("/proc").join(pid.to_string());
        // `<pid> (<name>) <state> …`
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { return Ok(Holder::Unclear) };
        if stat.contains(") Z ") {
            return Ok(Holder::Stranger);
        }
        let cwd = process.join("cwd");
        let found = match fs::read_link(&cwd) {
            Ok(found) => found.into_os_string(),
            // In a container root may be unable to see the processes of other accounts, but these accounts can.
            Err(_) => {
                let output = self.account.output(Path::new("readlink"), &["-n".as_ref(), cwd.as_ref()])?;
                OsString::from_vec(output.stdout)
            }
        };
        let is_postgres = stat.contains(" (postgres) ") || stat.contains(" (postmaster) ");
        Ok(match (found == data, is_postgres) {
            (true, true) => Holder::Cluster,
            (false, _) if !found.is_empty() => Holder::Stranger,
            _ => Holder::Unclear,
        })
    }

    fn holder_by_ps(&self, pid: u32, data: &Path) -> Result<Holder, SupervisorError> {
        let pid = pid.to_string();
        let output = self.account.output(Path::new("ps"), &["-o", "command=", "-p", &pid].map(OsStr::new))?;
        let command = String::from_utf8_lossy(&output.stdout);
        Ok(match (command.contains("postgres"), command.contains(&*data.to_string_lossy())) {
            (true, true) => Holder::Cluster,
            (false, _) if !command.trim().is_empty() => Holder::Stranger,
            _ => Holder::Unclear,
        })
    }

    /// Runs one of the programs with a folder as its last argument, to its end.
    fn run<const N: usize>(&self, name: &'static str, args: [&str; N], dir: &Path) -> Result<(), SupervisorError> {
        let mut args = args.map(OsStr::new).to_vec();
        args.push(dir.as_ref());
        let output = self.account.output(&self.dir.join(name), &args)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(SupervisorError::Program { program: name, output: said })
    }
}

/// The owner of a process number.
enum Holder {
    /// The cluster's server or one of its sessions.
    Cluster,
    /// Another process, or a zombie.
    Stranger,
    /// No process, a process of another account, or one that can't be recognised. PostgreSQL's own check decides.
    Unclear,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_or_without_a_minor_number() {
        assert_eq!(leading_number("17.2 (Debian 17.2-1)"), Some(17));
        assert_eq!(leading_number("18beta1"), Some(18));
        assert_eq!(leading_number("latest"), None);
    }

    #[test]
    fn the_advice_fits_one_line() {
        let advice = SupervisorError::NotInstalled.to_string();
        assert!(!advice.contains('\n') && advice.contains("LETHE_POSTGRES_BIN"), "{advice}");
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd = "postgres2:x:7:8::/:\npostgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/sh\nbroken:x\n";
        assert_eq!(ids_of(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(passwd, "broken"), None);
        assert_eq!(ids_of(passwd, "nobody"), None);
    }
}
