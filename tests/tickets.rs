//! Tickets by direct SQL: what row-level security trusts, what it does not trust, and the most that each login may do.

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use context::{Clock, Ctx, Role, SubjectId};
use db::{Db, DbError, Gate, Login, Lookup, Query, Session, TicketKey, Tx};
use event_log::event_append;
use tokio_postgres::{Client, NoTls, error::SqlState};
use uuid::Uuid;

use crate::{log::event_of, town::Town};

/// Shows a ticket for the session. Logins that no ticket opens anything for can't show one.
async fn show(client: &Client, ticket: &str) {
    if let Err(error) = client.query("SELECT lethe.show($1, false)", &[&ticket]).await {
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{error:?}");
    }
}

/// How many rows a connection sees in all tables that its login may read.
async fn visible(town: &Town, client: &Client) -> i64 {
    let names: Vec<&str> = town.tables.iter().map(|table| table.name.as_str()).collect();
    let readable = "SELECT name FROM unnest($1::text[]) AS name
                    WHERE CASE WHEN has_schema_privilege(split_part(name, '.', 1), 'USAGE')
                               THEN has_table_privilege(name, 'SELECT') END";
    let rows = client.query(readable, &[&names]).await.expect("the catalogue is read");
    let counts: Vec<String> =
        rows.iter().map(|row| format!("(SELECT count(*) FROM {})", row.get::<_, &str>(0))).collect();
    let sql = format!("SELECT 0::bigint + {}", if counts.is_empty() { "0".to_owned() } else { counts.join(" + ") });
    client.query_one(&sql, &[]).await.expect("all of them are read").get(0)
}

/// Whether a grant or a policy refuses a statement. Any other failure fails the test.
async fn refused(client: &Client, sql: &str) -> bool {
    match client.batch_execute(sql).await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{sql}: {error:?}");
            true
        }
    }
}

async fn number(client: &Client) -> String {
    Session::begin(client).await.expect("a session begins").0.number
}

#[tokio::test]
async fn without_a_ticket_no_table_answers() {
    let town = Town::new().await;
    for login in Login::ALL.into_iter().filter(|login| !matches!(login, Login::Auditor | Login::Compliance)) {
        let client = town.world.login(login).await;
        assert_eq!(visible(&town, &client).await, 0, "{login:?}");
    }
    let client = town.world.login(Login::Api).await;
    for table in &town.tables {
        let rows = client.query(&format!("SELECT FROM {}", table.name), &[]).await;
        match rows {
            Ok(rows) => assert!(rows.is_empty(), "{}", table.name),
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{}: {error:?}", table.name);
            }
        }
    }
}

#[tokio::test]
async fn a_variable_set_by_hand_opens_nothing() {
    let town = Town::new().await;
    let client = town.world.login(Login::Api).await;
    let subject = town.people[0].subject;
    let names = ["app.current_user_id", "app.user_id", "lethe.subject_id", "lethe.ticket_role", "lethe.ticket"];
    for value in [subject.to_string(), format!("v3|{subject}||subject|99999999999|{}|", number(&client).await)] {
        for name in names {
            client.query("SELECT set_config($1, $2, false)", &[&name, &value]).await.expect("any variable can be set");
        }
        assert_eq!(visible(&town, &client).await, 0, "{value}");
    }
    for wrong in ["", "|", "||||||", "v3||||||", "v3|a|b|c|d|e|f|g", "%s\\'\"\u{fc}"] {
        show(&client, wrong).await;
        assert_eq!(visible(&town, &client).await, 0, "{wrong}");
    }
}

