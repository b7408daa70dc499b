//! Deletion: nothing is deleted without a mailed token and a typed phrase; there is a grace in which it can be
//! cancelled; exactly the chosen data goes; and nothing leads to an erased person.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, SubjectId};
use domain::{
    Source,
    filter::Filter,
    kinds::{Shape, WORK_DAY, WorkDay},
    rights::{consent::Purpose, deletion::Scope},
};
use lethe::{
    app::{
        App, AppError,
        operation::job::Next,
        records::{
            list,
            record::{self, Batch, Submission},
        },
        rights::{consent, deletion, hold},
    },
    http,
    jobs::run_due,
    server::Settings,
};
use poem::{
    http::{Method, StatusCode},
    test::TestClient,
};
use projections::page::Page;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    export::somebody,
    isolation::property,
    program::token_of,
    steps::{
        ask_to_delete, confirm_deletion, events_of, fields, let_pass, problem, rows_of, sign_in, state_of, subject_of,
    },
    support::{Person, World, day, expect},
};

async fn confirm(world: &World, person: &Person, token: &str, phrase: &str) -> poem::test::TestResponse {
    world.post(person, format!("/v1/privacy/confirm-deletion/{token}"), &json!({ "phrase": phrase })).await
}

async fn cancel(world: &World, person: &Person, token: &str) -> poem::test::TestResponse {
    world.post(person, format!("/v1/privacy/cancel-deletion/{token}"), &Value::Null).await
}

async fn submit(world: &World, person: &Person, date: &str) -> poem::test::TestResponse {
    world.post(person, "/v1/work-events/daily", &day(date, 8.0, 9.0)).await
}

async fn days(world: &World, person: &Person) -> Vec<String> {
    let events = expect(world.get(person, "/v1/work-events/me").await, StatusCode::OK).await["events"].clone();
    events.as_array().expect("a list").iter().map(|day| day["date"].as_str().expect("a date").to_owned()).collect()
}

