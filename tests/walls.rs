//! The walls between logins: whatever a login changes for itself, holds or takes stops neither the server nor another
//! login, and is reported.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use context::{Clock, Ctx, SubjectId};
use db::{Login, Passwords};
use domain::{desk::alert::AlertEvent, rights::consent::Purpose};
use lethe::{
    app::{
        App,
        desk::alert,
        identity::account::{self, Registration},
        log::access,
        rights::{consent, erasure},
    },
    data::home::Folder,
    http::TrustedProxies,
    jobs::{check_clock, check_policies, tell_own_settings, watch_sessions_once},
    mail::Mailbox,
    server::{self, ServerError, Settings, Store, doctor},
};
use poem::http::StatusCode;
use projections::{page::Page, rights::erasure::subject_left};
use tokio_postgres::{Client, error::SqlState};
use vault::Vault;

use crate::{
    program::DataFolder,
    steps::{hold, let_go, problem, subject_of},
    support::{World, day, expect},
};

/// A cluster of its own, because roles and their limits belong to all databases of a cluster.
struct Own {
    data: DataFolder,
    store: Store,
    vault: Arc<Vault>,
    passwords: Passwords,
}

impl Own {
    async fn new() -> Self {
        let data = DataFolder::new("");
        let (store, vault) = data.cluster(&[("fsync", "off")]).await;
        let passwords = Folder::open(data.path()).expect("opens").passwords().expect("passwords");
        Self { data, store, vault, passwords }
    }

    fn folder(&self) -> Folder {
        Folder::open(self.data.path()).expect("opens")
    }

    /// A server that has no connection yet.
    async fn server(&self) -> Arc<App> {
        let settings = Settings::new(self.folder(), Clock::system());
        let opened = server::open(&settings, &self.store.database, self.vault.clone(), &self.passwords).await;
        opened.expect("the application opens")
    }

    async fn login(&self, login: Login) -> Result<Client, db::DbError> {
        let password = self.passwords[login.as_str()].as_str();
        db::client(&self.store.database.address, login.as_str(), Some(password)).await
    }

    async fn superuser(&self) -> Client {
        db::admin(&self.store.database.address, "postgres", None).await.expect("the superuser connects")
    }

    async fn migrate(&self) {
        self.store.migrate(None, &self.vault, &self.passwords).await.expect("migrated");
    }

    async fn sickness(&self) -> Vec<String> {
        self.sickness_at(&Clock::system()).await
    }

    async fn sickness_at(&self, clock: &Clock) -> Vec<String> {
        let found = doctor::find(&self.folder(), &self.store.database, &self.vault, clock).await.expect("examined");
        found.lines().into_iter().filter(|line| line.starts_with("FAIL")).collect()
    }
}

async fn alerts(app: &App, rule: &str) -> Vec<String> {
    let (raised, _) = alert::list(app, false, &Page::all()).await.expect("listed");
    let actor = |event: AlertEvent| match event {
        AlertEvent::Raised { pattern, .. } | AlertEvent::Acknowledged { pattern, .. } => {
            (pattern.rule == rule).then_some(pattern.actor)
        }
    };
    raised.into_iter().filter_map(|raised| actor(raised.event)).collect()
}

/// Settings that a login may change for itself. Each of them once made every request fail, or slow.
const ALTERED: &[&str] = &[
    "row_security = off",
    "default_transaction_read_only = on",
    "transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "search_path = 'nowhere'",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
    "idle_session_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "synchronous_commit = off",
    "timezone = 'Pacific/Auckland'",
    "work_mem = '64kB'",
    "enable_indexscan = off",
    "enable_bitmapscan = off",
    "role = 'none'",
    "local_preload_libraries = 'nothing'",
];

