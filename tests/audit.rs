//! The audit log tells each person everything that was done with their data, once, and nothing about anybody else.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use chrono::{DateTime, Utc};
use context::{Client, Ctx, Personal, RequestId};
use domain::{
    RoleLevel, Specialty,
    kinds::{WORK_DAY, WorkProfile},
    rights::consent::Purpose,
};
use lethe::{
    app::identity::account::{self, Registration},
    auth::codes::Proof,
};
use poem::{
    http::{Method, StatusCode},
    web::RemoteAddr,
};
use proptest::{collection, prelude::*, sample::Index};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    isolation::property,
    operations::{self, Stage},
    steps::{Answer, ask_to_delete, problem, subject_of},
    support::{Person, World, day, expect},
};

const DAYS: [&str; 3] = ["2025-12-08", "2025-12-09", "2026-01-05"];

/// A step of a person. There are few values, so that many steps happen twice.
#[derive(Clone, Debug)]
enum Step {
    Submit(usize, u8),
    SubmitBatch(BTreeMap<usize, u8>),
    ListDays,
    SeeAccount,
    Rectify(u8),
    Consent(bool),
    ShowWrongCode,
    SeeLog,
}

fn step() -> impl Strategy<Value = Step> {
    let (date, hours) = (|| 0..DAYS.len(), || 7..10_u8);
    prop_oneof![
        3 => (date(), hours()).prop_map(|(date, hours)| Step::Submit(date, hours)),
        2 => collection::btree_map(date(), hours(), 1..=3).prop_map(Step::SubmitBatch),
        1 => Just(Step::ListDays),
        1 => Just(Step::SeeAccount),
        1 => (0..2_u8).prop_map(Step::Rectify),
        1 => any::<bool>().prop_map(Step::Consent),
        1 => Just(Step::ShowWrongCode),
        1 => Just(Step::SeeLog),
    ]
}

/// An entry that the audit log must hold.
#[derive(Clone, Debug)]
struct Entry {
    action: &'static str,
    kind: &'static str,
    actor: &'static str,
    /// How many values were read.
    count: Option<usize>,
    /// The id of the record, if the answer named it.
    record: Option<String>,
    request: String,
    agent: String,
    address: String,
    not_before: DateTime<Utc>,
    not_after: DateTime<Utc>,
}

/// A request, the expected status, and the expected entry of the log: action, kind, and how many values were read.
struct Plan {
    method: Method,
    path: &'static str,
    body: Option<Value>,
    signed: bool,
    status: StatusCode,
    entries: Vec<(&'static str, &'static str, Option<usize>)>,
}

