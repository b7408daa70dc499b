//! Starting the private cluster, starting it again when it ends, and stopping it.
//!
//! Promises: a start waits for processes of an earlier server that are still ending, and does not fail because of them.
//! A server that ends by itself is started again with growing pauses. After a stop nothing is started. Refuses: to go
//! on for ever with a server that ends again and again, because then a disk is full or a file is missing, and somebody
//! has to look.

use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::supervisor::{
    Cluster, LOG_TAIL_LINES, START_LIMIT, clear_socket_dir,
    files::{STOP_LIMIT, SupervisorError, at, poll},
};

/// The pause between two tries to start while an earlier server is still ending.
const SETTLE_PAUSE: Duration = Duration::from_millis(250);
/// How often the keeper checks that the server runs.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The pauses before the first, second, … restart, in seconds. A further restart within [`RESTARTS_WITHIN`] is not
/// tried: the keeper gives up.
const PAUSES_S: [u64; 6] = [0, 1, 2, 4, 8, 16];
const RESTARTS_WITHIN: Duration = Duration::from_secs(600);

/// PostgreSQL's texts for a process of an earlier server that is still there. They are English, because the server is
/// started with an English locale.
const STILL_THERE: [&str; 2] = ["lock file \"postmaster.pid\" already exists", "pre-existing shared memory block"];