/// What the check of a ticket found is kept in a parameter of the session, which nobody else may write.
#[tokio::test]
async fn what_a_check_found_cannot_be_written_by_hand() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let found = format!("lethe {} subject 99999999999 _ {}", number(&client).await, anna.subject.0.simple());
    let ways = [
        format!("SET backtrace_functions = '{found}'"),
        format!("SET SESSION backtrace_functions TO '{found}'"),
        format!("BEGIN; SET LOCAL backtrace_functions = '{found}'"),
        format!("SELECT set_config('backtrace_functions', '{found}', false)"),
        format!("SELECT set_config('Backtrace_Functions', '{found}', true)"),
        format!("DO $$ BEGIN PERFORM set_config('backtrace_functions', '{found}', false); END $$"),
        format!("UPDATE pg_settings SET setting = '{found}' WHERE name = 'backtrace_functions'"),
        format!("ALTER ROLE lethe_api SET backtrace_functions = '{found}'"),
        format!("ALTER SYSTEM SET backtrace_functions = '{found}'"),
        format!(
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET backtrace_functions = '{found}' AS 'SELECT 1'"
        ),
        "SET ROLE lethe_owner".to_owned(),
    ];
    for way in ways {
        match client.batch_execute(&way).await {
            // It sets nothing, because there is nothing that it may set.
            Ok(()) => assert!(way.starts_with("UPDATE"), "{way}"),
            Err(error) => assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{way}: {error:?}"),
        }
        client.batch_execute("ROLLBACK").await.expect("rolled back");
        assert_eq!(visible(&town, &client).await, 0, "{way}");
    }
    let mut config = town
        .world
        .database
        .address
        .config(Login::Api.as_str(), Some(town.world.suite.passwords[Login::Api.as_str()].as_str()));
    config.options(format!("-c backtrace_functions={}", found.replace(' ', "\\ ")));
    assert!(config.connect(NoTls).await.is_err(), "a session can't begin with it");
}

/// What a ticket opened is closed again by whatever ends it.
#[tokio::test]
async fn what_a_ticket_opens_ends_with_its_transaction() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let ticket = town.ticket(&client, anna, Role::Subject, None).await;
    let shown = format!("SELECT lethe.show('{ticket}', true)");
    for (before, after) in [
        ("BEGIN", "COMMIT"),
        ("BEGIN", "ROLLBACK"),
        ("BEGIN; SAVEPOINT s", "ROLLBACK TO s"),
        ("BEGIN", "RESET ALL"),
        ("BEGIN", "SELECT lethe.show('nonsense', true)"),
        ("BEGIN", "SELECT lethe.show(NULL, true)"),
        ("SELECT 1", "SELECT 1"),
    ] {
        client.batch_execute(before).await.expect(before);
        client.batch_execute(&shown).await.expect("shown");
        assert_eq!(visible(&town, &client).await > 0, before.starts_with("BEGIN"), "{before}");
        client.batch_execute(after).await.expect(after);
        assert_eq!(visible(&town, &client).await, 0, "{after}");
        client.batch_execute("ROLLBACK").await.expect("rolled back");
    }
    show(&client, &ticket).await;
    assert!(visible(&town, &client).await > 0, "a session's ticket");
    client.batch_execute("DISCARD ALL").await.expect("discarded");
    assert_eq!(visible(&town, &client).await, 0);
}

#[tokio::test]
async fn a_ticket_with_one_changed_byte_opens_nothing() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let ticket = town.ticket(&client, anna, Role::Subject, Some(anna.lookup)).await;
    assert_eq!(ticket.split('|').count(), 7);
    show(&client, &ticket).await;
    assert!(visible(&town, &client).await > 0, "the ticket itself is good");
    for at in 0..ticket.len() {
        for instead in ['0', '1', '|'].iter().filter(|other| !ticket[at..].starts_with(**other)) {
            let changed = format!("{}{instead}{}", &ticket[..at], &ticket[at + 1..]);
            show(&client, &changed).await;
            assert_eq!(visible(&town, &client).await, 0, "{changed}");
        }
    }
    for changed in [&ticket[1..], &ticket[..ticket.len() - 1], &format!("{ticket}0"), &format!("{ticket}|{ticket}")] {
        show(&client, changed).await;
        assert_eq!(visible(&town, &client).await, 0, "{changed}");
    }
}

