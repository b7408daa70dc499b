//! A private PostgreSQL cluster that starts and stops with the server.
//!
//! Promises: one data folder serves one server at a time. A folder that a killed run left behind starts again with
//! every committed transaction, even while processes of that run are still ending. A server that ends while it is
//! needed is started again ([`keep_running`]). A cluster is used only after its creation was complete. The programs
//! never run as root. Refuses: TCP, whatever the caller's options say; a socket that other accounts could reach; an
//! empty cluster instead of one that is lost or out of reach.
//!
//! The data folder holds `lock`, `postgres.log` (and `postgres.log.old` of the run before), `postgres/` (the cluster),
//! `pg_hba.conf` and `run/` (the socket). If the account that runs PostgreSQL can't enter root's data folder, the last
//! three are in `/var/lib/lethe/<hash of its path>/`, and `postgres` is a link to there. If the path of `run/` is too
//! long, or a connection string would have to quote it, the socket is in the temporary folder.

mod binaries;
mod files;
mod keeper;
pub mod version;

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::Child,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use binaries::{Account, Programs, current_uid, find_bin_dir_of, leading_number};

pub use binaries::find_bin_dir;
pub use files::SupervisorError;
pub use keeper::keep_running;

/// The number in the name of the socket file, `.s.PGSQL.5432`; nothing listens on TCP.
const PORT: u16 = 5432;
/// Systems allow a socket's path 104 to 108 bytes, including the closing zero.
const SOCKET_PATH_BYTES: usize = 100;
const START_LIMIT: Duration = Duration::from_secs(120);
const LOG_TAIL_LINES: usize = 20;
const HOME_OF_UNREACHABLE: &str = "/var/lib/lethe";

/// Who may log in, and how. The first rule asks for nothing, because the socket's folder has mode 0700: only the
/// account that runs the server, and root, reach the socket.
const HBA: &str = "local all postgres trust\nlocal all all scram-sha-256\n";

/// A running private PostgreSQL cluster. Dropping it stops it.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    /// Settings of the server's command line. If a setting occurs twice, the last value counts.
    settings: Vec<(String, OsString)>,
    /// `None` until the first server was spawned.
    server: Mutex<Option<Child>>,
    data: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    log_file: File,
    locks: Vec<File>,
    /// Held while the server is started again or stopped, so that a stop never leaves a fresh server behind.
    turn: Mutex<()>,
    /// Set by the first stop and never reset: nothing is started after it.
    stopping: AtomicBool,
}

impl Cluster {
    /// Starts the cluster of the data folder `dir`, and creates both if they do not exist. Blocks until the server
    /// takes connections, which may take minutes after a crash.
    ///
    /// `options` are server settings. The settings that keep the server private come after them, so that options can't
    /// change those.
    ///
    /// # Errors
    /// See [`SupervisorError`]; nothing keeps running after an error.
    pub fn start(dir: &Path, options: &[(&str, &str)]) -> Result<Self, SupervisorError> {
        let uid = current_uid()?;
        let dir = make_dir(dir, if uid == 0 { 0o711 } else { 0o700 })?;
        let mut locks = vec![lock(&dir)?];
        let account = Account::for_cluster(uid, &dir.join("postgres"))?;
        let data = locate(&dir, &account)?;
        let home = data.parent().unwrap_or(&dir);
        if home != dir {
            // Two copies of a data folder may point to one cluster.
            locks.push(lock(home)?);
        }
        let socket_dir = make_socket_dir(home, &account)?;
        let programs = match files::read_if_present(&data.join("PG_VERSION"))?.as_deref().and_then(leading_number) {
            Some(major) => Programs { dir: find_bin_dir_of(major)?, account },
            None => {
                let programs = Programs { dir: find_bin_dir()?, account };
                programs.create_cluster(home, &data)?;
                programs
            }
        };
        let hba = home.join("pg_hba.conf");
        write_hba(&hba).map_err(files::at(&hba))?;
        let log = dir.join("postgres.log");
        let log_file = open_log(&log).map_err(files::at(&log))?;
        let private = [
            ("listen_addresses", "".into()),
            ("port", PORT.to_string().into()),
            ("unix_socket_directories", socket_dir.clone().into()),
            ("unix_socket_permissions", "0700".into()),
            ("hba_file", hba.into()),
            ("password_encryption", "scram-sha-256".into()),
        ];
        let settings = options.iter().map(|(name, value)| (*name, OsString::from(value))).chain(private);
        let settings = settings.map(|(name, value)| (name.to_owned(), value)).collect();
        let cluster = Self {
            programs,
            settings,
            server: Mutex::default(),
            data,
            socket_dir,
            log,
            log_file,
            locks,
            turn: Mutex::default(),
            stopping: AtomicBool::default(),
        };
        cluster.bring_up()?;
        Ok(cluster)
    }