impl Cluster {
    /// Starts the server and waits until it takes connections.
    ///
    /// PostgreSQL may still see a process that is ending when we no longer see it, or can't recognise it. So a start
    /// that is refused because of an earlier server is tried again until [`START_LIMIT`] is over.
    pub(super) fn bring_up(&self) -> Result<(), SupervisorError> {
        let began = Instant::now();
        loop {
            self.programs.stop_left_behind(&self.data)?;
            clear_socket_dir(&self.socket_dir)?;
            let written = self.log_file.metadata().map_err(at(&self.log))?.len();
            let server = self.programs.spawn_server(&self.data, &self.log_file, &self.settings)?;
            *self.child() = Some(server);
            match self.wait_until_ready(written) {
                Err(SupervisorError::NotReady { tail, .. })
                    if STILL_THERE.iter().any(|fact| tail.contains(fact))
                        && began.elapsed() < START_LIMIT
                        && !self.is_stopping() =>
                {
                    tracing::info!("a process of an earlier PostgreSQL still ends; the start is tried again");
                    thread::sleep(SETTLE_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    /// Starts a server that has ended. Does nothing once the cluster is being stopped.
    pub(super) fn restart(&self) -> Result<(), SupervisorError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping() || self.is_running() {
            return Ok(());
        }
        let outcome = self.bring_up();
        if outcome.is_err() {
            // A server that runs and does not become ready is ended, so that the next try begins anew.
            self.halt()?;
        }
        outcome
    }

    /// Stops the server. Open transactions are rolled back and sessions closed. After ten seconds it is ended as in a
    /// crash, which loses nothing committed. Does nothing if the server has stopped. The folder stays locked until the
    /// drop.
    ///
    /// # Errors
    /// [`SupervisorError::Io`] if not even a kill ends the server.
    pub fn stop(&self) -> Result<(), SupervisorError> {
        self.stopping.store(true, Ordering::Release);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.halt()
    }

    fn halt(&self) -> Result<(), SupervisorError> {
        for mode in ["fast", "immediate"] {
            if !self.is_running() {
                return Ok(());
            }
            // If a signal fails, the next and harder step ends the server.
            if self.programs.stop_server(&self.data, mode, false).is_ok() {
                poll(STOP_LIMIT, || !self.is_running());
            }
        }
        if let Some(server) = self.child().as_mut() {
            server.kill().map_err(at("postgres"))?;
            server.wait().map_err(at("postgres"))?;
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits for the server that was just spawned. `written` is the offset at which its part of the log begins.
    fn wait_until_ready(&self, written: u64) -> Result<(), SupervisorError> {
        let mut ready = false;
        poll(START_LIMIT, || {
            ready = self.is_ready();
            ready || !self.is_running() || self.is_stopping()
        });
        if ready {
            return Ok(());
        }
        let log = read_from(&self.log, written).map_err(at(&self.log))?;
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n");
        Err(SupervisorError::NotReady { log: self.log.clone(), tail })
    }

    /// Reads `postmaster.pid`, whose first line is the process and whose eighth line is the state.
    fn is_ready(&self) -> bool {
        let Some(id) = self.child().as_ref().map(|server| server.id().to_string()) else { return false };
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim_end);
        lines.next() == Some(&id) && lines.nth(6) == Some("ready")
    }

    /// Device, inode and time of the installed `postgres`, which change when another program replaces it.
    fn program_mark(&self) -> Option<(u64, u64, i64)> {
        let found = fs::metadata(self.programs.dir.join("postgres")).ok()?;
        Some((found.dev(), found.ino(), found.mtime()))
    }
}

fn read_from(path: &Path, start: u64) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Starts a cluster's server again whenever it ends. Resolves only when the keeper gives up, with the reason.
pub async fn keep_running(cluster: Arc<Cluster>) -> SupervisorError {
    let mut restarts = Restarts::default();
    let mut program = cluster.program_mark();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if cluster.is_running() {
            let mark = cluster.program_mark();
            if mark != program {
                tracing::warn!("PostgreSQL's programs were replaced while they run: restart lethe soon");
                program = mark;
            }
            continue;
        }
        let Some(pause) = restarts.next(Instant::now()) else {
            let (tries, log) = (PAUSES_S.len(), cluster.log.clone());
            return SupervisorError::GivenUp { tries, within: RESTARTS_WITHIN, log };
        };
        let (log, pause_s) = (cluster.log.display(), pause.as_secs());
        tracing::error!(%log, pause_s, "our own PostgreSQL ended; it is started again");
        tokio::time::sleep(pause).await;
        let again = cluster.clone();
        match tokio::task::spawn_blocking(move || again.restart()).await {
            Ok(Ok(())) => tracing::info!("our own PostgreSQL runs again"),
            // The end of the log is not repeated here, because the log itself has mode 0600.
            Ok(Err(SupervisorError::NotReady { .. })) => tracing::error!(%log, "our own PostgreSQL did not start"),
            Ok(Err(error)) => tracing::error!(%error, "our own PostgreSQL did not start"),
            Err(error) => tracing::error!(%error, "our own PostgreSQL was not started"),
        }
        program = cluster.program_mark();
    }
}

/// The times of the restarts within [`RESTARTS_WITHIN`].
#[derive(Default)]
struct Restarts(Vec<Instant>);

impl Restarts {
    /// How long to wait before the next restart; `None` when there were too many lately.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|at| now.duration_since(*at) < RESTARTS_WITHIN);
        let pause = PAUSES_S.get(self.0.len())?;
        self.0.push(now);
        Some(Duration::from_secs(*pause))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::Write, process::Command};

    use tempfile::tempdir;

    use super::*;
    use crate::supervisor::tests::{kill_server, postmaster_pid, psql, psql_command};

    #[test]
    fn pauses_grow_until_it_is_given_up_and_calm_minutes_are_forgiven() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let pauses: Vec<_> = (0..7).map(|number| restarts.next(at(number)).map(|pause| pause.as_secs())).collect();
        assert_eq!(pauses, [Some(0), Some(1), Some(2), Some(4), Some(8), Some(16), None]);
        assert_eq!(restarts.next(at(599)), None, "all six are within ten minutes");
        assert_eq!(restarts.next(at(600)), Some(Duration::from_secs(16)), "the first is forgiven");
        assert_eq!(restarts.next(at(3000)), Some(Duration::ZERO), "all are");
    }

    /// A server that is just ending leaves its number in `postmaster.pid` when PostgreSQL looks, although we no longer
    /// saw it. Here this state lasts.
    #[test]
    fn a_start_waits_for_a_process_that_still_holds_the_old_pid_file() {
        let dir = tempdir().expect("there is a temporary folder");
        let cluster = Cluster::start(dir.path(), &[]).expect("it starts");
        psql(&cluster, "CREATE TABLE memory AS SELECT 'kept' AS fact");
        let (file, text) = (cluster.data.join("postmaster.pid"), postmaster_pid(&cluster.data));
        let mut ending = cluster.programs.account.command("sleep").arg("1.5").spawn().expect("sleep exists");
        let held = format!("{}\n", ending.id());
        kill_server(&cluster);
        fs::write(&file, &held).expect("it is ours, or we are root");
        let holder = thread::spawn(move || {
            while matches!(ending.try_wait(), Ok(None)) {
                // The file is written again as soon as it was removed, until the process has ended.
                if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(&file) {
                    file.write_all(held.as_bytes()).expect("it is ours, or we are root");
                }
                thread::yield_now();
            }
        });
        cluster.restart().expect("it waits, and starts");
        holder.join().expect("it held the file to its end");
        assert_ne!(postmaster_pid(&cluster.data), text);
        let log = fs::read_to_string(&cluster.log).expect("there is a log");
        assert!(log.contains(STILL_THERE[0]), "PostgreSQL refused once, else this shows nothing:\n{log}");
        assert_eq!(psql(&cluster, "SELECT fact FROM memory"), "kept");
    }

    /// A session that neither ends nor reacts keeps the shared memory of its dead server.
    #[test]
    fn a_stopped_session_of_a_dead_server_does_not_keep_the_next_from_starting() {
        let dir = tempdir().expect("there is a temporary folder");
        let cluster = Cluster::start(dir.path(), &[]).expect("it starts");
        let mut client = psql_command(&cluster, "SELECT pg_sleep(600)").spawn().expect("psql runs");
        let busy = "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
        let mut session = String::new();
        let found = poll(STOP_LIMIT, || {
            session = psql(&cluster, busy);
            !session.is_empty()
        });
        assert!(found, "the session is there");
        let signal = |name: &str| Command::new("kill").args([name, &session]).status().expect("kill runs").success();
        assert!(signal("-STOP"), "the session is stopped");
        kill_server(&cluster);
        drop(cluster);
        let cluster = Cluster::start(dir.path(), &[]).expect("it starts again");
        let state = Command::new("ps").args(["-o", "stat=", "-p", &session]).output().expect("ps runs").stdout;
        // The process is dead, though its parent may not have collected its status yet.
        assert!(state.is_empty() || state.starts_with(b"Z"), "the old session is gone");
        assert_eq!(psql(&cluster, "SELECT 1"), "1");
        client.wait().expect("it is our child");
    }
}
