//! Steps that several journeys share: reading answers and problems, letting time pass, reading the database directly.

use chrono::TimeDelta;
use domain::rights::deletion::Scope;
use lethe::jobs::run_due;
use poem::{
    http::{HeaderMap, StatusCode},
    test::TestResponse,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Person, World, day, expect};

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub async fn of(answer: TestResponse) -> Self {
        let (status, headers) = (answer.0.status(), answer.0.headers().clone());
        let text = answer.0.into_body().into_string().await.expect("answers are text");
        Self { status, headers, text }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("header fields are plain text"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The problem document. Panics if the answer is none, or lacks a member that every problem has.
    pub fn problem(&self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status.as_u16(), "{}", self.text);
        assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")), "{}", self.text);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.text);
        problem
    }
}

/// The number of the version that a tag such as `"3-1f2e3d4c"` names.
pub fn version(answer: &Answer) -> Option<u32> {
    answer.header("etag")?.trim_matches('"').split_once('-')?.0.parse().ok()
}

/// A header field in which each number, such as `"3"`, stands for that version of the record with this tag.
pub fn versions(field: &str, tag: &str) -> String {
    let record = tag.trim_matches('"').split_once('-').map_or("", |(_, record)| record);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts = field.split('"').enumerate();
    let named = parts
        .map(|(at, part)| if at % 2 == 1 && is_number(part) { format!("{part}-{record}") } else { part.to_owned() });
    named.collect::<Vec<_>>().join("\"")
}

/// The problem document of an answer, whose type is `/problems/{kind}`.
pub async fn problem(answer: TestResponse, status: StatusCode, kind: &str) -> Value {
    let problem = Answer::of(answer).await.problem(status);
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
    problem
}

/// The fields that a problem names, in the problem's order.
pub fn fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    errors.iter().map(|error| error["field"].as_str().expect("a field is a text")).collect()
}

/// A code that differs from this one.
pub fn wrong(code: &str) -> String {
    let last = if code.ends_with('7') { '8' } else { '7' };
    format!("{}{last}", &code[..code.len() - 1])
}

/// Signs in a person who has an account.
pub async fn sign_in(world: &World, email: &str) -> Person {
    let code = world.code(email).await;
    let answer = world.client().post("/v1/auth/login").body_json(&json!({ "email": email, "code": code })).send().await;
    Person::new(email.to_owned(), &expect(answer, StatusCode::OK).await)
}

/// Moves the server's clock. The log's policy compares times with the database's clock, which can't be moved, so the
/// policy in this world's database is changed not to do so.
pub async fn let_pass(world: &World, time: TimeDelta) {
    let sql = "ALTER POLICY events_own_append ON log.events
               WITH CHECK (subject_id = ANY ((SELECT lethe.subject_ids())::uuid[]) AND aggregate_type <> 'access');
               ALTER POLICY events_access_append ON log.events
               WITH CHECK (aggregate_type = 'access' AND (SELECT lethe.ticket_role()) = 'system');
               ALTER POLICY events_statistics_append ON log.events
               WITH CHECK ((SELECT lethe.ticket_role()) = 'statistics' AND aggregate_type IN ('access', 'plan', 'release'))";
    world.superuser().await.batch_execute(sql).await.expect("the policy is altered");
    world.clock.advance(time);
}

/// The subject id of a person with an account.
pub async fn subject_of(world: &World, person: &Person) -> Uuid {
    let user: Uuid = person.user_id.parse().expect("a public id is a UUID");
    let sql = "SELECT subject_id FROM auth.users WHERE user_id = $1";
    world.superuser().await.query_one(sql, &[&user]).await.expect("the account is there").get(0)
}

/// Holds a person's lock until [`let_go`]. Everybody who reads or writes that person's records waits for it. Unlike a
/// table's lock, it needs no open transaction, which would hold back the readers of the log in every other test.
pub async fn hold(client: &tokio_postgres::Client, subject: Uuid) {
    client.execute("SELECT pg_advisory_lock($1)", &[&lock_key(subject)]).await.expect("the lock is ours");
}

/// Releases a person's lock.
pub async fn let_go(client: &tokio_postgres::Client, subject: Uuid) {
    client.execute("SELECT pg_advisory_unlock($1)", &[&lock_key(subject)]).await.expect("the lock was ours");
}

fn lock_key(subject: Uuid) -> i64 {
    i64::from_be_bytes(subject.into_bytes()[..8].try_into().expect("a UUID has sixteen bytes"))
}