#[tokio::test]
async fn a_login_that_alters_itself_stops_no_request_and_is_named() {
    let own = Own::new().await;
    for login in [Login::Api, Login::System, Login::Access, Login::Stats] {
        let client = own.login(login).await.expect("connects");
        for setting in ALTERED {
            let sql = format!("ALTER ROLE {} SET {setting}", login.as_str());
            client.batch_execute(&sql).await.expect("a login may alter itself");
        }
    }
    let app = own.server().await;
    let altered = check_policies(&app).await.expect("the catalogue is read").expect("it is no reason to stop");
    assert_eq!(
        altered.logins().into_iter().collect::<Vec<_>>(),
        ["lethe_access", "lethe_api", "lethe_stats", "lethe_system"]
    );
    // Commands and reads go on, each with the login that changed its own settings.
    let ctx = &Ctx::system(app.clock.clone());
    let anna = Registration { email: "anna@klinik.example".to_owned(), work: None, consents: vec![Purpose::WorkHours] };
    account::create(&app, ctx, &anna).await.expect("registered");
    let row = own.superuser().await.query_one("SELECT subject_id FROM read.accounts", &[]).await.expect("she is there");
    let subject = SubjectId(row.get(0));
    let ctx = &ctx.for_subject(subject, None);
    let (consents, keys) = consent::list(&app, ctx).await.expect("listed");
    assert!(consents.iter().any(|consent| consent.granted));
    access::note_read(&app, ctx, keys, "consent", consents.len(), String::new()).await.expect("a read is on record");
    tell_own_settings(&app, &altered).await;
    let mut named = alerts(&app, "login_altered").await;
    named.sort();
    assert_eq!(named, ["lethe_access", "lethe_api", "lethe_stats", "lethe_system"], "written and read by these logins");
    let settings = "SELECT name FROM pg_settings WHERE source IN ('database', 'user', 'database user') AND context = 'user'
                    UNION ALL SELECT current_setting('synchronous_commit') || current_setting('row_security') || current_setting('timezone')";
    let session = db::session(&own.store.database.address, Login::Api, Some(&own.passwords["lethe_api"])).await;
    let rows = session.expect("connects").query(settings, &[]).await.expect("read");
    let left: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["ononUTC"], "no setting of a role is left in a session of the server");
    let sick = own.sickness().await;
    assert!(
        sick.iter().any(|line| line.contains("settings of logins") && line.contains("lethe_api enable_indexscan=off")),
        "{sick:?}"
    );
    own.migrate().await;
    let mended = check_policies(&app).await.expect("read").expect("sound");
    assert!(mended.0.is_empty(), "{mended:?}");
    assert_eq!(own.sickness().await.iter().filter(|line| !line.contains("PostgreSQL")).count(), 0);
}

#[tokio::test]
async fn what_a_superuser_sets_for_a_login_or_grants_stops_the_server_and_migrate_takes_it_back() {
    let own = Own::new().await;
    let (app, superuser) = (own.server().await, own.superuser().await);
    for (opens, named) in [
        ("ALTER ROLE lethe_dashboard SET log_statement = 'none'", "setting lethe_dashboard log_statement=none"),
        ("ALTER ROLE lethe_dashboard RESET temp_file_limit", "- setting lethe_dashboard temp_file_limit=1GB"),
        ("ALTER ROLE lethe_watch SET work_mem = '64kB'", "setting lethe_watch work_mem=64kB"),
        ("ALTER DATABASE lethe SET log_statement = none", "setting everybody in this database log_statement=none"),
        (
            "ALTER ROLE lethe_api IN DATABASE lethe SET log_statement = none",
            "setting lethe_api in this database log_statement=none",
        ),
        ("ALTER ROLE lethe_dashboard CONNECTION LIMIT -1", "connections=-1"),
        ("ALTER ROLE lethe_api CONNECTION LIMIT 99", "connections=99"),
        ("ALTER ROLE lethe_dashboard VALID UNTIL '2020-01-01'", "role lethe_dashboard"),
        ("GRANT pg_read_server_files TO lethe_dashboard", "pg_read_server_files"),
        ("GRANT lethe_watch TO lethe_dashboard", "member lethe_dashboard of lethe_watch"),
        ("GRANT CONNECT ON DATABASE postgres TO PUBLIC", "database postgres PUBLIC CONNECT"),
        ("GRANT TEMP ON DATABASE template1 TO lethe_dashboard", "database template1 lethe_dashboard TEMPORARY"),
    ] {
        superuser.batch_execute(opens).await.expect(opens);
        let drift = check_policies(&app).await.expect("the catalogue is read").expect_err(opens);
        assert!(drift.0.iter().any(|line| line.contains(named)), "{opens}: {drift}");
        own.migrate().await;
        let mended = check_policies(&app).await.expect("the catalogue is read").expect(opens);
        assert!(mended.0.is_empty(), "{opens}: {mended:?}");
    }
}

