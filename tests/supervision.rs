//! The server's own PostgreSQL ends, or can't do all its work: it comes back, or the server ends; and the answers of
//! `/health` and `/ready` meanwhile.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use poem::http::StatusCode;
use serde_json::Value;

use crate::{
    program::{Answer, Call, DataFolder, Program, free_address},
    support::{World, expect},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than all pauses before the server gives up.
const GIVING_UP: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(20);

fn serve(data: &DataFolder) -> (Program, SocketAddr) {
    let address = free_address();
    let listen = address.to_string();
    let args = ["serve", "--allow-old-postgres", "--data", data.text(), "--listen", &listen];
    let mut server = Program::start(&args, "info");
    server.wait_for("serving");
    (server, address)
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    Call::new(address, "GET", path).send().await
}

/// Asks `/ready` until the answer has this status.
async fn ready_until(address: SocketAddr, status: u16) -> Value {
    let started = Instant::now();
    loop {
        let answer = get(address, "/ready").await;
        if answer.status == status {
            return answer.json();
        }
        assert!(started.elapsed() < PATIENCE, "/ready stays {}: {}", answer.status, answer.json());
        tokio::time::sleep(PAUSE).await;
    }
}

/// A file of the cluster without which PostgreSQL does not start.
struct Control {
    file: PathBuf,
    aside: PathBuf,
}

impl Control {
    fn take_away(data: &DataFolder) -> Self {
        let folder = data.path().join("postgres/global");
        let control = Self { file: folder.join("pg_control"), aside: folder.join("pg_control.aside") };
        fs::rename(&control.file, &control.aside).expect("the cluster is ours, or we are root");
        control
    }

    fn bring_back(self) {
        fs::rename(&self.aside, &self.file).expect("the cluster is ours, or we are root");
    }
}

fn kill_postgres(data: &DataFolder) -> u32 {
    let process = data.postmaster().expect("PostgreSQL runs");
    let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status().expect("kill runs");
    assert!(killed.success(), "PostgreSQL ran");
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgresql_comes_back_and_ready_tells_the_truth_meanwhile() {
    let data = DataFolder::new("");
    let (mut server, address) = serve(&data);
    assert_eq!(ready_until(address, 200).await["status"], "ready");

    let control = Control::take_away(&data);
    let killed = kill_postgres(&data);
    let problem = ready_until(address, 503).await;
    assert_eq!(problem["type"], "/problems/unavailable");
    server.wait_for("our own PostgreSQL ended; it is started again");
    server.wait_for("our own PostgreSQL did not start");
    let started = Instant::now();
    loop {
        // The result of the last check of the database is kept for some seconds.
        let problem = ready_until(address, 503).await;
        let lacking = problem["detail"].as_str().expect("a detail");
        if ["read", "write", "own_postgres"].iter().all(|need| lacking.contains(need)) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{problem}");
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(get(address, "/health").await.status, 200, "the server lives");
    get(address, "/v1/analytics/periods").await.expect(503);

    control.bring_back();
    server.wait_for("our own PostgreSQL runs again");
    ready_until(address, 200).await;
    get(address, "/v1/analytics/periods").await.expect(200);
    assert_ne!(data.postmaster().expect("it runs"), killed);

    // The same again, without an obstacle.
    let killed = kill_postgres(&data);
    let started = Instant::now();
    while data.postmaster() == Some(killed) || get(address, "/ready").await.status != 200 {
        assert!(started.elapsed() < PATIENCE, "PostgreSQL did not come back");
        tokio::time::sleep(PAUSE).await;
    }
    let (status, output) = server.stop();
    assert!(status.success(), "{status}\n{}", String::from_utf8_lossy(&output));
    assert_eq!(data.postmaster(), None, "PostgreSQL went on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_cannot_come_back_ends_the_server_with_a_code_of_its_own() {
    let data = DataFolder::new("");
    let (mut server, address) = serve(&data);
    ready_until(address, 200).await;
    let _gone = Control::take_away(&data);
    kill_postgres(&data);
    let (status, output) = tokio::task::spawn_blocking(move || server.end(GIVING_UP)).await.expect("it ended");
    let output = String::from_utf8_lossy(&output);
    assert_eq!(status.code(), Some(75), "{output}");
    assert!(output.contains("PostgreSQL ended or did not start 6 times within 10 minutes"), "{output}");
    assert!(!output.contains("panicked"), "{output}");

    // The next start fails too, with the same exit code.
    let listen = free_address().to_string();
    let refused = crate::program::run(&["serve", "--data", data.text(), "--listen", &listen]);
    assert_eq!(refused.status.code(), Some(75), "{}", crate::program::text(&refused));
}

#[tokio::test]
async fn health_get_answers_without_the_database() {
    let world = World::new().await;
    world.close_database().await;
    assert!(lacking(&world).await.starts_with("read, write"));
    let answer = expect(world.client().get("/health").send().await, StatusCode::OK).await;
    assert_eq!(answer["status"], "ok");
}

/// The needs that `/ready` of a world names as lacking; empty if it is ready.
async fn lacking(world: &World) -> String {
    let answer = world.client().get("/ready").send().await;
    if answer.0.status() == StatusCode::OK {
        return String::new();
    }
    let problem = expect(answer, StatusCode::SERVICE_UNAVAILABLE).await;
    problem["detail"].as_str().expect("a detail").trim_start_matches("What does not hold now: ").to_owned()
}

async fn lacking_until(world: &World, wanted: &str) {
    let started = Instant::now();
    loop {
        // No job grows the tree of a test's world, so the test notes it.
        world.app.readiness.tree_grew();
        let found = lacking(world).await;
        if found == wanted {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "lacking stays {found:?} instead of {wanted:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test]
async fn ready_get_names_what_does_not_hold() {
    let world = World::new().await;
    assert_eq!(lacking(&world).await, "tree.", "nobody has looked after the tree yet");
    lacking_until(&world, "").await;

    // A missing file would not do: it would fail the checkpoints of the other tests' databases in the same cluster.
    let superuser = world.superuser().await;
    superuser.batch_execute("REVOKE SELECT ON log.events FROM lethe_system").await.expect("taken away");
    lacking_until(&world, "read, write.").await;
    world.client().get("/health").send().await.assert_status_is_ok();
    superuser.batch_execute("GRANT SELECT ON log.events TO lethe_system").await.expect("given back");
    lacking_until(&world, "").await;

    superuser.batch_execute("REVOKE INSERT ON vault.nodes FROM lethe_system").await.expect("taken away");
    lacking_until(&world, "write.").await;
    superuser.batch_execute("GRANT INSERT ON vault.nodes TO lethe_system").await.expect("given back");
    lacking_until(&world, "").await;

    // An existing connection works on; only a new one shows that the right is gone.
    let name = &world.database.address.database;
    superuser.batch_execute(&format!("REVOKE CONNECT ON DATABASE {name} FROM lethe_system")).await.expect("taken away");
    lacking_until(&world, "read, write.").await;
    superuser.batch_execute(&format!("GRANT CONNECT ON DATABASE {name} TO lethe_system")).await.expect("given back");
    lacking_until(&world, "").await;

    // A journal that can't be read is not emptied either.
    let journal = world.folder.join("reads.journal");
    fs::create_dir(&journal).expect("there is no journal");
    assert!(fs::metadata(&journal).expect("it is there").len() > 0 || !Path::new("/proc").exists());
    lacking_until(&world, "journal.").await;
    fs::remove_dir(&journal).expect("it is empty");
    lacking_until(&world, "").await;
    let rows = superuser.query("SELECT FROM vault.nodes", &[]).await.expect("read");
    assert!(rows.is_empty(), "looking leaves nothing behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_get_looks_at_the_database_once_however_many_ask() {
    let world = World::new().await;
    let mut superuser = world.superuser().await;
    let lock = superuser.transaction().await.expect("begun");
    lock.batch_execute("LOCK vault.nodes IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let asked = futures_util::future::join_all((0..20).map(|_| lacking(&world)));
    let watched = async {
        let watch = world.superuser().await;
        let waiting = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%ready_%'";
        let count = async || -> i64 { watch.query_one(waiting, &[]).await.expect("counted").get(0) };
        while count().await == 0 {
            tokio::time::sleep(PAUSE).await;
        }
        // Longer than any request needed; further checks would be seen by now.
        tokio::time::sleep(10 * PAUSE).await;
        count().await
    };
    let (answers, looks) = tokio::join!(asked, watched);
    assert_eq!(looks, 1);
    assert!(answers.iter().all(|lacking| lacking.starts_with("read, write")), "{answers:?}");
    lock.rollback().await.expect("rolled back");
    lacking_until(&world, "").await;
}

/// The result of a check is kept for some seconds: requests in this time are answered without another check.
#[tokio::test(flavor = "multi_thread")]
async fn ready_get_answers_many_requests_by_few_looks() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let counted = "CREATE SEQUENCE public.looks;
        CREATE FUNCTION public.looked() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
        AS $$ BEGIN PERFORM nextval('public.looks'); RETURN NULL; END $$;
        CREATE TRIGGER looked AFTER INSERT ON vault.nodes FOR EACH STATEMENT EXECUTE FUNCTION public.looked()";
    superuser.batch_execute(counted).await.expect("each look is counted");
    for _ in 0..5 {
        let answers = futures_util::future::join_all((0..20).map(|_| lacking(&world))).await;
        assert!(answers.iter().all(|lacking| lacking == "tree."), "{answers:?}");
    }
    let looks: i64 = superuser.query_one("SELECT last_value FROM public.looks", &[]).await.expect("counted").get(0);
    assert!(looks < 10, "{looks} looks for a hundred who asked");
}