#[tokio::test]
async fn a_ticket_of_another_session_or_ring_opens_nothing() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let (session, now) = Session::begin(&client).await.expect("a session");
    let ours = town.world.app.vault.ring().ticket_key();
    let mint = |key: &TicketKey, session: &Session| key.mint(anna.subject, None, Role::Subject, now, session);
    show(&client, &mint(&ours, &session)).await;
    assert!(visible(&town, &client).await > 0, "the ticket itself is good");
    let (other, numbered) = (town.world.login(Login::Api).await, |number: &str| Session { number: number.to_owned() });
    let wrong = [
        ("of another session", mint(&ours, &Session::begin(&other).await.expect("a session").0)),
        ("of no session", mint(&ours, &numbered(""))),
        ("of a session with a longer number", mint(&ours, &numbered(&format!("{}0", session.number)))),
        ("of another ring", mint(&TicketKey::new([7; 32]), &session)),
    ];
    for (what, ticket) in wrong {
        show(&client, &ticket).await;
        assert_eq!(visible(&town, &client).await, 0, "{what}");
    }
    // A session that has not begun has no number, which is not the empty one.
    let fresh = town.world.login(Login::Api).await;
    show(&fresh, &mint(&ours, &numbered(""))).await;
    assert_eq!(visible(&town, &fresh).await, 0, "a session that has not begun");
}

/// Whoever could give a session the number of another one could show there what was seen here.
#[tokio::test]
async fn a_session_has_one_number_and_nobody_chooses_it() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let ticket = town.ticket(&client, anna, Role::Subject, None).await;
    let first = number(&client).await;
    assert_eq!(number(&client).await, first, "it stays the same");
    for ends in ["RESET ALL", "DISCARD ALL", "RESET backtrace_functions"] {
        let Ok(()) = client.batch_execute(ends).await else { continue };
        assert_ne!(number(&client).await, first, "{ends}");
        show(&client, &ticket).await;
        assert_eq!(visible(&town, &client).await, 0, "{ends}");
    }
    // Under a ticket, and behind a savepoint that is taken back, it stays as well.
    let (client, ticket) =
        (town.world.login(Login::Api).await, |client| town.ticket(client, anna, Role::Subject, None));
    let ticket = ticket(&client).await;
    let first = number(&client).await;
    client.batch_execute("BEGIN; SAVEPOINT s").await.expect("begun");
    client.query("SELECT lethe.show($1, true)", &[&ticket]).await.expect("shown");
    assert_eq!(number(&client).await, first);
    client.batch_execute("ROLLBACK TO s; ROLLBACK").await.expect("rolled back");
    assert_eq!(number(&client).await, first);
}

/// A transaction can leave persons out of its ticket, and can take nobody in.
#[tokio::test]
async fn a_ticket_only_loses_persons() {
    let town = Town::new().await;
    let client = town.world.login(Login::Api).await;
    let (session, now) = Session::begin(&client).await.expect("a session");
    let subjects: Vec<SubjectId> = town.people.iter().map(|person| person.subject).collect();
    let (named, stranger) = (&subjects[..2], subjects[2]);
    let key = town.world.app.vault.ring().ticket_key();
    let ticket = key.mint_until(named, None, Role::Subject, now + TimeDelta::seconds(60), &session);
    let seen = "SELECT array_agg(subject_id ORDER BY subject_id) FROM vault.subjects";
    let ids = |subjects: &[SubjectId]| {
        let mut ids: Vec<Uuid> = subjects.iter().map(|subject| subject.0).collect();
        ids.sort_unstable();
        ids
    };
    let everybody = ids(named);
    for (kept, stay) in [
        (ids(named), ids(named)),
        (ids(&[named[0], stranger]), ids(&named[..1])),
        (ids(&named[1..]), ids(&named[1..])),
        (ids(&[stranger]), Vec::new()),
        (Vec::new(), Vec::new()),
    ] {
        client.batch_execute("BEGIN").await.expect("begun");
        client.query("SELECT lethe.show($1, true)", &[&ticket]).await.expect("shown");
        let said: Vec<Uuid> = client.query_one("SELECT lethe.keep($1)", &[&kept]).await.expect("kept").get(0);
        let rows: Option<Vec<Uuid>> = client.query_one(seen, &[]).await.expect("read").get(0);
        assert_eq!(
            (ids(&said.into_iter().map(SubjectId).collect::<Vec<_>>()), rows.unwrap_or_default()),
            (stay.clone(), stay.clone())
        );
        // Who was left out doesn't come back.
        client.query_one("SELECT lethe.keep($1)", &[&everybody]).await.expect("kept");
        let rows: Option<Vec<Uuid>> = client.query_one(seen, &[]).await.expect("read").get(0);
        assert_eq!(rows.unwrap_or_default(), stay);
        client.batch_execute("ROLLBACK").await.expect("rolled back");
    }
}