#[tokio::test]
async fn deletion_confirm_erases_a_person_after_token_phrase_and_grace() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let wish = json!({ "deletion_type": "full", "reason": "I move on" });
    let (asked, token) = ask_to_delete(&world, &anna, &wish).await;
    let would_go = json!([
        { "kind": "contact", "count": 1 }, { "kind": "work_profile", "count": 1 }, { "kind": "work_day", "count": 1 },
    ]);
    assert_eq!(asked["would_go"], would_go);
    assert_eq!((&asked["status"], &asked["grace_period_s"]), (&json!("pending"), &json!(172_800)));
    let phrase = asked["confirmation_phrase"].as_str().expect("a phrase").to_owned();
    assert!(!asked.to_string().contains(&token), "the token is mailed only");
    assert_eq!(asked["stays"].as_array().map(Vec::len), Some(3), "log, statistics, consents: {asked}");

    let ben = world.person("ben").await;
    for (who, token) in [(&anna, "x".repeat(43)), (&ben, token.clone())] {
        let unknown = problem(confirm(&world, who, &token, &phrase).await, StatusCode::NOT_FOUND, "missing").await;
        assert_eq!(unknown["detail"], "There is no such request.", "a foreign token is answered as none is");
        problem(cancel(&world, who, &token).await, StatusCode::NOT_FOUND, "missing").await;
    }
    let wrong = confirm(&world, &anna, &token, "yes").await;
    let wrong = problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&wrong), ["phrase"]);
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 0);

    let confirmed = expect(confirm(&world, &anna, &token, &phrase).await, StatusCode::OK).await;
    assert_eq!((&confirmed["status"], &confirmed["reason"]), (&json!("confirmed"), &json!("I move on")));
    assert!(confirmed["seconds_left"].as_i64().is_some_and(|left| (172_790..=172_800).contains(&left)));
    problem(confirm(&world, &anna, &token, &phrase).await, StatusCode::CONFLICT, "deletion-confirmed").await;
    let again = world.post(&anna, "/v1/privacy/delete-data", &json!({ "deletion_type": "full" })).await;
    problem(again, StatusCode::CONFLICT, "deletion-waiting").await;

    // Reading works, submitting does not, and nothing is deleted before the grace is over.
    assert_eq!(days(&world, &anna).await, ["2025-12-08"]);
    problem(submit(&world, &anna, "2025-12-09").await, StatusCode::CONFLICT, "deletion-waiting").await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 0);
    let_pass(&world, TimeDelta::hours(48)).await;
    let anna = sign_in(&world, &anna.email).await;
    problem(cancel(&world, &anna, &token).await, StatusCode::CONFLICT, "grace-over").await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);

    let told = problem(world.get(&anna, "/v1/auth/me").await, StatusCode::UNAUTHORIZED, "erased").await;
    let day = world.clock.now().date_naive().to_string();
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(&day)), "{told}");
    let certificate = attachment(&world.take_letter(&anna.email, "certificate-of-erasure.jsonld").await);
    let counts = json!({ "contact": 1, "work_profile": 1, "work_day": 1 });
    assert_eq!(certificate["recordsRemoved"], counts, "{certificate}");
    let key = world.app.vault.ring().evidence().expect("an evidence key").public;
    assert!(vault::check_document(&certificate, &key));
    let body = json!({ "email": anna.email, "code": world.code(&anna.email).await });
    let login = world.client().post("/v1/auth/login").body_json(&body).send().await;
    problem(login, StatusCode::NOT_FOUND, "missing").await;

    assert_eq!(
        rows_of(&world.superuser().await, subject).await,
        ["jobs.jobs: 1"],
        "only that the work is done is left"
    );
    let log = world.superuser().await;
    let sql =
        "SELECT event_type FROM log.events WHERE subject_id = $1 AND aggregate_type <> 'access' ORDER BY position";
    let events: Vec<String> = log.query(sql, &[&subject]).await.expect("read").iter().map(|row| row.get(0)).collect();
    assert_eq!(events.last().map(String::as_str), Some("subject.erased"), "{events:?}");
    assert!(events.contains(&"record.submitted".to_owned()), "the log is whole");
    // The fence: no key is ever made again for an erased id, whoever asks.
    let ctx = Ctx::job(world.clock.clone(), SubjectId(subject));
    let (_, wrapped) = world.app.vault.create_subject(ctx.subject);
    let made = world.app.db.api.run_tx("fence", &ctx, db::Gate::alone(&ctx), async |tx: db::Tx| {
        tx.flight([vault::subject_insert(ctx.subject, &wrapped)]).await.map(drop)
    });
    assert!(matches!(made.await, Err(db::DbError::Refused)), "the fence holds");
    assert_eq!(days(&world, &sign_in(&world, &ben.email).await).await, [""; 0], "others are untouched");
}

#[tokio::test]
async fn a_certificate_can_be_verified_by_whoever_has_the_public_key() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let body = json!({ "deletion_type": "partial", "filters": { "kinds": ["work_day"] } });
    let (_, token) = ask_to_delete(&world, &anna, &body).await;
    confirm_deletion(&world, &anna, &token, Scope::Partial).await;
    let_pass(&world, TimeDelta::hours(48)).await;
    run_due(&world.app).await.expect("jobs run");
    let certificate = attachment(&world.take_letter(&anna.email, "certificate-of-erasure.jsonld").await);
    assert_eq!(certificate["recordsRemoved"], json!({ "work_day": 1 }));
    assert!(certificate["unrecoverableBy"].as_str() > certificate["erasedAt"].as_str(), "{certificate}");
    let key = world.app.vault.ring().evidence().expect("an evidence key").public;
    assert!(vault::check_document(&certificate, &key));
    let mut forged = certificate.clone();
    forged["recordsRemoved"]["work_day"] = json!(2);
    assert!(!vault::check_document(&forged, &key));
}