/// A person, the data that must be stored about them, and the entries that their log must hold, oldest first.
struct Diary {
    person: Person,
    consents: bool,
    days: BTreeMap<usize, u8>,
    hospital: u8,
    entries: Vec<Entry>,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Diary {
    /// Registers a new person with this first name, without mail and its limits.
    async fn of(world: &World, name: &str) -> Self {
        let email = format!("{name}{}@klinik.example", NUMBER.fetch_add(1, Ordering::Relaxed));
        let work = WorkProfile {
            hospital_id: "klinik-0".to_owned(),
            specialty: Specialty::Surgery,
            role_level: RoleLevel::Specialist,
            state_code: None,
            country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
            time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
        };
        let person = Registration { email: email.clone(), work: Some(work), consents: vec![Purpose::WorkHours] };
        let (address, agent, request) = ("192.0.2.7".to_owned(), format!("{name}/1.0"), RequestId::random());
        let client = Client { address: Personal::new(address.clone()), agent: Personal::new(agent.clone()) };
        let ctx = Ctx::anonymous(world.clock.clone(), client, request);
        let not_before = ctx.now();
        let grant = account::register(&world.app, &ctx, &person, &Proof::Operator).await.expect("registered");
        let entry = |(action, kind)| Entry {
            action,
            kind,
            actor: "subject",
            count: None,
            record: None,
            request: request.to_string(),
            agent: agent.clone(),
            address: address.clone(),
            not_before,
            not_after: ctx.now(),
        };
        let entries = [
            ("account.registered", "account"),
            ("account.signed_in", "account"),
            ("record.submitted", "contact"),
            ("record.submitted", "work_profile"),
            ("consent.granted", "consent"),
        ];
        let entries = entries.map(entry).into();
        let (user_id, token) = (grant.claims.user.to_string(), grant.token);
        let person = Person { email, user_id, token, refresh_token: grant.refresh_token };
        Self { person, consents: true, days: BTreeMap::new(), hospital: 0, entries }
    }

    /// Stores a day in the model; returns the expected entry of the log.
    fn submit(&mut self, date: usize, hours: u8) -> Option<(&'static str, &'static str, Option<usize>)> {
        match self.days.insert(date, hours) {
            None => Some(("record.submitted", WORK_DAY.name(), None)),
            Some(before) if before != hours => Some(("record.amended", WORK_DAY.name(), None)),
            Some(_) => None,
        }
    }

    fn plan(&mut self, step: &Step) -> Plan {
        let read = |kind, count| ("data.accessed", kind, Some(count));
        let body_of = |(date, hours): (&usize, &u8)| day(DAYS[*date], 8.0, f64::from(*hours));
        let mut plan = Plan {
            method: Method::GET,
            path: "/v1/privacy/audit-log?limit=200",
            body: None,
            signed: true,
            status: StatusCode::OK,
            entries: Vec::new(),
        };
        match step {
            Step::Submit(..) | Step::SubmitBatch(_) if !self.consents => plan.status = StatusCode::FORBIDDEN,
            Step::Submit(date, hours) => {
                plan.status = if self.days.contains_key(date) { StatusCode::OK } else { StatusCode::CREATED };
                plan.entries.extend(self.submit(*date, *hours));
            }
            Step::SubmitBatch(days) => {
                plan.entries.extend(days.iter().filter_map(|(date, hours)| self.submit(*date, *hours)));
            }
            Step::Rectify(hospital) if *hospital != self.hospital => {
                self.hospital = *hospital;
                plan.entries.push(("record.amended", "work_profile", None));
            }
            Step::Consent(granted) if *granted != self.consents => {
                self.consents = *granted;
                plan.entries.push((if *granted { "consent.granted" } else { "consent.withdrawn" }, "consent", None));
            }
            _ => {}
        }
        match step {
            Step::Submit(date, hours) => {
                (plan.method, plan.path, plan.body) =
                    (Method::POST, "/v1/work-events/daily", Some(body_of((date, hours))));
            }
            Step::SubmitBatch(days) => {
                let days: Vec<Value> = days.iter().map(body_of).collect();
                (plan.method, plan.path, plan.body) =
                    (Method::POST, "/v1/work-events/batch", Some(json!({ "events": days })));
            }
            Step::ListDays => {
                plan.path = "/v1/work-events/me";
                plan.entries.push(read(WORK_DAY.name(), self.days.len()));
            }
            Step::SeeAccount => {
                plan.path = "/v1/auth/me";
                plan.entries.push(read("account", 1));
            }
            Step::Rectify(hospital) => {
                let body = json!({ "hospital_id": format!("klinik-{hospital}") });
                (plan.method, plan.path, plan.body) = (Method::PATCH, "/v1/auth/me", Some(body));
                plan.entries.push(read("account", 1));
            }
            Step::Consent(granted) => {
                (plan.method, plan.path, plan.body) =
                    (Method::PUT, "/v1/consents/work_hours", Some(json!({ "granted": granted })));
                plan.entries.push(read("consent", 1));
            }
            Step::ShowWrongCode => {
                let body = json!({ "email": self.person.email, "code": "000000" });
                (plan.method, plan.path, plan.body) = (Method::POST, "/v1/auth/login", Some(body));
                (plan.signed, plan.status) = (false, StatusCode::UNAUTHORIZED);
                plan.entries.push(("account.sign_in_failed", "account", None));
            }
            Step::SeeLog => plan.entries.push(read("audit_log", self.entries.len())),
        }
        plan
    }

    /// Sends the step's request, and notes the entry that the log must hold from now on.
    async fn act(&mut self, world: &World, step: &Step, agent: &str) -> Value {
        let plan = self.plan(step);
        let client = world.client();
        let mut request = client.request(plan.method, plan.path).header("user-agent", agent);
        if let Some(body) = &plan.body {
            request = request.body_json(body);
        }
        if plan.signed {
            request = self.person.sign(request);
        }
        let not_before = world.clock.now();
        let answer = request.send().await;
        let request = answer.0.header("x-request-id").expect("every answer names its request").to_owned();
        let answer = expect(answer, plan.status).await;
        let not_after = world.clock.now();
        self.entries.extend(plan.entries.into_iter().map(|(action, kind, count)| Entry {
            action,
            kind,
            // A caller who shows a wrong code has not proved to be that person.
            actor: if plan.signed { "subject" } else { "anonymous" },
            count,
            record: answer["event_id"].as_str().map(str::to_owned),
            request: request.clone(),
            agent: agent.chars().take(256).collect(),
            address: RemoteAddr::default().to_string(),
            not_before,
            not_after,
        }));
        answer
    }

    /// Compares the log with the expected entries, newest first and no others; returns the log.
    async fn check(&mut self, world: &World) -> Result<Vec<Value>, TestCaseError> {
        let expected: Vec<Entry> = self.entries.iter().rev().cloned().collect();
        let answer = self.act(world, &Step::SeeLog, "check/1.0").await;
        let found = answer["entries"].as_array().expect("entries").clone();
        let actions = |entry: &Value| entry["action"].as_str().unwrap_or_default().to_owned();
        prop_assert_eq!(
            found.iter().map(actions).collect::<Vec<_>>(),
            expected.iter().map(|entry| entry.action).collect::<Vec<_>>()
        );
        for (found, expected) in found.iter().zip(&expected) {
            let text = |name: &str| found[name].as_str().unwrap_or_default();
            let names = ["action", "table_name", "actor", "request_id", "user_agent", "ip_address"];
            let Entry { action, kind, actor, request, agent, address, .. } = expected;
            prop_assert_eq!(names.map(text), [action, kind, actor, request.as_str(), agent, address]);
            let count = found["details"]["count"].as_u64().and_then(|count| usize::try_from(count).ok());
            prop_assert_eq!(count, expected.count);
            prop_assert!(expected.record.as_ref().is_none_or(|record| text("record_id") == record));
            let at = time(found);
            prop_assert!(expected.not_before <= at && at <= expected.not_after, "{found} {expected:?}");
        }
        prop_assert!(found.is_sorted_by(|newer, older| time(newer) >= time(older)), "newest first");
        prop_assert!(answer.get("next_cursor").is_none());
        Ok(found)
    }

    /// Turns all pages; each entry must be seen once.
    async fn turn_pages(&mut self, world: &World, log: &[Value], limit: usize) -> Result<(), TestCaseError> {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.look(world, &[("limit", Some(limit.to_string())), ("cursor", cursor)]).await;
            let entries = page["entries"].as_array().expect("entries");
            prop_assert!(entries.len() <= limit);
            seen.extend(entries.iter().map(|entry| entry["id"].clone()));
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        // Reading the log itself came in between. Entries that were added while pages were turned are not among them.
        prop_assert_eq!(seen.len(), log.len() + 1);
        prop_assert!(seen[1..].iter().eq(log.iter().map(|entry| &entry["id"])));
        Ok(())
    }

    async fn filter(&mut self, world: &World, log: &[Value], by: &Filter) -> Result<(), TestCaseError> {
        let (one, other) = (time(by.one.get(log)), time(by.other.get(log)));
        let (from, to) = (one.min(other), one.max(other));
        let action = by.action.get(log)["action"].as_str().expect("an action");
        let action = if by.family { action.split('.').next().unwrap_or_default() } else { action };
        let text = |time: DateTime<Utc>| Some(time.to_rfc3339());
        let answer =
            self.look(world, &[("action", Some(action.to_owned())), ("from", text(from)), ("to", text(to))]).await;
        let wanted = |entry: &&Value| {
            let name = entry["action"].as_str().unwrap_or_default();
            let named = name == action || name.split('.').next() == Some(action);
            named && (from..=to).contains(&time(entry))
        };
        let expected: Vec<&Value> = log.iter().filter(wanted).collect();
        let found: Vec<&Value> = answer["entries"].as_array().expect("entries").iter().collect();
        prop_assert_eq!(found, expected, "{} from {} to {}", action, from, to);
        Ok(())
    }

    async fn look(&self, world: &World, parameters: &[(&str, Option<String>)]) -> Value {
        let client = world.client();
        let mut request = self.person.sign(client.get("/v1/privacy/audit-log"));
        for (name, value) in parameters {
            if let Some(value) = value {
                request = request.query(*name, value);
            }
        }
        expect(request.send().await, StatusCode::OK).await
    }
}

fn time(entry: &Value) -> DateTime<Utc> {
    entry["timestamp"].as_str().expect("a time").parse().expect("RFC 3339")
}

/// A filter of the log: between the times of two entries, and by the action of a third or its whole family.
#[derive(Clone, Debug)]
struct Filter {
    one: Index,
    other: Index,
    action: Index,
    family: bool,
}

type Case = (Vec<(bool, Step, String)>, usize, Filter);

fn case() -> impl Strategy<Value = Case> {
    let agent = prop_oneof![4 => "[ -~]{0,40}", 1 => "[!-~]{250,260}"];
    let steps = collection::vec((any::<bool>(), step(), agent), 1..=8);
    let filter = (any::<Index>(), any::<Index>(), any::<Index>(), any::<bool>());
    let filter = filter.prop_map(|(one, other, action, family)| Filter { one, other, action, family });
    (steps, 2..9_usize, filter)
}

/// **Feature: privacy-controls, Property 5: Audit log integrity**
#[test]
fn audit_list_shows_every_step_to_one_person_with_its_whole_context() {
    let runtime = Runtime::new().expect("a runtime");
    let world = runtime.block_on(World::new());
    property(100, &runtime, case(), async |(steps, limit, filter): Case| {
        let (mut anna, mut ben) = (Diary::of(&world, "anna").await, Diary::of(&world, "ben").await);
        for (anna_acts, step, agent) in &steps {
            let somebody = if *anna_acts { &mut anna } else { &mut ben };
            somebody.act(&world, step, agent).await;
        }
        for somebody in [&mut anna, &mut ben] {
            let log = somebody.check(&world).await?;
            somebody.turn_pages(&world, &log, limit).await?;
            somebody.filter(&world, &log, &filter).await?;
        }
        Ok(())
    });
}

/// Operations that touch nobody's data, each with the reason. They leave no entry.
const ABOUT_NOBODY: [(&str, &str); 14] = [
    ("guest_evaluate", "a guest is nobody in particular, and leaves no trace"),
    ("guest_token", "a guest's token names nobody"),
    ("health_get", "says how the service is"),
    ("kind_list", "is the registry of kinds"),
    ("log_checkpoint", "is public, and says how many events there are"),
    ("log_consistency", "is made of public hashes"),
    ("log_inclusion", "is made of public hashes"),
    ("log_trees", "is public, and lists the trees"),
    ("ready_get", "says whether the service can do its work"),
    ("statistics_by_hospital", "shows what was published, which is about nobody"),
    ("statistics_by_state", "shows what was published, which is about nobody"),
    ("statistics_by_state_role", "shows what was published, which is about nobody"),
    ("statistics_parameters", "shows what was published, which is about nobody"),
    ("statistics_periods", "shows what was published, which is about nobody"),
];

/// How many entries a request left in the log.
async fn entries_of(client: &tokio_postgres::Client, request: &str) -> i64 {
    let sql = "SELECT count(*) FROM log.events WHERE metadata->>'request' = $1";
    client.query_one(sql, &[&request]).await.expect("counted").get(0)
}

/// **Feature: privacy-controls, Property 5: Audit log integrity**
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_document_leaves_an_entry_or_is_about_nobody() {
    let stage = Stage::new().await;
    let client = stage.world.superuser().await;
    let (ids, mut exercised) = (operations::ids(), 0);
    for (name, _) in ABOUT_NOBODY {
        assert!(ids.iter().any(|id| id == name), "{name} is no operation any more");
    }
    for id in ids.iter().filter(|id| ABOUT_NOBODY.iter().all(|(name, _)| name != id)) {
        let person = stage.newcomer().await;
        let call = stage.prepare(&person, id).await;
        let call = call.unwrap_or_else(|| panic!("{id}: how is it called? Add it to tests/operations.rs"));
        let answer = Answer::of(stage.send(&person, &call).await).await;
        assert!(answer.status.is_success(), "{id}: {} {}", answer.status, answer.text);
        assert!(!answer.text.contains("+00:00\""), "{id}: one moment has one form, with Z: {}", answer.text);
        let request = answer.header("x-request-id").expect("every answer names its request");
        assert!(entries_of(&client, request).await > 0, "{id} leaves no entry");
        exercised += 1;
    }
    assert_eq!(exercised + ABOUT_NOBODY.len(), ids.len());
}

/// A refusal after data was opened, or one step before a deletion, is on record as well.
#[tokio::test]
async fn audit_proof_waits_for_a_checkpoint_that_covers_the_entry() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let log = expect(world.get(&anna, "/v1/privacy/audit-log").await, StatusCode::OK).await;
    let id = log["entries"][0]["id"].as_str().expect("an entry");
    let proof = world.get(&anna, format!("/v1/privacy/audit-log/{id}/proof")).await;
    problem(proof, StatusCode::CONFLICT, "not-covered-yet").await;
}