/// A ticket that has expired must not give "no rows", because a deletion would then be reported as done.
#[tokio::test]
async fn a_ticket_that_ran_out_is_an_error_and_never_no_rows() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    let (session, now) = Session::begin(&client).await.expect("a session");
    let ours = town.world.app.vault.ring().ticket_key();
    let mint = |age| ours.mint(anna.subject, None, Role::Job, now - TimeDelta::seconds(age), &session);
    for sql in
        ["SELECT FROM vault.records", "DELETE FROM read.accounts", "UPDATE read.accounts SET restricted_at = now()"]
    {
        show(&client, &mint(62)).await;
        let ran_out = client.execute(sql, &[]).await.expect_err(sql);
        assert_eq!(ran_out.code().map(SqlState::code), Some("LT001"), "{sql}: {ran_out}");
        assert!(matches!(DbError::from(ran_out), DbError::TicketRanOut));
        show(&client, &mint(0)).await;
        client.batch_execute("BEGIN").await.expect("begun");
        assert!(client.execute(sql, &[]).await.expect("a good ticket") > 0, "{sql}");
        client.batch_execute("ROLLBACK").await.expect("rolled back");
    }
    // A forged ticket that has expired reveals nothing about the rows that it would have opened.
    let forged = TicketKey::new([7; 32]).mint(anna.subject, None, Role::Job, now - TimeDelta::seconds(62), &session);
    show(&client, &forged).await;
    assert_eq!(client.execute("DELETE FROM read.accounts", &[]).await.expect("nothing"), 0);
}

#[tokio::test]
async fn a_transaction_whose_ticket_ran_out_begins_again_with_a_fresh_one() {
    let town = Town::new().await;
    let (anna, db) = (&town.people[0], &town.world.app.db.api);
    let ctx = &Ctx::job(town.world.clock.clone(), anna.subject);
    let attempts = &std::sync::atomic::AtomicU32::new(0);
    let key = &town.world.app.vault.ring().ticket_key();
    let deleted = db
        .run_tx("delete", ctx, Gate::read(ctx), move |tx: Tx| async move {
            let attempt = attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let [rows] = tx.flight([Query::new("-- session\nSELECT number, now FROM lethe.begin_session()")]).await?;
            if attempt == 0 {
                // The time that a lock or a long statement may take.
                let now: chrono::DateTime<Utc> = rows[0].get("now");
                let session = Session { number: rows[0].get("number") };
                let late = key.mint(anna.subject, None, Role::Job, now - TimeDelta::seconds(62), &session);
                tx.flight([Query::new("-- late\nSELECT lethe.show($1, true)").bind(late)]).await?;
            }
            tx.queue(
                Query::new("-- gone\nDELETE FROM read.retention WHERE subject_id = $1").bind(anna.subject.0).exactly(1),
            );
            Ok::<_, DbError>(attempt)
        })
        .await;
    assert_eq!(deleted.expect("deleted"), 1, "in the second attempt");
    let left = "SELECT FROM read.retention WHERE subject_id = $1";
    assert_eq!(town.world.superuser().await.execute(left, &[&anna.subject.0]).await.expect("read"), 0);
}