/// The JSON that is attached to a letter in base64.
pub fn attachment(letter: &str) -> Value {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let (_, part) = letter.split_once(".jsonld").expect("an attachment");
    let (_, body) = part.split_once("\r\n\r\n").expect("a body");
    let text: String = body.split("\r\n--").next().unwrap_or_default().split_whitespace().collect();
    serde_json::from_slice(&STANDARD.decode(text).expect("base64")).expect("JSON")
}

#[tokio::test]
async fn deletion_get_shows_a_partial_deletion_that_took_exactly_what_was_asked_for() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for date in ["2025-10-31", "2025-11-01", "2025-11-30", "2025-12-01"] {
        expect(submit(&world, &anna, date).await, StatusCode::CREATED).await;
    }
    let refused = async |body: Value| {
        let answer = world.post(&anna, "/v1/privacy/delete-data", &body).await;
        let answer = problem(answer, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
        fields(&answer).join(" ")
    };
    assert_eq!(refused(json!({ "deletion_type": "partial" })).await, "filters");
    assert_eq!(refused(json!({ "deletion_type": "some" })).await, "deletion_type");
    assert_eq!(refused(json!({ "deletion_type": "full", "filters": { "kinds": ["work_day"] } })).await, "filters");
    let contact = json!({ "deletion_type": "partial", "filters": { "kinds": ["contact", "moods"] } });
    assert_eq!(refused(contact).await, "filters.kinds[1] filters.kinds[0]");
    let nothing = json!({ "deletion_type": "partial", "filters": { "from": "2024-01-01", "to": "2024-12-31" } });
    assert_eq!(refused(nothing).await, "filters");
    let backwards = json!({ "deletion_type": "partial", "filters": { "from": "2025-02-02", "to": "2025-02-01" } });
    assert_eq!(refused(backwards).await, "filters.from");
    assert_eq!(refused(json!({ "deletion_type": "sessions_only" })).await, "filters", "there is no session");

    let november = json!({ "from": "2025-11-01", "to": "2025-11-30" });
    let wish = json!({ "deletion_type": "partial", "filters": november });
    let (asked, token) = ask_to_delete(&world, &anna, &wish).await;
    assert_eq!(asked["would_go"], json!([{ "kind": "work_day", "count": 2 }]));
    confirm_deletion(&world, &anna, &token, Scope::Partial).await;
    let_pass(&world, TimeDelta::hours(48)).await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let anna = sign_in(&world, &anna.email).await;
    assert_eq!(days(&world, &anna).await, ["2025-10-31", "2025-12-01"]);
    let id = asked["deletion_id"].as_str().expect("an id");
    let done = expect(world.get(&anna, format!("/v1/privacy/deletions/{id}")).await, StatusCode::OK).await;
    assert_eq!((&done["status"], &done["removed"], &done["filters"]), (&json!("completed"), &json!(2), &november));
    // Later submissions are accepted, also of the deleted days, as new records.
    expect(submit(&world, &anna, "2025-11-01").await, StatusCode::CREATED).await;
    assert!(events_of(&world, &anna).await.contains(&"deletion.completed".to_owned()));
}

#[tokio::test]
async fn deletion_request_of_sessions_or_of_tests_of_one_type_leaves_the_rest() {
    let world = World::new().await;
    let anna = somebody(&world, "anna").await;
    let of = async |person: &Person, kind: &str| {
        let held = expect(world.get(person, "/v1/privacy/data-overview").await, StatusCode::OK).await;
        let kinds = held["kinds"].as_array().expect("a list").clone();
        kinds.iter().find(|held| held["kind"] == kind).map(|held| held["count"].clone()).expect("every kind is there")
    };
    let none = json!({ "deletion_type": "partial", "filters": { "test_type": "speech_in_noise" } });
    let none = world.post(&anna, "/v1/privacy/delete-data", &none).await;
    let none = problem(none, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&none), ["filters"]);
    let mut person = anna;
    for (wish, scope) in [
        (json!({ "deletion_type": "partial", "filters": { "test_type": "pure_tone" } }), Scope::Partial),
        (json!({ "deletion_type": "sessions_only" }), Scope::SessionsOnly),
    ] {
        if of(&person, "screening").await == 0 {
            let again = domain::kinds::SCREENING.example().into_inner();
            expect(world.put(&person, "/v1/records/screening", &again).await, StatusCode::CREATED).await;
        }
        let (asked, token) = ask_to_delete(&world, &person, &wish).await;
        assert_eq!(asked["would_go"], json!([{ "kind": "screening", "count": 1 }]));
        confirm_deletion(&world, &person, &token, scope).await;
        let_pass(&world, TimeDelta::hours(48)).await;
        assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
        person = sign_in(&world, &person.email).await;
        assert_eq!((of(&person, "screening").await, of(&person, "work_day").await), (json!(0), json!(3)));
    }
}