#[tokio::test]
async fn audit_list_shows_refusals_that_say_something() {
    let stage = Stage::new().await;
    let (world, anna) = (&stage.world, stage.newcomer().await);
    let refusals = async || {
        let sql =
            "SELECT kind FROM log.events WHERE subject_id = $1 AND event_type = 'access.refused' ORDER BY position";
        let rows = world.superuser().await.query(sql, &[&subject_of(world, &anna).await]).await.expect("read");
        rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
    };
    let nothing = json!({ "kinds": ["work_day"], "from": "2020-01-01", "to": "2020-01-02" });
    let delete = json!({ "deletion_type": "partial", "filters": nothing });
    let export = json!({ "request_type": "partial", "format": "json", "filters": nothing });
    for (path, body) in [("/v1/privacy/delete-data", delete), ("/v1/privacy/export-data", export)] {
        problem(world.post(&anna, path, &body).await, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    }
    assert_eq!(refusals().await, ["deletion", "export"]);
    let (_, token) = ask_to_delete(world, &anna, &json!({ "deletion_type": "full" })).await;
    let path = format!("/v1/privacy/confirm-deletion/{token}");
    let wrong = world.post(&anna, path, &json!({ "phrase": "delete" })).await;
    problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(refusals().await, ["deletion", "export", "deletion"]);
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=access.refused").await, StatusCode::OK).await;
    assert_eq!(log["entries"][0]["details"]["asked_for"], "a wrong phrase", "{log}");
    assert!(!log.to_string().contains(&token));
}