#[tokio::test]
async fn a_statement_that_must_find_rows_and_finds_none_takes_the_transaction_back() {
    let town = Town::new().await;
    let (anna, ben, db) = (&town.people[0], &town.people[1], &town.world.app.db.api);
    let ctx = &Ctx::job(town.world.clock.clone(), anna.subject);
    let erase =
        |whose: SubjectId| Query::new("-- erase\nDELETE FROM read.consents WHERE subject_id = $1").bind(whose.0);
    let refused = db
        .run_tx("erase", ctx, Gate::read(ctx), move |tx: Tx| async move {
            tx.queue(erase(anna.subject));
            tx.queue(erase(ben.subject).exactly(1));
            Ok::<_, DbError>(())
        })
        .await;
    let refused = refused.expect_err("ben's rows are not anna's");
    assert!(refused.to_string().contains("erase concerned 0 row(s) instead of 1"), "{refused}");
    let left = "SELECT FROM read.consents WHERE subject_id = $1";
    assert!(
        town.world.superuser().await.execute(left, &[&anna.subject.0]).await.expect("read") > 0,
        "nothing was kept"
    );
}

/// The ways in which a transaction ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Refusal,
    Failure,
    Cancelled,
    Dropped,
    DroppedWhileOpening,
}

/// Appends an event of a person, and then ends early.
async fn end_early(db: &Db, clock: &Clock, subject: SubjectId, end: End) -> Result<(), DbError> {
    let ctx = &Ctx::system(clock.clone()).for_subject(subject, None);
    let work = move |tx: Tx| async move {
        tx.flight([event_append(vec![event_of(subject, "account", "early end", 1, ctx.now())])]).await?;
        match end {
            End::Refusal => return Err(DbError::Refused),
            End::Failure => drop(tx.flight([Query::new("-- fail\nSELECT 1 / 0")]).await?),
            _ => drop(tx.flight([Query::new("-- linger\nSELECT pg_sleep(10)")]).await?),
        }
        Ok(())
    };
    let gate = if end == End::DroppedWhileOpening { Gate::shared(ctx) } else { Gate::read(ctx) };
    let run = db.run_tx("end_early", ctx, gate, work);
    match end {
        End::Dropped | End::DroppedWhileOpening => {
            tokio::time::timeout(Duration::from_millis(300), run).await.expect_err("it is still under way");
            Err(DbError::Refused)
        }
        _ => run.await,
    }
}

#[tokio::test]
async fn a_connection_keeps_nothing_of_the_transaction_before() {
    let town = Town::new().await;
    let superuser = town.world.superuser().await;
    let (anna, ben) = (town.people[0].subject, town.people[1].subject);
    let key = Arc::new(town.world.app.vault.ring().ticket_key());
    let password = town.world.suite.passwords[Login::Api.as_str()].as_str();
    let db = Db::connect(&town.world.database.address, Login::Api, password, 1, key);
    let lock = i64::from_be_bytes(anna.0.as_bytes()[..8].try_into().expect("a UUID has sixteen bytes"));
    superuser.execute("SELECT pg_advisory_lock($1)", &[&lock]).await.expect("locked");
    let mut backend = None;
    for end in [End::Refusal, End::Failure, End::Cancelled, End::Dropped, End::DroppedWhileOpening] {
        let early = end_early(&db, &town.world.clock, anna, end);
        let outcome = if end == End::Cancelled { tokio::join!(early, cancel(&superuser)).0 } else { early.await };
        assert!(outcome.is_err(), "{end:?}");
        let ctx = &Ctx::system(town.world.clock.clone()).for_subject(ben, None);
        let (subjects, left, now_backend) = db
            .run_tx("next", ctx, Gate::read(ctx), |tx: Tx| async move {
                let [rows] = tx
                    .finish([Query::new("-- next\nSELECT DISTINCT subject_id, pg_backend_pid() FROM log.events")])
                    .await?;
                // The transaction is over: this query sees what the connection keeps.
                let after =
                    "-- after\nSELECT current_setting('backtrace_functions', true), (SELECT count(*) FROM log.events)";
                let [after] = tx.flight([Query::new(after)]).await?;
                let left: (Option<String>, i64) = (after[0].get(0), after[0].get(1));
                Ok::<_, DbError>((
                    rows.iter().map(|row| row.get(0)).collect::<Vec<Uuid>>(),
                    left,
                    rows[0].get::<_, i32>(1),
                ))
            })
            .await
            .expect("the next transaction runs");
        assert_eq!(subjects, [ben.0], "{end:?}");
        let words = left.0.unwrap_or_default().split(' ').count();
        assert_eq!((words, left.1), (2, 0), "{end:?}: it keeps the number of its session");
        let dropped = matches!(end, End::Dropped | End::DroppedWhileOpening);
        assert_eq!(backend.replace(now_backend).is_some_and(|before| before != now_backend), dropped, "{end:?}");
    }
    superuser.execute("SELECT pg_advisory_unlock($1)", &[&lock]).await.expect("unlocked");
    let ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory')";
    while !superuser.query_one(ended, &[]).await.expect("activity is shown").get::<_, bool>(0) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stored = "SELECT FROM log.events WHERE aggregate_id = 'early end'";
    assert_eq!(superuser.execute(stored, &[]).await.expect("the log is read"), 0, "none of them left an event");
}