#[tokio::test]
async fn deletion_cancel_used_twice_makes_the_next_request_wait() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let full = json!({ "deletion_type": "full" });
    for _ in 0..2 {
        let (_, token) = ask_to_delete(&world, &anna, &full).await;
        let phrase = Scope::Full.phrase();
        expect(confirm(&world, &anna, &token, phrase).await, StatusCode::OK).await;
        let cancelled = expect(cancel(&world, &anna, &token).await, StatusCode::OK).await;
        assert_eq!(cancelled["status"], "cancelled");
        problem(cancel(&world, &anna, &token).await, StatusCode::CONFLICT, "deletion-closed").await;
        problem(confirm(&world, &anna, &token, phrase).await, StatusCode::CONFLICT, "deletion-closed").await;
    }
    problem(world.post(&anna, "/v1/privacy/delete-data", &full).await, StatusCode::CONFLICT, "cooling-off").await;
    expect(submit(&world, &anna, "2025-12-08").await, StatusCode::CREATED).await;
    let_pass(&world, TimeDelta::days(1)).await;
    ask_to_delete(&world, &sign_in(&world, &anna.email).await, &full).await;
}

/// A thief of a session can make the token of an unconfirmed request void, and the person learns of it. The thief can't
/// do that to a confirmed request.
#[tokio::test]
async fn deletion_request_that_replaces_another_is_told_and_a_confirmed_one_keeps_its_token() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let full = json!({ "deletion_type": "full" });
    let asked = async || {
        expect(world.post(&anna, "/v1/privacy/delete-data", &full).await, StatusCode::ACCEPTED).await;
        let letter = world.take_letter(&anna.email, "Subject: Please confirm").await;
        (token_of(&letter).expect("a token"), letter.contains("Subject: Please confirm anew"))
    };
    world.take_letters(&anna.email).await;
    let (first, told) = asked().await;
    assert!(!told, "there is no earlier one");
    let (second, told) = asked().await;
    assert!(told, "the letter says that the earlier code no longer works");
    let phrase = Scope::Full.phrase();
    problem(confirm(&world, &anna, &first, phrase).await, StatusCode::CONFLICT, "deletion-closed").await;
    expect(confirm(&world, &anna, &second, phrase).await, StatusCode::OK).await;
    world.take_letters(&anna.email).await;
    problem(world.post(&anna, "/v1/privacy/delete-data", &full).await, StatusCode::CONFLICT, "deletion-waiting").await;
    assert_eq!(world.take_letters(&anna.email).await.len(), 0);
    assert_eq!(expect(cancel(&world, &anna, &second).await, StatusCode::OK).await["status"], "cancelled");
    assert!(!asked().await.1, "the earlier one was cancelled");
}

#[tokio::test]
async fn deletion_list_shows_ones_own_requests_newest_first() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let full = json!({ "deletion_type": "full" });
    let (first, _) = ask_to_delete(&world, &anna, &full).await;
    let (second, token) = ask_to_delete(&world, &anna, &full).await;
    confirm_deletion(&world, &anna, &token, Scope::Full).await;
    let listed = expect(world.get(&anna, "/v1/privacy/deletions").await, StatusCode::OK).await;
    let of = |request: &Value| (request["deletion_id"].clone(), request["status"].clone());
    let listed: Vec<_> = listed["deletions"].as_array().expect("a list").iter().map(of).collect();
    let expected = [(&second, "confirmed"), (&first, "replaced")];
    assert_eq!(listed, expected.map(|(asked, status)| (asked["deletion_id"].clone(), json!(status))));
    let none = expect(world.get(&ben, "/v1/privacy/deletions").await, StatusCode::OK).await;
    assert_eq!(none["deletions"], json!([]));
}