/// Waits until a request waits for a person's lock; returns the process of its session.
pub async fn who_waits(client: &tokio_postgres::Client) -> i32 {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = 'lethe_api'
                 AND wait_event_type = 'Lock' AND query LIKE '%tx_open%'";
    loop {
        if let Some(row) = client.query_opt(sql, &[]).await.expect("asked") {
            return row.get(0);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The types of a person's events, oldest first, without reads.
pub async fn events_of(world: &World, person: &Person) -> Vec<String> {
    let sql =
        "SELECT event_type FROM log.events WHERE subject_id = $1 AND aggregate_type <> 'access' ORDER BY position";
    let rows = world.superuser().await.query(sql, &[&subject_of(world, person).await]).await.expect("the log is read");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Everything that commands change, as one text: events without reads, and all rows of keys, accounts, codes and read
/// models.
pub async fn state_of(client: &tokio_postgres::Client) -> String {
    const TABLES: [&str; 16] = [
        "vault.subjects",
        "vault.records",
        "auth.users",
        "auth.addresses",
        "auth.staff_roles",
        "auth.sessions",
        "auth.refresh_tokens",
        "auth.devices",
        "auth.codes",
        "auth.letters",
        "read.records",
        "read.consents",
        "read.accounts",
        "read.exports",
        "read.deletions",
        "read.retention",
    ];
    let parts = TABLES.map(|table| {
        format!("(SELECT '{table} ' || count(*) || md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t)")
    });
    let sql = format!(
        "SELECT concat_ws(', ', (SELECT 'events ' || count(*) FROM log.events WHERE aggregate_type <> 'access'),
                          (SELECT 'answers ' || count(*) FROM read.answers), {})",
        parts.join(", ")
    );
    client.query_one(&sql, &[]).await.expect("the tables are read").get(0)
}

/// Submits a day of eight planned and nine actual hours; returns its id.
pub async fn submit_day(world: &World, person: &Person, date: &str) -> String {
    let answer = world.post(person, "/v1/work-events/daily", &day(date, 8.0, 9.0)).await;
    expect(answer, StatusCode::CREATED).await["event_id"].as_str().expect("an id").to_owned()
}

/// Asks for a deletion; returns the answer and the mailed token.
pub async fn ask_to_delete(world: &World, person: &Person, wish: &Value) -> (Value, String) {
    let asked = expect(world.post(person, "/v1/privacy/delete-data", wish).await, StatusCode::ACCEPTED).await;
    (asked, world.mailed_token(&person.email).await)
}

/// Confirms a deletion with its phrase.
pub async fn confirm_deletion(world: &World, person: &Person, token: &str, scope: Scope) {
    let phrase = json!({ "phrase": scope.phrase() });
    let target = format!("/v1/privacy/confirm-deletion/{token}");
    expect(world.post(person, target, &phrase).await, StatusCode::OK).await;
}

/// Has a person erased, and lets the grace pass.
pub async fn erase(world: &World, person: &Person) {
    let (_, token) = ask_to_delete(world, person, &json!({ "deletion_type": "full" })).await;
    confirm_deletion(world, person, &token, Scope::Full).await;
    let_pass(world, TimeDelta::hours(48)).await;
    assert!(run_due(&world.app).await.expect("jobs run") > 0);
}

/// The tables with rows of a person, except the log and the fence, each with the number of rows.
pub async fn rows_of(client: &tokio_postgres::Client, subject: Uuid) -> Vec<String> {
    let tables = "SELECT c.oid::regclass::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE a.attname = 'subject_id' AND c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'log'
                    AND c.oid <> 'vault.erased'::regclass ORDER BY 1";
    let mut found = Vec::new();
    for row in client.query(tables, &[]).await.expect("the catalogue is read") {
        let table: String = row.get(0);
        let sql = format!("SELECT count(*) FROM {table} WHERE subject_id = $1");
        let count: i64 = client.query_one(&sql, &[&subject]).await.expect("counted").get(0);
        if count > 0 {
            found.push(format!("{table}: {count}"));
        }
    }
    found
}

/// A hundred and twenty events of the transactions 2, 4, 6 and so on, whose numbers have one to three digits.
pub async fn number_transactions(world: &World) {
    let sql = "INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, txid,
                                       event_id, subject_id, kind, recorded_at)
               SELECT 'record', 'day', n, 'record.submitted', '1.0', '{}', '{}', (2 * n)::text::xid8, gen_random_uuid(),
                      gen_random_uuid(), 'work_day', now()
               FROM generate_series(1, 120) n";
    world.superuser().await.execute(sql, &[]).await.expect("a superuser may choose the transaction's number");
}

/// A member of staff who has signed in.
pub async fn staff(world: &World, name: &str, role: context::Role) -> Person {
    let email = format!("{name}@lethe.example");
    lethe::app::identity::staff::add(&world.app, &email, role).await.expect("added");
    sign_in(world, &email).await
}