/// A statement whose caller has gone would hold its locks, and every reader of the log, until its timeout.
#[tokio::test]
async fn who_hangs_up_leaves_no_statement_behind() {
    let town = Town::new().await;
    let superuser = town.world.superuser().await;
    let ended = end_early(&town.world.app.db.api, &town.world.clock, town.people[0].subject, End::Dropped).await;
    assert!(ended.is_err());
    let lingering = "SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND query LIKE '-- linger%' AND state = 'active'";
    let gone = async {
        while superuser.execute(lingering, &[]).await.expect("activity is shown") > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the backend ends soon");
}

/// Cancels the lingering statement, as soon as there is one.
async fn cancel(superuser: &Client) {
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND query LIKE '-- linger%' AND state = 'active'";
    while superuser.execute(cancel, &[]).await.expect("it is cancelled") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An insert into the log with clear text in every column that may be given.
fn insert(kind: &str, subject: SubjectId, recorded_at: &str) -> String {
    let (stream, event) = (SubjectId::random(), SubjectId::random());
    format!(
        "INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                                 subject_id, kind, recorded_at)
         VALUES ('{kind}', '{stream}', 1, 'test.happened', '1.0', '{{}}', '{{}}', '{event}', '{subject}', 'test', {recorded_at})"
    )
}

#[tokio::test]
async fn the_log_takes_the_present_time_only() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Api).await, &town.people[0]);
    show(&client, &town.ticket(&client, anna, Role::Subject, None).await).await;
    for wrong in
        ["now() - interval '1 hour'", "now() - interval '3 minutes'", "now() + interval '1 hour'", "'infinity'"]
    {
        assert!(refused(&client, &insert("account", anna.subject, wrong)).await, "{wrong}");
    }
    assert!(!refused(&client, &insert("account", anna.subject, "now()")).await);
    assert!(refused(&client, &insert("access", anna.subject, "now()")).await, "reads are written by another login");
    assert!(refused(&client, &insert("account", town.people[1].subject, "now()")).await, "somebody else's");
    assert!(refused(&client, &insert("account", SubjectId::NIL, "now()")).await, "the system's");
}

#[tokio::test]
async fn the_log_of_reads_is_all_that_lethe_access_may_write() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::Access).await, &town.people[0]);
    assert!(refused(&client, &insert("access", anna.subject, "now()")).await, "without a ticket");
    show(&client, &town.ticket(&client, anna, Role::Subject, None).await).await;
    assert!(refused(&client, &insert("access", anna.subject, "now()")).await, "with a person's ticket");
    show(&client, &town.ticket(&client, anna, Role::System, None).await).await;
    assert!(!refused(&client, &insert("access", anna.subject, "now()")).await);
    assert!(!refused(&client, &insert("access", anna.subject, "now() - interval '1 hour'")).await, "after an outage");
    assert!(
        refused(&client, &insert("access", anna.subject, "now() + interval '3 minutes'")).await,
        "by a clock ahead"
    );
    for kind in ["account", "record", "consent", "Access", ""] {
        assert!(refused(&client, &insert(kind, anna.subject, "now()")).await, "{kind}");
    }
    for table in &town.tables {
        for sql in ["SELECT FROM {}", "DELETE FROM {}"] {
            assert!(refused(&client, &sql.replace("{}", &table.name)).await, "{sql} {}", table.name);
        }
    }
}