/// A thief of a session can remove all days in one step, so the person is told.
#[tokio::test]
async fn work_day_delete_all_is_told_to_the_person() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    for date in ["2025-12-08", "2025-12-09"] {
        expect(submit(&world, &anna, date).await, StatusCode::CREATED).await;
    }
    let remove = async || {
        world.take_letters(&anna.email).await;
        let removed = world.send(&anna, Method::DELETE, "/v1/work-events/me", &Value::Null).await;
        (expect(removed, StatusCode::OK).await["deleted_count"].clone(), world.take_letters(&anna.email).await)
    };
    let (count, letters) = remove().await;
    assert_eq!((count, letters.len()), (json!(2), 1));
    assert!(letters[0].contains("Subject: Records were removed") && letters[0].contains("Number: 2"), "{}", letters[0]);
    let (count, letters) = remove().await;
    assert_eq!((count, letters.len()), (json!(0), 0), "nothing went");
}

#[tokio::test]
async fn restriction_get_tells_of_a_legal_hold_that_defers_a_deletion() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    expect(confirm(&world, &anna, &token, Scope::Full.phrase()).await, StatusCode::OK).await;
    let_pass(&world, TimeDelta::hours(48)).await;
    let until = world.clock.now() + TimeDelta::days(3);
    hold::decide(&world.app, &anna.email, Some((until, "a court asked for it"))).await.expect("placed");
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    world.take_letter(&anna.email, "a court asked for it").await;
    let anna = sign_in(&world, &anna.email).await;
    let restriction = expect(world.get(&anna, "/v1/privacy/restriction").await, StatusCode::OK).await;
    assert_eq!(restriction["hold"]["reason"], "a court asked for it");
    // While the hold stands, no other request deletes anything either.
    for (method, target) in [(Method::DELETE, "/v1/work-events/me"), (Method::DELETE, "/v1/records/work_profile/0")] {
        let target = target.replace("/0", &format!("/{}", context::RecordId::random()));
        problem(world.send(&anna, method, target, &Value::Null).await, StatusCode::CONFLICT, "held").await;
    }
    // When the hold is lifted early, the deletion is carried out at once.
    hold::decide(&world.app, &anna.email, None).await.expect("lifted");
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let gone = hold::decide(&world.app, &anna.email, None).await;
    assert!(matches!(gone, Err(AppError::NotFound("account"))), "the person is erased");
}

/// A step that a person may take about a deletion.
#[derive(Clone, Debug)]
enum Step {
    Request,
    Confirm { right_token: bool, right_phrase: bool },
    Cancel { right_token: bool },
    Pass { hours: i64 },
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Request),
        4 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(right_token, right_phrase)| Step::Confirm { right_token, right_phrase }),
        1 => prop::bool::weighted(0.8).prop_map(|right_token| Step::Cancel { right_token }),
        3 => (12_i64..72).prop_map(|hours| Step::Pass { hours }),
        3 => Just(Step::Run),
    ]
}

/// A person, and the facts that must hold about their deletion.
struct Case<'w> {
    world: &'w World,
    client: &'w tokio_postgres::Client,
    ctx: Ctx,
    scope: Scope,
    /// The person's data before the first request, as [`kept`] shows it.
    before: String,
    email: String,
    token: String,
    /// The end of the grace, once token and phrase were right.
    confirmed: Option<DateTime<Utc>>,
    /// Whether the newest token can still be confirmed.
    open: bool,
    gone: bool,
}