    /// The folder of the socket, which a client takes as its `host`.
    pub fn socket_dir(&self) -> &Path {
        &self.socket_dir
    }

    /// The number in the socket file's name, which a client takes as its `port`. Nothing listens on TCP.
    pub fn port(&self) -> u16 {
        PORT
    }

    /// The cluster's own folder, PostgreSQL's `PGDATA`.
    pub fn cluster_dir(&self) -> &Path {
        &self.data
    }

    /// The folder of the server's programs. `psql`, `pgbench` and `pg_waldump` are often there too.
    pub fn bin_dir(&self) -> &Path {
        &self.programs.dir
    }

    /// The log of the server since this start.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    pub fn is_running(&self) -> bool {
        matches!(self.child().as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    /// Like [`Cluster::is_running`], but does not wait while the server is being started or stopped; then it counts as
    /// not running.
    pub fn is_seen_running(&self) -> bool {
        let mut child = match self.server.try_lock() {
            Ok(child) => child,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return false,
        };
        matches!(child.as_mut().map(Child::try_wait), Some(Ok(None)))
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // An error can't be reported from a drop; the next start ends a server that was left behind.
        let _ = self.stop();
        // The folder is empty by now. Under the temporary folder nobody else would remove it.
        let _ = fs::remove_dir(&self.socket_dir);
        for lock in &self.locks {
            // Closing the file alone would leave the lock to a child that another thread is about to spawn.
            let _ = lock.unlock();
        }
    }
}

/// Creates the folder if it does not exist, and returns its absolute path without links.
fn make_dir(dir: &Path, mode: u32) -> Result<PathBuf, SupervisorError> {
    DirBuilder::new().recursive(true).mode(mode).create(dir).map_err(files::at(dir))?;
    fs::canonicalize(dir).map_err(files::at(dir))
}

/// Takes a lock that the operating system releases when this process ends, even after a crash.
fn lock(dir: &Path) -> Result<File, SupervisorError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(files::at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SupervisorError::InUse(dir.into())),
        Err(TryLockError::Error(error)) => Err(files::at(path)(error)),
    }
}

/// Decides where the cluster is: in the data folder, or where the data folder's link leads.
fn locate(dir: &Path, account: &Account) -> Result<PathBuf, SupervisorError> {
    let link = dir.join("postgres");
    if let Ok(target) = fs::read_link(&link) {
        let home = target.parent().and_then(|home| fs::canonicalize(dir.join(home)).ok());
        let data = home.and_then(|home| Some(home.join(target.file_name()?)));
        return data.ok_or(SupervisorError::Lost { link, target });
    }
    if admit(dir, account)? {
        return Ok(link);
    }
    if fs::exists(&link).map_err(files::at(&link))? {
        return Err(SupervisorError::OutOfReach(dir.into()));
    }
    let home = Path::new(HOME_OF_UNREACHABLE).join(path_hash(dir));
    let data = home.join("postgres");
    if fs::exists(&data).map_err(files::at(&data))? {
        return Err(SupervisorError::Orphaned { dir: dir.into(), data });
    }
    let data = make_dir(&home, 0o711)?.join("postgres");
    // The link comes before the cluster: a cluster without a link is then one whose data folder was removed.
    symlink(&data, &link).map_err(files::at(&link))?;
    Ok(data)
}

/// Whether the account can enter the data folder. If that helps, the folder is opened for passing through, not for
/// listing.
fn admit(dir: &Path, account: &Account) -> Result<bool, SupervisorError> {
    if !account.can_enter(dir.parent().unwrap_or(dir))? {
        return Ok(false);
    }
    let found = fs::metadata(dir).map_err(files::at(dir))?;
    if account.can_enter(dir)? || found.uid() != 0 {
        return account.can_enter(dir);
    }
    fs::set_permissions(dir, Permissions::from_mode(found.mode() | 0o011)).map_err(files::at(dir))?;
    account.can_enter(dir)
}

/// Makes the folder of the socket: beside the cluster, or under the temporary folder if that path can't be used.
fn make_socket_dir(home: &Path, account: &Account) -> Result<PathBuf, SupervisorError> {
    let name = format!("lethe-{}", path_hash(home));
    let mut dir = home.join("run");
    for elsewhere in [env::temp_dir(), "/tmp".into()] {
        if fits_socket(&dir) && account.can_enter(dir.parent().unwrap_or(home))? {
            break;
        }
        dir = elsewhere.join(&name);
    }
    account.private_dir(&dir)?;
    Ok(dir)
}

/// Removes the socket of a server that died, and its lock, because the process number in the lock may belong to another
/// process by now.
fn clear_socket_dir(dir: &Path) -> Result<(), SupervisorError> {
    for name in [format!(".s.PGSQL.{PORT}"), format!(".s.PGSQL.{PORT}.lock")] {
        let path = dir.join(name);
        files::remove_if_present(&path).map_err(files::at(&path))?;
    }
    Ok(())
}