#[tokio::test]
async fn the_system_reads_no_key() {
    let town = Town::new().await;
    let (client, anna) = (town.world.login(Login::System).await, &town.people[0]);
    show(&client, &town.ticket(&client, anna, Role::System, Some(anna.lookup)).await).await;
    // A rotation of the ring needs to know the servers and the version of each person's keys, and the compliance desk
    // needs the fence.
    let of_the_ring = ["vault.nodes", "vault.ring_floor", "vault.subjects", "vault.erased"];
    for table in town.tables.iter().filter(|table| table.name.starts_with("vault.")) {
        let open = of_the_ring.contains(&table.name.as_str());
        assert_eq!(refused(&client, &format!("SELECT FROM {}", table.name)).await, !open, "{}", table.name);
    }
    for column in ["wrapping_version", "index_key", "trail_key", "wrapping_key"] {
        assert!(refused(&client, &format!("SELECT {column} FROM vault.subjects")).await, "{column}");
    }
    assert!(!refused(&client, "SELECT FROM log.events").await, "it reads the log");
    for table in ["auth.users", "auth.addresses", "auth.refresh_tokens", "read.accounts WHERE hold_sealed IS NULL"] {
        assert!(refused(&client, &format!("SELECT FROM {table}")).await, "{table}");
    }
    // The system's login looks for rows that have expired, wait or are too old. It sees none of their sealed values.
    for (table, column) in [
        ("records", "payload"),
        ("deletions", "sealed"),
        ("deletions", "token_hash"),
        ("exports", "sealed"),
        ("exports", "file_key"),
        ("consents", "notice_hash"),
    ] {
        assert!(refused(&client, &format!("SELECT {column} FROM read.{table}")).await, "{table}.{column}");
    }
}

#[tokio::test]
async fn logins_with_sql_of_their_own_see_pseudonymous_columns_only() {
    let town = Town::new().await;
    for login in [Login::Auditor, Login::Compliance, Login::Dashboard, Login::Stats] {
        let client = town.world.login(login).await;
        let anna = &town.people[0];
        show(&client, &town.ticket(&client, anna, Role::Auditor, Some(Lookup([0; 32]))).await).await;
        let reads_log = matches!(login, Login::Auditor | Login::Compliance);
        // The tables that the release of statistics may read, under its own ticket only.
        let of_the_release = [
            "vault.subjects",
            "vault.records",
            "read.records",
            "read.consents",
            "read.accounts",
            "log.events",
            "stats.hospitals",
            "stats.ledger",
        ];
        for table in &town.tables {
            if login == Login::Stats && of_the_release.contains(&table.name.as_str()) {
                let rows = client.query(&format!("SELECT FROM {}", table.name), &[]).await.expect("granted");
                assert!(rows.is_empty(), "{} under another's ticket", table.name);
                continue;
            }
            let published =
                table.name.starts_with("stats.") && !["stats.ledger", "stats.hospitals"].contains(&table.name.as_str());
            let of_the_log = table.name.starts_with("log.")
                || matches!(table.name.as_str(), "read.audit_log" | "read.activity" | "read.projections");
            let open = published || reads_log && of_the_log;
            assert_eq!(
                refused(&client, &format!("SELECT FROM {}", table.name)).await,
                !open,
                "{login:?} {}",
                table.name
            );
        }
        assert_eq!(visible(&town, &client).await > 0, reads_log, "{login:?}");
        assert!(refused(&client, &insert("access", anna.subject, "now()")).await, "{login:?} writes nothing");
    }
}