impl<'w> Case<'w> {
    async fn new(world: &'w World, client: &'w tokio_postgres::Client, number: usize, scope: Scope) -> Self {
        let person = world.person(&format!("case{number}")).await;
        expect(submit(world, &person, "2025-12-08").await, StatusCode::CREATED).await;
        let subject = SubjectId(subject_of(world, &person).await);
        let ctx = Ctx::system(world.clock.clone()).for_subject(subject, None);
        let before = kept(client, subject).await;
        let (email, token) = (person.email, "x".repeat(43));
        Self { world, client, ctx, scope, before, email, token, confirmed: None, open: false, gone: false }
    }

    async fn take(&mut self, step: &Step) {
        let app = &self.world.app;
        match step {
            Step::Request => {
                let kinds = (self.scope == Scope::Partial).then(|| vec!["work_day".to_owned()]);
                let filter = Filter { kinds, ..Filter::default() };
                if deletion::request(app, &self.ctx, self.scope, filter, None, None).await.is_ok() {
                    self.token = self.world.mailed_token(&self.email).await;
                    (self.open, self.confirmed) = (true, None);
                }
            }
            Step::Confirm { right_token, right_phrase } => {
                let token = if *right_token { self.token.clone() } else { "y".repeat(43) };
                let phrase = if *right_phrase { self.scope.phrase() } else { "delete" };
                let outcome = deletion::confirm(app, &self.ctx, &token, phrase, None).await;
                if outcome.is_ok() {
                    assert!(*right_token && *right_phrase && self.open, "confirmed without token, phrase and request");
                    self.open = false;
                    self.confirmed = Some(self.world.clock.now() + TimeDelta::hours(48));
                }
            }
            Step::Cancel { right_token } => {
                let token = if *right_token { self.token.clone() } else { "y".repeat(43) };
                if deletion::cancel(app, &self.ctx, &token).await.is_ok() {
                    assert!(*right_token);
                    (self.open, self.confirmed) = (false, None);
                }
            }
            Step::Pass { hours } => self.world.clock.advance(TimeDelta::hours(*hours)),
            Step::Run => {
                run_due(app).await.expect("jobs run");
                if self.confirmed.is_some_and(|end| end <= self.world.clock.now()) {
                    (self.gone, self.confirmed) = (true, None);
                }
            }
        }
    }

    async fn check(&self) -> Result<(), TestCaseError> {
        let now = kept(self.client, self.ctx.subject).await;
        match (self.gone, self.scope) {
            (false, _) => {
                prop_assert_eq!(&now, &self.before, "all is as it was until a confirmed deletion was carried out");
                let sql = "SELECT deletion_at IS NOT NULL FROM read.accounts WHERE subject_id = $1";
                let row = self.client.query_one(sql, &[&self.ctx.subject.0]).await.expect("the account is there");
                prop_assert_eq!(row.get::<_, bool>(0), self.confirmed.is_some(), "it waits while it is confirmed");
            }
            (true, Scope::Full) => prop_assert_eq!(now, "", "nothing is kept"),
            (true, _) => {
                let all = Page::all();
                let days = list::of_kind(&self.world.app, &self.ctx, "record_list", WORK_DAY, None, &all);
                prop_assert!(
                    days.await.expect("listed").records.is_empty() && !now.is_empty(),
                    "what was asked for is gone"
                );
            }
        }
        Ok(())
    }
}

/// Everything that is stored about a person, apart from the log, sign-ins and requests, as one text: keys, register,
/// records, consents, account. Empty if nothing is stored.
async fn kept(client: &tokio_postgres::Client, subject: SubjectId) -> String {
    let tables = ["vault.subjects", "vault.records", "read.records", "read.consents", "auth.users"];
    let parts = tables.map(|table| format!("SELECT '{table} ' || t::text AS row FROM {table} t WHERE subject_id = $1"));
    let sql =
        format!("SELECT coalesce(string_agg(row, '; ' ORDER BY row), '') FROM ({}) kept", parts.join(" UNION ALL "));
    client.query_one(&sql, &[&subject.0]).await.expect("the tables are read").get(0)
}