/// Whether the system accepts the socket's path, and a connection string accepts it unquoted. There a comma separates
/// hosts.
fn fits_socket(dir: &Path) -> bool {
    let path = dir.join(format!(".s.PGSQL.{PORT}"));
    let bytes = path.as_os_str().as_bytes();
    bytes.len() < SOCKET_PATH_BYTES && !bytes.iter().any(|byte| byte.is_ascii_whitespace() || b",'\"\\".contains(byte))
}

/// FNV-1a of 64 bits in hexadecimal. It is written out because the standard library's hash may change between releases.
fn path_hash(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes().iter();
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

/// Writes the login rules anew, so that nothing of an earlier version is left. They are outside the cluster, because
/// the server's account could put a link inside, through which root would write.
fn write_hba(path: &Path) -> io::Result<()> {
    files::remove_if_present(path)?;
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(HBA.as_bytes())?;
    file.set_permissions(Permissions::from_mode(0o644))
}

/// Begins a log and keeps only the one before, because a server's log may quote data that an erasure must forget.
fn open_log(path: &Path) -> io::Result<File> {
    match fs::rename(path, path.with_extension("log.old")) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().create_new(true).append(true).mode(0o600).open(path),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use std::process::{Command, Stdio};

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::supervisor::files::STOP_LIMIT;

    /// The variable that tells a copy of this test binary its data folder. The test kills that copy.
    const OWNER: &str = "LETHE_TEST_CLUSTER_OWNER";

    pub(super) fn psql_command(cluster: &Cluster, sql: &str) -> Command {
        let port = PORT.to_string();
        let mut command = Command::new(cluster.bin_dir().join("psql"));
        command.args(["-XAtq", "-U", "postgres", "-p", &port, "-c", sql, "-h"]).arg(cluster.socket_dir());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn psql(cluster: &Cluster, sql: &str) -> String {
        let output = psql_command(cluster, sql).output().expect("psql comes with the server's package");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(super) fn kill_server(cluster: &Cluster) {
        cluster.child().as_mut().expect("it was started").kill().expect("it is our child");
        assert!(files::poll(STOP_LIMIT, || !cluster.is_running()));
    }

    fn server_of(cluster: &Cluster) -> String {
        cluster.child().as_ref().expect("it was started").id().to_string()
    }

    pub(super) fn postmaster_pid(data: &Path) -> String {
        let file = fs::read_to_string(data.join("postmaster.pid")).expect("the server runs");
        file.lines().next().expect("the first line is the process").to_owned()
    }

    /// Owns a cluster until it is killed. Does nothing when it runs as a test of its own.
    #[test]
    fn owner_to_be_killed() {
        if let Some(dir) = env::var_os(OWNER) {
            let dir = Path::new(&dir);
            let cluster = Cluster::start(dir, &[]).expect("the owner starts the cluster");
            psql(&cluster, "CREATE TABLE memory AS SELECT 'kept' AS fact");
            fs::write(dir.join("committed"), cluster.socket_dir().as_os_str().as_bytes()).expect("the folder is ours");
            thread::sleep(START_LIMIT);
        }
    }

    /// Starts a cluster in another process and kills that process when its first transaction is committed.
    fn kill_owner_of(dir: &Path) {
        let module = module_path!().split_once("::").expect("tests lie in a module").1;
        let mut owner = Command::new(env::current_exe().expect("we run"))
            .args(["--exact", &format!("{module}::owner_to_be_killed")])
            .env(OWNER, dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("a test binary runs again");
        assert!(files::poll(START_LIMIT, || dir.join("committed").exists()), "the owner committed nothing");
        owner.kill().expect("it is our child");
        owner.wait().expect("it is our child");
    }

    #[test]
    fn commits_survive_a_killed_owner_a_dead_server_and_a_restart() {
        let dir = tempdir().expect("there is a temporary folder");
        let dir = dir.path();
        // The remains of a killed `initdb` look like a cluster, and must not be taken for one.
        fs::create_dir(dir.join("postgres.new-1")).expect("the folder is ours");
        fs::write(dir.join("postgres.new-1/PG_VERSION"), "15\n").expect("the folder is ours");

        kill_owner_of(dir);
        let data = fs::canonicalize(dir).expect("it exists").join("postgres");
        let left_behind = postmaster_pid(&data);
        assert!(!dir.join("postgres.new-1").exists());

        let cluster = Cluster::start(dir, &[("listen_addresses", "*"), ("work_mem", "5MB")]).expect("it recovers");
        assert_ne!(postmaster_pid(&data), left_behind);
        assert_eq!(psql(&cluster, "SELECT fact FROM memory"), "kept");
        assert_eq!(psql(&cluster, "SHOW listen_addresses"), "", "no option opens TCP");
        assert_eq!(psql(&cluster, "SHOW work_mem"), "5MB");
        assert_eq!(psql(&cluster, "SHOW data_checksums"), "on");
        let mode = |path: &Path| fs::metadata(path).expect("it exists").mode() & 0o777;
        assert_eq!((mode(cluster.socket_dir()), mode(cluster.log_path())), (0o700, 0o600));
        let refused = Cluster::start(dir, &[]).expect_err("the folder is in use");
        assert!(matches!(refused, SupervisorError::InUse(_)), "{refused}");

        let other = tempdir().expect("there is a temporary folder");
        fs::copy(data.join("postmaster.pid"), other.path().join("postmaster.pid")).expect("the server runs");
        cluster.programs.stop_left_behind(other.path()).expect("there is nothing to stop");
        assert!(cluster.is_running(), "the server of another cluster is not stopped");

        // After the crash, another process of the same account has the server's number.
        psql(&cluster, "INSERT INTO memory VALUES ('kept as well')");
        let mut stranger = cluster.programs.account.command("sleep").arg("60").spawn().expect("sleep exists");
        let files = [data.join("postmaster.pid"), cluster.socket_dir().join(format!(".s.PGSQL.{PORT}.lock"))];
        let renumbered = files.map(|file| {
            let text = fs::read_to_string(&file).expect("the server runs");
            (file, text.replace(&server_of(&cluster), &stranger.id().to_string()))
        });
        kill_server(&cluster);
        for (file, text) in renumbered {
            fs::write(file, text).expect("it is ours, or we are root");
        }
        drop(cluster);
        let cluster = Cluster::start(dir, &[]).expect("a stranger's number is no server");
        assert!(matches!(stranger.try_wait(), Ok(None)), "the stranger lives");
        stranger.kill().and_then(|()| stranger.wait()).expect("it is our child");
        assert_eq!(psql(&cluster, "SELECT count(*) FROM memory"), "2");

        assert!(cluster.is_running());
        cluster.stop().expect("it stops");
        cluster.stop().expect("it has stopped");
        assert!(!cluster.is_running());
        assert!(!data.join("postmaster.pid").exists(), "a clean stop removes the file");
        drop(cluster);
        let wrong = Cluster::start(dir, &[("no_such_setting", "1")]).expect_err("the server refuses the option");
        assert!(wrong.to_string().contains("no_such_setting"), "{wrong}");
    }

    #[test]
    fn a_socket_lies_only_where_the_system_and_clients_take_its_path() {
        assert!(fits_socket(Path::new("/srv/lethe/run")));
        assert!(fits_socket(&Path::new("/").join("x".repeat(84))));
        for unfit in ["x".repeat(85), "a, b".into(), "it's".into(), "back\\slash".into()] {
            assert!(!fits_socket(&Path::new("/").join(&unfit)), "{unfit}");
        }
    }

    /// Removes the files that a cluster out of reach leaves outside its data folder.
    struct Elsewhere(PathBuf);

    impl Drop for Elsewhere {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn temporary_and_closed() -> (TempDir, PathBuf) {
        let parent = tempdir().expect("there is a temporary folder");
        fs::set_permissions(parent.path(), Permissions::from_mode(0o700)).expect("the folder is ours");
        let dir = fs::canonicalize(parent.path()).expect("it exists").join("data");
        (parent, dir)
    }

    /// The path is long too: for root the cluster is then elsewhere, for any other user the socket is.
    #[test]
    fn a_cluster_starts_under_a_closed_folder_and_a_long_path() {
        let (_parent, dir) = temporary_and_closed();
        let dir = dir.join("it's long, ".repeat(9)).join("and on ".repeat(7));
        let is_root = current_uid().expect("`id` runs") == 0;
        let _elsewhere = is_root.then(|| Elsewhere(Path::new(HOME_OF_UNREACHABLE).join(path_hash(&dir))));

        let cluster = Cluster::start(&dir, &[]).expect("it starts");
        assert_eq!(psql(&cluster, "SELECT 1"), "1");
        assert_eq!(dir.join("postgres").is_symlink(), is_root);
        assert!(!cluster.socket_dir().starts_with(&dir));
        drop(cluster);
        let cluster = Cluster::start(&dir, &[]).expect("it starts again");
        assert_eq!(psql(&cluster, "SELECT 1"), "1");
        if is_root {
            drop(cluster);
            fs::remove_file(dir.join("postgres")).expect("the link is ours");
            let refused = Cluster::start(&dir, &[]).expect_err("a new folder does not inherit");
            assert!(matches!(refused, SupervisorError::Orphaned { .. }), "{refused}");
        }
    }
}