#[tokio::test]
async fn the_doctor_names_a_login_whose_password_was_changed() {
    let own = Own::new().await;
    let client = own.login(Login::Dashboard).await.expect("connects");
    client.batch_execute("ALTER ROLE lethe_dashboard PASSWORD 'mine'").await.expect("a login may change its own");
    let sick = own.sickness().await;
    assert!(sick.iter().any(|line| line.starts_with("FAIL  lethe_dashboard: its password is not the one")), "{sick:?}");
    own.migrate().await;
    own.login(Login::Dashboard).await.expect("the password is ours again");
}

#[tokio::test]
async fn the_weakest_login_takes_a_few_connections_and_keeps_nobody_out() {
    let own = Own::new().await;
    let mut held = Vec::new();
    let refused = loop {
        match own.login(Login::Dashboard).await {
            Ok(client) => held.push(client),
            Err(error) => break error,
        }
        assert!(held.len() < 20, "there is no limit");
    };
    assert_eq!(held.len(), 8);
    assert!(refused.to_string().contains("too many connections for role"), "{refused}");
    for login in Login::ALL.into_iter().filter(|login| *login != Login::Dashboard) {
        own.login(login).await.expect("others come in");
    }
}

/// A transaction with an id, which the weakest login gets by changing its own settings, stops every reader of the log.
#[tokio::test]
async fn a_session_that_holds_a_transaction_is_ended_and_named() {
    let own = Own::new().await;
    let app = own.server().await;
    let (weak, strong) =
        (own.login(Login::Dashboard).await.expect("connects"), own.login(Login::Api).await.expect("connects"));
    for (client, role) in [(&weak, "lethe_dashboard"), (&strong, "lethe_api")] {
        let hold = format!(
            "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; BEGIN; ALTER ROLE {role} SET work_mem = '4MB'"
        );
        client.batch_execute(&hold).await.expect("a session lifts its own limits");
    }
    let ended = async {
        loop {
            let ended = watch_sessions_once(&app).await.expect("watched");
            if !ended.is_empty() {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the session is ended");
    let what: Vec<_> = ended.iter().map(|ended| (ended.login.as_str(), ended.state.as_str())).collect();
    assert_eq!(what, [("lethe_dashboard", "idle in transaction")]);
    assert!(ended[0].age_s >= 5, "{ended:?}");
    assert!(weak.simple_query("SELECT 1").await.is_err(), "its session is over");
    strong.batch_execute("COMMIT").await.expect("the server's own logins have more time");
    assert_eq!(alerts(&app, "session_ended").await, ["lethe_dashboard"]);
}

#[tokio::test]
async fn nobody_but_the_system_ends_sessions() {
    let world = World::new().await;
    for login in Login::ALL {
        let client = world.login(login).await;
        let outcome = client.query("SELECT * FROM watch.end_sessions()", &[]).await;
        assert_eq!(outcome.is_ok(), login == Login::System, "{login:?}");
        for sql in ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_logical_emit_message(false, 'x', 'y')"]
        {
            let refused = client.query(sql, &[]).await.expect_err(sql);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{login:?} {sql}");
        }
        let lock = client.query("SELECT pg_try_advisory_xact_lock(7)", &[]).await;
        assert_eq!(lock.is_ok(), login == Login::Api, "{login:?}: only requests take people's locks");
    }
}

#[tokio::test]
async fn clocks_that_are_apart_are_both_named() {
    let world = World::new().await;
    let sound = check_clock(&world.app).await.expect("compared").expect("one machine has one clock");
    assert!(sound.apart() < TimeDelta::seconds(5), "{sound:?}");
    for apart in [TimeDelta::seconds(6), TimeDelta::seconds(-12)] {
        world.clock.advance(apart);
        let apart = check_clock(&world.app).await.expect("compared").expect_err("too far");
        let (ours, theirs) = (apart.0.ours.format("%FT%T").to_string(), apart.0.theirs.format("%FT%T").to_string());
        assert!(apart.to_string().contains(&ours) && apart.to_string().contains(&theirs), "{apart}");
    }
}

#[tokio::test]
async fn the_doctor_compares_the_clocks() {
    let (own, clock) = (Own::new().await, Clock::system());
    let said = async || {
        let sick = own.sickness_at(&clock).await;
        sick.into_iter().filter(|line| line.starts_with("FAIL  clock: ")).collect::<Vec<_>>()
    };
    assert_eq!(said().await, [""; 0], "one machine has one clock");
    for apart in [TimeDelta::minutes(10), TimeDelta::minutes(-20)] {
        clock.advance(apart);
        let said = said().await;
        assert!(said.len() == 1 && said[0].contains("database"), "{apart}: {said:?}");
    }
}

/// A connection asks the database's clock, by which tickets expire. So a server with a wrong clock still gets its rows.
#[tokio::test]
async fn a_server_whose_clock_is_wrong_still_shows_tickets_that_are_good() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for wrong in [TimeDelta::minutes(-90), TimeDelta::minutes(180)] {
        world.clock.advance(wrong);
        let subject = SubjectId(subject_of(&world, &anna).await);
        let ctx = &context::Ctx::system(world.clock.clone()).for_subject(subject, None);
        let rows = world.app.db.api.run_tx("keys", ctx, db::Gate::read(ctx), async |tx: db::Tx| {
            tx.finish([vault::subject_get(subject)]).await.map(|[rows]| rows.len())
        });
        assert_eq!(rows.await.expect("read"), 1, "{wrong}");
    }
}

/// A deletion that is silently refused must not be reported as an erasure.
#[tokio::test]
async fn an_erasure_that_leaves_a_row_is_none() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = SubjectId(subject_of(&world, &anna).await);
    let superuser = world.superuser().await;
    superuser.batch_execute("DROP POLICY consents_erase ON read.consents").await.expect("dropped");
    let refused = erasure::at_once(&world.app, subject).await.expect_err("a row stays");
    assert!(refused.to_string().contains("subject_left concerned 1 row(s) instead of 0"), "{refused}");
    let keys = "SELECT FROM vault.subjects WHERE subject_id = $1";
    assert_eq!(superuser.execute(keys, &[&subject.0]).await.expect("read"), 1, "nothing of it was kept");
    assert_eq!(world.app.ledger.unfinished().await.expect("read").len(), 1, "and it is begun, not ended");
    let policy = "CREATE POLICY consents_erase ON read.consents FOR DELETE TO lethe_api
                  USING (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND (SELECT lethe.ticket_role()) = 'job')";
    superuser.batch_execute(policy).await.expect("made again");
    erasure::at_once(&world.app, subject).await.expect("erased");
    assert_eq!(superuser.execute(keys, &[&subject.0]).await.expect("read"), 0);
}

/// What an erasure looks through at its end is every table about people that its login may read.
#[tokio::test]
async fn an_erasure_looks_through_every_table_about_people() {
    let superuser = World::new().await.superuser().await;
    let tables = "SELECT c.oid::regclass::text AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE a.attname = 'subject_id' AND c.relkind = 'r' AND n.nspname !~ '^pg_'
                    AND has_any_column_privilege('lethe_api', c.oid, 'SELECT')";
    let found = superuser.query(tables, &[]).await.expect("the catalogue is read");
    let found: BTreeSet<String> = found.iter().map(|row| row.get("name")).collect();
    // The log, the fence, and jobs, of which the erasure is one, stay.
    let stays = ["log.events", "vault.erased", "jobs.jobs"].map(str::to_owned).into();
    let left = subject_left(SubjectId::NIL);
    let looked: BTreeSet<String> = left.sql().split('\'').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(looked, found.difference(&stays).cloned().collect(), "left: subject_left; right: the catalogue");
}

/// A server whose clock is far from its database's does not start, and reports both times.
#[tokio::test]
async fn a_server_with_a_wrong_clock_does_not_start() {
    let world = World::new().await;
    world.clock.advance(TimeDelta::minutes(10));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let mailbox = Mailbox::new(&server::mail_folder(&world.folder), "lethe@localhost.example").expect("a mailbox");
    let proxies = TrustedProxies::default();
    let serving = server::serve(world.app.clone(), mailbox, listener, proxies, std::future::pending());
    let refused = tokio::time::timeout(Duration::from_secs(60), serving).await.expect("it does not serve");
    assert!(matches!(refused, Err(ServerError::Clock(_))), "{refused:?}");
}

/// A session that holds a person's lock for long makes that person's requests wait for a while, and not for good.
#[tokio::test]
async fn a_request_waits_ten_seconds_for_a_lock_and_is_asked_to_come_again() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    let superuser = world.superuser().await;
    hold(&superuser, subject).await;
    // The lock's timeout ends the wait, long before the statement's would; both give the same answer.
    let password = world.suite.passwords[Login::Api.as_str()].as_str();
    let session = db::session(&world.database.address, Login::Api, Some(password)).await.expect("connects");
    let lock = i64::from_be_bytes(subject.as_bytes()[..8].try_into().expect("a UUID has sixteen bytes"));
    let refused = session.query("SELECT pg_advisory_xact_lock($1)", &[&lock]).await.expect_err("it is held");
    assert_eq!(refused.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{refused}");
    let answer = world.post(&anna, "/v1/work-events/daily", &day("2025-12-08", 8.0, 9.0)).await;
    assert!(answer.0.headers().contains_key("retry-after"));
    problem(answer, StatusCode::SERVICE_UNAVAILABLE, "busy").await;
    let_go(&superuser, subject).await;
    let answer = world.post(&anna, "/v1/work-events/daily", &day("2025-12-08", 8.0, 9.0)).await;
    expect(answer, StatusCode::CREATED).await;
}

/// An erasure looks for remaining rows in every table of people that its login can read, so that a new table is not
/// forgotten.
#[tokio::test]
async fn an_erasure_looks_into_every_table_of_people() {
    let world = World::new().await;
    let sql = "SELECT a.attrelid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               WHERE a.attname = 'subject_id' AND c.relkind IN ('r', 'p') AND NOT a.attisdropped
                 AND has_column_privilege('lethe_api', c.oid, a.attname, 'SELECT')
                 AND c.oid::regclass::text NOT IN ('log.events', 'vault.erased', 'jobs.jobs')";
    let rows = world.superuser().await.query(sql, &[]).await.expect("read");
    let looked: String = projections::rights::erasure::subject_erase(SubjectId::NIL, world.clock.now())
        .iter()
        .map(|query| query.sql())
        .collect();
    assert!(rows.len() > 12, "{}", rows.len());
    for row in rows {
        let table: &str = row.get(0);
        assert!(looked.contains(&format!("FROM {table} WHERE")), "an erasure does not look into {table}");
    }
}

/// `migrate` takes back whatever the database has set for all sessions, including the session of `migrate` itself.
#[tokio::test]
async fn migrate_takes_back_what_the_database_sets_for_its_own_session() {
    let own = Own::new().await;
    for setting in ["row_security = off", "statement_timeout = '1ms'", "default_transaction_read_only = on"] {
        let superuser = own.superuser().await;
        superuser.batch_execute(&format!("ALTER DATABASE lethe SET {setting}")).await.expect(setting);
        let migrated = own.store.migrate(None, &own.vault, &own.passwords).await;
        assert!(migrated.is_ok(), "{setting}: {migrated:?}");
        let left = "SELECT FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase <> 0";
        assert_eq!(superuser.execute(left, &[]).await.expect("read"), 0, "{setting}");
    }
}