/// **Feature: privacy-controls, Property 4: explicit verification before anything is permanently removed; cancelling
/// leaves everything as it was**
#[test]
fn nothing_goes_without_token_phrase_and_grace() {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(async {
        let world = World::new().await;
        let_pass(&world, TimeDelta::zero()).await;
        world
    });
    let (numbers, erased) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = runtime.block_on(world.superuser());
    let scope = prop_oneof![2 => Just(Scope::Full), 1 => Just(Scope::Partial)];
    let steps = prop::collection::vec(step(), 3..14).prop_map(|rest| [vec![Step::Request], rest].concat());
    property(100, &runtime, (scope, steps), async |(scope, steps): (Scope, Vec<Step>)| {
        let mut case = Case::new(&world, &client, numbers.fetch_add(1, Ordering::Relaxed), scope).await;
        for step in &steps {
            case.take(step).await;
            case.check().await?;
        }
        erased.fetch_add(usize::from(case.gone && scope == Scope::Full), Ordering::Relaxed);
        Ok(())
    });
    assert!(erased.into_inner() > 0, "some ended erased");
}

/// Waits until a transaction on this database waits for a lock of this type.
async fn until_one_waits(client: &tokio_postgres::Client, lock: &str) {
    let sql = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
               WHERE d.datname = current_database() AND l.locktype = $1 AND NOT l.granted";
    for _ in 0..1000 {
        if client.query_one(sql, &[&lock]).await.expect("locks are read").get::<_, i64>(0) > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nobody waits for a lock of type {lock}");
}

/// A submission that has begun, and can't end while another connection holds the register.
async fn submit_on(app: &App, ctx: &Ctx) -> Result<usize, AppError> {
    let date = "2025-11-03".parse().expect("a date");
    let body = WorkDay { date, planned_minutes: 480, actual_minutes: 500, source: Source::Manual }.to_body();
    let submissions = [Submission { body, expected: None, within: None }];
    let batch = Batch {
        operation: "record_submit",
        kind: WORK_DAY,
        submissions: &submissions,
        today: ctx.now().date_naive(),
        faults: Vec::new(),
    };
    record::submit(app, ctx, &batch, None).await.map(|outcomes| outcomes.value.len())
}

/// A command that writes shares the person's lock, and a command that decides over the person takes it alone. So each
/// waits for the other, and nothing is written behind the last event.
#[tokio::test(flavor = "multi_thread")]
async fn confirmation_and_erasure_wait_for_what_is_in_flight_and_leave_nothing_readable() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = SubjectId(subject_of(&world, &anna).await);
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    let_pass(&world, TimeDelta::zero()).await;
    let ctx = Ctx::system(world.clock.clone()).for_subject(subject, None);
    let (client, holder) = (world.superuser().await, world.superuser().await);
    let count = async |sql: &str| client.query_one(sql, &[&subject.0]).await.expect("counted").get::<_, i64>(0);

    // The owner confirms while a submission runs, which the confirmation would bar.
    holder.batch_execute("BEGIN; LOCK TABLE vault.records IN EXCLUSIVE MODE").await.expect("held");
    let submitting = tokio::spawn({
        let (app, ctx) = (world.app.clone(), ctx.clone());
        async move { submit_on(&app, &ctx).await }
    });
    until_one_waits(&client, "relation").await;
    let confirming = tokio::spawn({
        let (app, ctx, token) = (world.app.clone(), ctx.clone(), token.clone());
        async move { deletion::confirm(&app, &ctx, &token, Scope::Full.phrase(), None).await.map(drop) }
    });
    until_one_waits(&client, "advisory").await;
    let confirmed = "SELECT count(*) FROM read.deletions WHERE subject_id = $1 AND state = 'confirmed'";
    assert_eq!(count(confirmed).await, 0, "the confirmation waits for the submission");
    holder.batch_execute("COMMIT").await.expect("let go");
    assert_eq!(submitting.await.expect("it ended").expect("taken"), 1, "what came before is taken");
    confirming.await.expect("it ended").expect("confirmed");
    assert!(matches!(submit_on(&world.app, &ctx).await, Err(AppError::DeletionWaiting)), "what comes after is not");

    // The grace ends while a withdrawal runs, which stays possible.
    holder.batch_execute("BEGIN; LOCK TABLE read.consents IN EXCLUSIVE MODE").await.expect("held");
    let withdrawing = tokio::spawn({
        let (app, ctx) = (world.app.clone(), ctx.clone());
        async move { consent::decide(&app, &ctx, Purpose::WorkHours, false, None).await }
    });
    until_one_waits(&client, "relation").await;
    world.clock.advance(TimeDelta::hours(48));
    let erasing = tokio::spawn({
        let app = world.app.clone();
        async move { run_due(&app).await }
    });
    until_one_waits(&client, "advisory").await;
    let erased = "SELECT count(*) FROM log.events WHERE subject_id = $1 AND event_type = 'subject.erased'";
    assert_eq!(count(erased).await, 0, "the erasure waits for the withdrawal");
    holder.batch_execute("COMMIT").await.expect("let go");
    withdrawing.await.expect("it ended").expect("withdrawn");
    assert_eq!(erasing.await.expect("it ended").expect("jobs run"), 1);
    assert!(matches!(submit_on(&world.app, &ctx).await, Err(AppError::SignedOut)));

    assert_eq!(rows_of(&client, subject.0).await, ["jobs.jobs: 1"]);
    for kind in ["record.submitted' AND kind = 'work_day", "consent.withdrawn"] {
        let sql = format!("SELECT count(*) FROM log.events WHERE subject_id = $1 AND event_type = '{kind}'");
        assert_eq!(count(&sql).await, 1, "{kind}: what was taken is in the log, and no key opens it");
    }
    let after =
        "SELECT count(*) FROM log.events e WHERE subject_id = $1 AND position > (SELECT position FROM log.events
                 WHERE subject_id = $1 AND event_type = 'subject.erased')";
    assert_eq!(count(after).await, 0, "nothing follows");
}

/// The erasing server forgets the person's index key, but another server may still have it in memory.
#[tokio::test]
async fn a_server_that_did_not_erase_takes_and_shows_nothing_either() {
    let world = World::new().await;
    let settings = Settings { grace: TimeDelta::zero(), ..Settings::new(world.folder.clone(), world.clock.clone()) };
    let world = world.again(&settings).await;
    let anna = world.person("anna").await;
    let other = TestClient::new(http::routes(world.another(&settings).await, http::TrustedProxies::default()));
    let get = async || anna.sign(other.get("/v1/work-events/me")).send().await;
    let submit =
        async || anna.sign(other.post("/v1/work-events/daily").body_json(&day("2025-12-09", 8.0, 8.0))).send().await;
    expect(submit().await, StatusCode::CREATED).await;
    expect(get().await, StatusCode::OK).await;
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    let (subject, client) = (subject_of(&world, &anna).await, world.superuser().await);
    confirm_deletion(&world, &anna, &token, Scope::Full).await;
    assert_eq!(run_due(&world.app).await.expect("jobs run"), 1);
    let state = state_of(&client).await;
    for answer in [submit().await, get().await] {
        problem(answer, StatusCode::UNAUTHORIZED, "erased").await;
    }
    assert_eq!(state_of(&client).await, state, "nothing was written");
    assert_eq!(rows_of(&client, subject).await, ["jobs.jobs: 1"]);
}

#[tokio::test]
async fn what_is_not_due_or_not_there_is_left_alone() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let subject = SubjectId(subject_of(&world, &anna).await);
    let unknown = deletion::execute(&world.app, subject, context::DeletionId::random()).await;
    assert_eq!(unknown.map_err(|error| error.to_string()), Ok(Next::Done));
    expect(world.get(&anna, "/v1/auth/me").await, StatusCode::OK).await;
    let ctx = Ctx::system(world.clock.clone()).for_subject(subject, None);
    let refused = deletion::cancel(&world.app, &ctx, "no token").await;
    assert!(matches!(refused, Err(AppError::NotFound("request"))));
}
