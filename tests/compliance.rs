//! The compliance desk: alerts and their delivery, openings that the person sees, deadlines, everybody's events,
//! breaches, documents.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use domain::desk::alert::Severity;
use lethe::{
    app::{
        Alerts,
        desk::{alert, alert_rules::Rules, compliance, webhook::Endpoint},
        identity::staff,
    },
    jobs::{client, deliver_alerts_once, watch_log_once},
    server::Settings,
};
use poem::{
    EndpointExt, Route, handler,
    http::{HeaderMap, StatusCode},
    post,
    test::TestResponse,
    web::Data,
};
use projections::desk::compliance::TrailFilter;
use serde_json::{Value, json};

use crate::{
    steps::{
        Answer, ask_to_delete, confirm_deletion, erase, events_of, fields, let_pass, number_transactions, problem,
        sign_in, subject_of, submit_day,
    },
    support::{Person, World, day, expect},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn staff(world: &World, name: &str, role: context::Role) -> Person {
    let email = format!("{name}@lethe.example");
    staff::add(&world.app, &email, role).await.expect("added");
    sign_in(world, &email).await
}

#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Taken>>);

/// The requests that came, and the status that the receiver answers with.
type Taken = (Vec<(HeaderMap, String)>, u16);

#[handler]
fn receive(receiver: Data<&Receiver>, headers: &HeaderMap, body: String) -> StatusCode {
    let mut state = receiver.0.0.lock().expect("no one panics while receiving");
    state.0.push((headers.clone(), body));
    StatusCode::from_u16(state.1).expect("a status")
}

impl Receiver {
    async fn start(status: u16) -> (Self, String, tokio::task::JoinHandle<()>) {
        let receiver = Self(Arc::new(Mutex::new((Vec::new(), status))));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let routes = Route::new().at("/hook", post(receive)).data(receiver.clone());
        let acceptor = poem::listener::TcpAcceptor::from_tokio(listener).expect("an acceptor");
        let task =
            tokio::spawn(
                async move { poem::Server::new_with_acceptor(acceptor).run(routes).await.expect("it serves") },
            );
        (receiver, url, task)
    }

    fn answer(&self, status: u16) {
        self.0.lock().expect("no one panics").1 = status;
    }

    fn taken(&self) -> Vec<(HeaderMap, String)> {
        std::mem::take(&mut self.0.lock().expect("no one panics").0)
    }
}

async fn world_with(alerts: Alerts) -> World {
    let world = World::new().await;
    let settings = Settings { connections: 8, alerts, ..Settings::new(world.folder.clone(), world.clock.clone()) };
    world.again(&settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_foreign_ids_raise_one_alert_suspend_and_are_told() {
    let (receiver, url, task) = Receiver::start(503).await;
    let endpoint = Endpoint::new("siem", &url, SECRET).expect("an endpoint");
    let alerts =
        Alerts { endpoints: vec![endpoint.clone()], mail: Some("dpo@klinik.example".to_owned()), ..Alerts::default() };
    let world = world_with(alerts).await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let days = Rules::built_in().rules[0].at_least;
    for _ in 0..days - 1 {
        let id = context::RecordId::random();
        assert_eq!(world.get(&anna, format!("/v1/records/work_day/{id}")).await.0.status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 0, "not yet");
    let id = context::RecordId::random();
    world.get(&anna, format!("/v1/records/work_day/{id}")).await;
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 1);
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 0, "the same pattern is told once");
    assert_eq!(events_of(&world, &anna).await.last().map(String::as_str), Some("account.suspended"));
    let day = day("2025-12-08", 8.0, 9.0);
    let submit = async |person: &Person| world.post(person, "/v1/work-events/daily", &day).await;
    problem(submit(&anna).await, StatusCode::FORBIDDEN, "suspended").await;
    submit_day(&world, &ben, "2025-12-08").await;

    // The alert is delivered by a signed webhook, which is tried again, and by mail.
    let client = client();
    assert_eq!(deliver_alerts_once(&world.app, &client).await.expect("tried"), 2);
    assert_eq!(deliver_alerts_once(&world.app, &client).await.expect("not due"), 0);
    let (headers, body) = receiver.taken().pop().expect("it came");
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    let timestamp: i64 = header("webhook-timestamp").parse().expect("seconds");
    assert_eq!(header("webhook-signature"), endpoint.sign(&header("webhook-id"), timestamp, &body));
    let message: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&message["type"], &message["data"]["alert"]["rule"]), (&json!("alert.raised"), &json!("foreign_ids")));
    assert!(!body.contains("anna"), "{body}");
    let letters = world.take_letters("dpo@klinik.example").await;
    assert!(letters.len() == 1 && letters[0].contains("foreign_ids"), "{letters:?}");

    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let list = async |state: &str| {
        let answer = world.get(&carla, format!("/v1/compliance/deliveries?state={state}")).await;
        expect(answer, StatusCode::OK).await["deliveries"].as_array().expect("a list").clone()
    };
    assert_eq!(list("waiting").await[0]["failure"], "answered 503");
    // After nine more failures the delivery is given up; then it is replayed.
    for _ in 0..9 {
        world
            .superuser()
            .await
            .execute("UPDATE jobs.deliveries SET next_at = now() - interval '1 s'", &[])
            .await
            .expect("due");
        deliver_alerts_once(&world.app, &client).await.expect("tried");
    }
    let dead = list("dead").await;
    assert_eq!((dead.len(), &dead[0]["endpoint"], &dead[0]["attempts"]), (1, &json!("siem"), &json!(10)));
    receiver.answer(204);
    let replayed = world.post(&carla, "/v1/compliance/deliveries/replay", &json!({ "endpoint": "siem" })).await;
    assert_eq!(expect(replayed, StatusCode::OK).await["deliveries"], 1);
    receiver.taken();
    assert_eq!(deliver_alerts_once(&world.app, &client).await.expect("tried"), 1);
    let (again, _) = receiver.taken().pop().expect("it came");
    assert_eq!(again["webhook-id"], headers["webhook-id"], "the receiver knows it for the same");
    assert!(list("dead").await.is_empty());

    // The desk acknowledges the alert; the suspension ends by itself.
    let open = expect(world.get(&carla, "/v1/compliance/alerts?open=true").await, StatusCode::OK).await;
    let id = open["alerts"][0]["alert_id"].as_str().expect("an id").to_owned();
    let after = world.post(&carla, format!("/v1/compliance/alerts/{id}/acknowledge"), &Value::Null).await;
    assert_eq!(expect(after, StatusCode::OK).await["alerts"], json!([]));
    let twice = world.post(&carla, format!("/v1/compliance/alerts/{id}/acknowledge"), &Value::Null).await;
    problem(twice, StatusCode::CONFLICT, "alert-not-open").await;
    let anna_again = anna.clone();
    let_pass(&world, TimeDelta::minutes(14)).await;
    problem(submit(&anna_again).await, StatusCode::FORBIDDEN, "suspended").await;
    world.clock.advance(TimeDelta::minutes(2));
    let anna = sign_in(&world, &anna.email).await;
    expect(submit(&anna).await, StatusCode::CREATED).await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_not_suspended_and_staff_that_open_too_much_are() {
    let mut rules = Rules::built_in();
    rules.rules.iter_mut().filter(|rule| rule.name == "mass_opening_by_staff").for_each(|rule| rule.at_least = 2);
    let world = world_with(Alerts { rules, ..Alerts::default() }).await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    for _ in 0..20 {
        let code = world.code(&anna.email).await;
        let body = json!({ "email": anna.email, "code": crate::steps::wrong(&code) });
        let answer = world.client().post("/v1/auth/login").body_json(&body).send().await;
        assert_ne!(answer.0.status(), StatusCode::OK);
        world.superuser().await.execute("DELETE FROM auth.limits", &[]).await.expect("as if time had passed");
    }
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 1);
    expect(world.get(&anna, "/v1/work-events/me").await, StatusCode::OK).await;

    let open = async |staff: &Person, person: &Person| {
        let wish = json!({ "email": person.email, "reason": "checks the rule of this test" });
        world.post(staff, "/v1/compliance/openings", &wish).await
    };
    expect(open(&carla, &anna).await, StatusCode::OK).await;
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 0);
    // A new session is the same person.
    let again = sign_in(&world, &carla.email).await;
    expect(open(&again, &ben).await, StatusCode::OK).await;
    assert_eq!(watch_log_once(&world.app).await.expect("looked"), 1);
    problem(open(&carla, &ben).await, StatusCode::FORBIDDEN, "suspended").await;
}

/// A world with an alert of the server itself, and an endpoint that nobody serves.
async fn alarmed() -> World {
    let endpoint = Endpoint::new("siem", "http://127.0.0.1:9/hook", SECRET).expect("an endpoint");
    let world = world_with(Alerts { endpoints: vec![endpoint], ..Alerts::default() }).await;
    alert::alarm(&world.app, "log_uncovered", Severity::Critical, 1).await;
    world
}

#[tokio::test]
async fn alert_list_shows_staff_all_alerts_or_those_that_nobody_looks_after() {
    let world = alarmed().await;
    alert::alarm(&world.app, "log_not_watched", Severity::Warning, 3).await;
    let (carla, eve) =
        (staff(&world, "carla", context::Role::Compliance).await, staff(&world, "eve", context::Role::Auditor).await);
    let list = async |caller: &Person, which: &str| {
        let answer = world.get(caller, format!("/v1/compliance/alerts{which}")).await;
        expect(answer, StatusCode::OK).await["alerts"].as_array().expect("a list").clone()
    };
    let all = list(&eve, "").await;
    assert_eq!((all.len(), &all[1]["rule"]), (2, &json!("log_uncovered")), "newest first");
    let newest = &all[0];
    assert_eq!((&newest["rule"], &newest["severity"]), (&json!("log_not_watched"), &json!("warning")));
    assert_eq!((&newest["actor"], &newest["count"]), (&json!("server"), &json!(3)));
    let id = newest["alert_id"].as_str().expect("an id");
    let acknowledged = world.post(&carla, format!("/v1/compliance/alerts/{id}/acknowledge"), &Value::Null).await;
    expect(acknowledged, StatusCode::OK).await;
    let open = list(&carla, "?open=true").await;
    assert_eq!((open.len(), &open[0]["rule"]), (1, &json!("log_uncovered")));
    assert_eq!(list(&carla, "").await.len(), 2);
    let anna = world.person("anna").await;
    problem(world.get(&anna, "/v1/compliance/alerts").await, StatusCode::FORBIDDEN, "forbidden").await;
}

#[tokio::test]
async fn alert_acknowledge_closes_an_open_alert_once() {
    let world = alarmed().await;
    let (carla, eve) =
        (staff(&world, "carla", context::Role::Compliance).await, staff(&world, "eve", context::Role::Auditor).await);
    let open = expect(world.get(&carla, "/v1/compliance/alerts?open=true").await, StatusCode::OK).await;
    let id = open["alerts"][0]["alert_id"].as_str().expect("an id");
    let acknowledge = async |caller: &Person, id: &str| {
        world.post(caller, format!("/v1/compliance/alerts/{id}/acknowledge"), &Value::Null).await
    };
    problem(acknowledge(&eve, id).await, StatusCode::FORBIDDEN, "forbidden").await;
    let unknown = "0".repeat(32);
    problem(acknowledge(&carla, &unknown).await, StatusCode::CONFLICT, "alert-not-open").await;
    let left = expect(acknowledge(&carla, id).await, StatusCode::OK).await;
    assert_eq!(left["alerts"], json!([]), "no alert is open any more");
    problem(acknowledge(&carla, id).await, StatusCode::CONFLICT, "alert-not-open").await;
    let all = expect(world.get(&carla, "/v1/compliance/alerts").await, StatusCode::OK).await;
    assert!(all["alerts"][0]["acknowledged_at"].is_string(), "{all}");
}

#[tokio::test]
async fn delivery_list_shows_staff_the_deliveries_in_each_state() {
    let world = alarmed().await;
    assert_eq!(deliver_alerts_once(&world.app, &client()).await.expect("tried"), 1);
    let eve = staff(&world, "eve", context::Role::Auditor).await;
    let list = async |query: &str| {
        let answer = world.get(&eve, format!("/v1/compliance/deliveries{query}")).await;
        expect(answer, StatusCode::OK).await["deliveries"].as_array().expect("a list").clone()
    };
    let waiting = list("?state=waiting").await;
    assert_eq!((&waiting[0]["endpoint"], &waiting[0]["attempts"]), (&json!("siem"), &json!(1)));
    assert!(waiting[0]["failure"].is_string(), "{waiting:?}");
    assert_eq!(list("").await, waiting);
    for state in ["delivered", "dead"] {
        assert!(list(&format!("?state={state}")).await.is_empty(), "{state}");
    }
    let anna = world.person("anna").await;
    problem(world.get(&anna, "/v1/compliance/deliveries").await, StatusCode::FORBIDDEN, "forbidden").await;
}

#[tokio::test]
async fn delivery_replay_sends_again_what_was_given_up_or_one_alert() {
    let world = alarmed().await;
    assert_eq!(deliver_alerts_once(&world.app, &client()).await.expect("tried"), 1);
    let given_up = "UPDATE jobs.deliveries SET state = 'dead', attempts = 10, ended_at = now()";
    assert_eq!(world.superuser().await.execute(given_up, &[]).await.expect("as if three days had passed"), 1);
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let replay = async |wish: Value| {
        let answer = world.post(&carla, "/v1/compliance/deliveries/replay", &wish).await;
        expect(answer, StatusCode::OK).await["deliveries"].clone()
    };
    let other = world.post(&carla, "/v1/compliance/deliveries/replay", &json!({ "endpoint": "other" })).await;
    let refused = problem(other, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    assert_eq!(fields(&refused), ["endpoint"], "no alert is sent there");
    assert_eq!(replay(json!({ "endpoint": "siem" })).await, 1);
    assert_eq!(replay(json!({})).await, 0, "it waits again");
    let all = expect(world.get(&carla, "/v1/compliance/deliveries").await, StatusCode::OK).await;
    let delivery = &all["deliveries"][0];
    assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("waiting"), &json!(0)), "{all}");
    assert_eq!(replay(json!({ "event_id": delivery["event_id"] })).await, 1, "one alert, in any state");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_records_are_shown_for_a_reason_that_the_person_sees() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    submit_day(&world, &anna, "2025-12-08").await;
    let [carla, dora] = [
        staff(&world, "carla", context::Role::Compliance).await,
        staff(&world, "dora", context::Role::Compliance).await,
    ];
    let eve = staff(&world, "eve", context::Role::Auditor).await;
    let reason = "Asked by phone to correct a date.";
    let wish = json!({ "email": "Anna@klinik.example", "reason": reason });
    for nobody in [&anna, &eve] {
        problem(world.post(nobody, "/v1/compliance/openings", &wish).await, StatusCode::FORBIDDEN, "forbidden").await;
    }
    for (wrong, field) in [
        (json!({ "email": "anna@klinik.example" }), "reason"),
        (json!({ "email": "anna@klinik.example", "reason": "because" }), "reason"),
        (json!({ "reason": reason }), "subject_id"),
        (json!({ "reason": reason, "email": "anna" }), "email"),
        (json!({ "reason": reason, "subject_id": "anna" }), "subject_id"),
    ] {
        let refused = problem(
            world.post(&carla, "/v1/compliance/openings", &wrong).await,
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-input",
        )
        .await;
        assert!(fields(&refused).contains(&field), "{wrong}: {refused}");
    }
    let unknown = json!({ "email": "nobody@klinik.example", "reason": reason });
    problem(world.post(&carla, "/v1/compliance/openings", &unknown).await, StatusCode::NOT_FOUND, "missing").await;

    let opened = expect(world.post(&carla, "/v1/compliance/openings", &wish).await, StatusCode::OK).await;
    let target =
        format!("/v1/compliance/openings/{}/records?kind=work_day", opened["opening_id"].as_str().expect("an id"));
    let records = expect(world.get(&carla, target.clone()).await, StatusCode::OK).await;
    assert!(records["records"][0]["body"].as_str().expect("a body").contains("2025-12-08"), "{records}");
    problem(world.get(&dora, target.clone()).await, StatusCode::NOT_FOUND, "missing").await;
    problem(world.get(&anna, target.clone()).await, StatusCode::FORBIDDEN, "forbidden").await;

    let log = expect(world.get(&anna, "/v1/privacy/audit-log?limit=200").await, StatusCode::OK).await;
    let of = |action: &str| {
        let entries = log["entries"].as_array().expect("entries");
        entries.iter().filter(|it| it["action"] == action && it["actor"] == "compliance").cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("data.opened")[0]["details"]["asked_for"], format!("reason: {reason}"));
    assert_eq!(of("data.accessed")[0]["table_name"], "work_day");
    assert!(of("data.opened")[0].get("ip_address").is_none(), "of staff a person sees role and reason");
    let stored: String = {
        let sql = "SELECT string_agg(payload::text || metadata::text, ' ') FROM log.events";
        world.superuser().await.query_one(sql, &[]).await.expect("read").get(0)
    };
    assert!(!stored.contains("phone"), "the reason is sealed");

    // An opening by the subject id. A row that was moved, and one that has expired, open nothing.
    let subject = subject_of(&world, &anna).await;
    let wish = json!({ "subject_id": subject, "reason": reason });
    expect(world.post(&carla, "/v1/compliance/openings", &wish).await, StatusCode::OK).await;
    let moved = "UPDATE auth.openings SET expires_at = expires_at + interval '1 hour'";
    world.superuser().await.execute(moved, &[]).await.expect("a superuser may");
    problem(world.get(&carla, target.clone()).await, StatusCode::NOT_FOUND, "missing").await;
    world.superuser().await.execute(&moved.replace('+', "-"), &[]).await.expect("back");
    expect(world.get(&carla, target.clone()).await, StatusCode::OK).await;
    let_pass(&world, TimeDelta::minutes(15)).await;
    let carla = sign_in(&world, &carla.email).await;
    problem(world.get(&carla, target).await, StatusCode::NOT_FOUND, "missing").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compliance_overview_shows_erasures_consents_keys_and_checkpoints() {
    let world = World::new().await;
    let [_, ben] = [world.person("anna").await, world.person("ben").await];
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    erase(&world, &ben).await;
    let carla = sign_in(&world, &carla.email).await;
    crate::tree::covered(&world).await;
    let overview = expect(world.get(&carla, "/v1/compliance/overview").await, StatusCode::OK).await;
    assert_eq!((&overview["accounts"], &overview["erased"]), (&json!(2), &json!(1)), "{overview}");
    assert_eq!(overview["consents"][0]["purpose"], "work_hours");
    assert_eq!((&overview["consents"][0]["granted"], &overview["keys"][0]["current"]), (&json!(1), &json!(true)));
    assert_eq!(overview["privileged_accounts"][0]["role"], "compliance");
    assert!(overview["checkpoint"]["size"].as_u64() > Some(5), "{overview}");
    assert!(overview["unrecoverable_by"].is_string() && overview["postgres_version"].is_string());
    assert_eq!(overview.get("last_drill"), None);
}

/// Takes longer for a request of a person, for a reason that the person is told.
async fn extend(world: &World, carla: &Person, request: &Value) -> TestResponse {
    let why = json!({ "reason": "Records of three systems have to be put together." });
    let id = request.as_str().expect("an id");
    world.post(carla, format!("/v1/compliance/requests/{id}/extension"), &why).await
}

#[tokio::test]
async fn request_extend_gives_more_time_once_and_tells_the_person_why() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (asked, _) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    let extended = expect(extend(&world, &carla, &asked["deletion_id"]).await, StatusCode::OK).await;
    assert!(extended["due_at"].is_string());
    let letters = world.take_letters(&anna.email).await;
    assert!(letters.iter().any(|letter| letter.contains("three systems")), "{letters:?}");
    problem(extend(&world, &carla, &asked["deletion_id"]).await, StatusCode::CONFLICT, "no-extension").await;
    assert!(events_of(&world, &anna).await.contains(&"request.extended".to_owned()));
}

#[tokio::test]
async fn request_list_shows_what_is_open_and_what_is_overdue() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (asked, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    let id = &asked["deletion_id"];
    let requests = expect(world.get(&carla, "/v1/compliance/requests").await, StatusCode::OK).await;
    assert_eq!((&requests["requests"][0]["request_id"], &requests["overdue"]), (id, &json!(0)), "{requests}");
    expect(extend(&world, &carla, id).await, StatusCode::OK).await;
    confirm_deletion(&world, &anna, &token, domain::rights::deletion::Scope::Full).await;
    let_pass(&world, TimeDelta::days(100)).await;
    let carla = sign_in(&world, &carla.email).await;
    let requests = expect(world.get(&carla, "/v1/compliance/requests").await, StatusCode::OK).await;
    assert_eq!((&requests["overdue"], &requests["requests"][0]["extended"]), (&json!(1), &json!(true)), "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trail_list_is_searched_and_exported_byte_for_byte_and_each_look_is_in_it() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    submit_day(&world, &anna, "2025-12-08").await;
    let (carla, eve) =
        (staff(&world, "carla", context::Role::Compliance).await, staff(&world, "eve", context::Role::Auditor).await);
    let to = world.clock.now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let subject = subject_of(&world, &anna).await;
    let read = async |caller: &Person, more: &str| {
        Answer::of(world.get(caller, format!("/v1/compliance/trail?to={to}&{more}")).await).await
    };
    let first = read(&carla, &format!("subject_id={subject}&format=csv")).await;
    assert_eq!((first.status, first.header("content-type")), (StatusCode::OK, Some("text/csv")), "{}", first.text);
    assert!(first.text.contains("record.submitted") && first.text.contains("account.registered"));
    assert!(!first.text.contains("sealed") && !first.text.contains("anna"), "{}", first.text);
    assert_eq!(
        read(&eve, &format!("subject_id={subject}&format=csv")).await.text,
        first.text,
        "the same question, the same bytes"
    );
    let family = read(&carla, "action=consent").await.json();
    assert_eq!(family["entries"][0]["action"], "consent.granted");
    assert!(family["entries"][0]["payload"].as_str().expect("clear").contains("work_hours"));

    // The pages together are the whole list.
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(&carla, &format!("subject_id={subject}&limit=2{cursor}")).await.json();
        paged.extend(page["entries"].as_array().expect("entries").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged.len() + 1, first.text.lines().count());
    for wrong in ["action=nonsense", "format=xml", "role=king", "limit=0", "cursor=x", "from=2100-01-01T00:00:00Z"] {
        assert_eq!(read(&carla, wrong).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(read(&anna, "").await.status, StatusCode::FORBIDDEN);
    let looks = "SELECT count(*) FROM log.events WHERE kind = 'trail' AND event_type = 'data.accessed'";
    let looks: i64 = world.superuser().await.query_one(looks, &[]).await.expect("counted").get(0);
    assert!(looks >= 5, "{looks}");
}

const BREACHES: &str = "/v1/compliance/breaches";

/// The facts of a breach of work days.
fn facts(began: &str, risk: &str) -> Value {
    json!({
        "reference": "INC-2026-17", "nature": ["confidentiality"], "kinds": ["work_day"], "began_at": began,
        "risk": risk,
    })
}

/// Opens a breach whose risk is unknown; returns the answer and the breach's path.
async fn open_breach(world: &World, carla: &Person, began: &str) -> (Value, String) {
    let opened = expect(world.post(carla, BREACHES, &facts(began, "unknown")).await, StatusCode::CREATED).await;
    let path = format!("{BREACHES}/{}", opened["breach_id"].as_str().expect("an id"));
    (opened, path)
}

#[tokio::test]
async fn breach_open_starts_the_72_hours_and_takes_no_free_text() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let wrong = json!({ "reference": "Anna, anna@klinik.example", "began_at": began, "risk": "unknown", "kinds": [] });
    let refused = world.post(&carla, BREACHES, &wrong).await;
    let refused = problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    let mut named = fields(&refused);
    named.sort_unstable();
    assert_eq!(named, ["nature", "reference"]);
    let (opened, _) = open_breach(&world, &carla, &began).await;
    let left = opened["left_s"].as_i64().expect("the clock runs");
    assert!((72 * 3600 - 60..=72 * 3600).contains(&left), "{opened}");
}

#[tokio::test]
async fn breach_affected_names_who_is_concerned_and_each_look_is_on_record() {
    let world = World::new().await;
    let [anna, ben] = [world.person("anna").await, world.person("ben").await];
    let began = world.clock.now().to_rfc3339();
    submit_day(&world, &anna, "2025-12-08").await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (_, path) = open_breach(&world, &carla, &began).await;
    let affected = expect(world.get(&carla, format!("{path}/affected")).await, StatusCode::OK).await;
    assert_eq!(
        (&affected["people"], &affected["affected"][0]["subject_id"]),
        (&json!(1), &json!(subject_of(&world, &anna).await))
    );
    assert_ne!(affected["affected"][0]["subject_id"], json!(subject_of(&world, &ben).await));
    let looks = "SELECT count(*) FROM log.events WHERE kind = 'compliance' AND event_type = 'data.accessed'";
    let looks: i64 = world.superuser().await.query_one(looks, &[]).await.expect("counted").get(0);
    assert_eq!(looks, 1, "who looks at whom it concerns is on record");
}

#[tokio::test]
async fn breach_assess_replaces_the_facts_and_the_clock_runs_on() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, path) = open_breach(&world, &carla, &began).await;
    let assess = async |path: &str, risk: &str| world.put(&carla, path, &facts(&began, risk)).await;
    let high = expect(assess(&path, "high").await, StatusCode::OK).await;
    assert_eq!((&opened["facts"]["risk"], &high["facts"]["risk"]), (&json!("unknown"), &json!("high")));
    assert_eq!((&high["aware_at"], &high["due_at"]), (&opened["aware_at"], &opened["due_at"]));
    let unlikely = expect(assess(&path, "unlikely").await, StatusCode::OK).await;
    assert_eq!(unlikely.get("due_at"), None, "the authority need not be told");
    let unknown = format!("{BREACHES}/{}", context::EventId::random());
    problem(assess(&unknown, "high").await, StatusCode::NOT_FOUND, "missing").await;
}

#[tokio::test]
async fn breach_step_closes_a_breach_once_everybody_was_told() {
    let world = World::new().await;
    let began = world.clock.now().to_rfc3339();
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (_, path) = open_breach(&world, &carla, &began).await;
    let step = async |name: &str| world.post(&carla, format!("{path}/steps"), &json!({ "step": name })).await;
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
    expect(world.put(&carla, path.as_str(), &facts(&began, "high")).await, StatusCode::OK).await;
    let told = expect(step("authority_notified").await, StatusCode::OK).await;
    assert!(told.get("due_at").is_none() && told["authority_notified_at"].is_string(), "{told}");
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
    expect(step("people_notified").await, StatusCode::OK).await;
    expect(step("closed").await, StatusCode::OK).await;
    problem(step("closed").await, StatusCode::CONFLICT, "breach").await;
}

#[tokio::test]
async fn breach_get_shows_one_breach_to_the_desk_only() {
    let world = World::new().await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, path) = open_breach(&world, &carla, &world.clock.now().to_rfc3339()).await;
    let shown = expect(world.get(&carla, &path).await, StatusCode::OK).await;
    assert_eq!((&shown["breach_id"], &shown["facts"]), (&opened["breach_id"], &opened["facts"]));
    let anna = world.person("anna").await;
    problem(world.get(&anna, &path).await, StatusCode::FORBIDDEN, "forbidden").await;
    let other = format!("{BREACHES}/{}", uuid::Uuid::nil());
    problem(world.get(&carla, other).await, StatusCode::NOT_FOUND, "missing").await;
}

#[tokio::test]
async fn breach_list_shows_the_breaches_to_the_desk_only() {
    let world = World::new().await;
    let (anna, began) = (world.person("anna").await, world.clock.now().to_rfc3339());
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let (opened, _) = open_breach(&world, &carla, &began).await;
    let list = expect(world.get(&carla, BREACHES).await, StatusCode::OK).await;
    assert_eq!(list["breaches"].as_array().map(Vec::len), Some(1));
    let listed = &list["breaches"][0];
    assert_eq!((&listed["breach_id"], &listed["due_at"]), (&opened["breach_id"], &opened["due_at"]));
    problem(world.get(&anna, BREACHES).await, StatusCode::FORBIDDEN, "forbidden").await;
}

#[tokio::test]
async fn processing_record_names_every_kind_of_the_registry() {
    let world = World::new().await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let record = Answer::of(world.get(&carla, "/v1/compliance/processing-record").await).await;
    assert_eq!(record.header("content-type"), Some("application/ld+json"));
    let json = record.json();
    let processes = json["hasProcess"].as_array().expect("processes");
    for kind in domain::kinds::KINDS {
        let named = |process: &Value| {
            process["hasPersonalData"]
                .as_array()
                .is_some_and(|data| data.iter().any(|it| it["hasIdentifier"] == kind.name()))
        };
        assert!(processes.iter().any(named), "{} is in no process", kind.name());
    }
    assert_eq!(processes.len(), domain::rights::consent::Purpose::ALL.len() + 1);
    assert_eq!(Answer::of(world.get(&carla, "/v1/compliance/processing-record").await).await.text, record.text);
}

#[tokio::test]
async fn impact_assessment_is_a_page_that_the_controller_completes() {
    let world = World::new().await;
    let carla = staff(&world, "carla", context::Role::Compliance).await;
    let page = Answer::of(world.get(&carla, "/v1/compliance/impact-assessment?format=html").await).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert!(
        page.text.contains("<h1>Data protection impact assessment")
            && page.text.contains("to be completed by the controller")
    );
    let wrong = world.get(&carla, "/v1/compliance/impact-assessment?format=pdf").await;
    assert_eq!(wrong.0.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

/// Transactions are compared as numbers, not as texts, so that pages lose nothing where a number has a digit more.
#[tokio::test]
async fn a_trail_pages_in_the_order_of_numbers() {
    let world = World::new().await;
    number_transactions(&world).await;
    let now = world.clock.now();
    let (mut after, mut found) = ((0, 0), Vec::new());
    loop {
        let (from, to) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
        let filter = TrailFilter { from, to, action: None, subject: None, role: None, after, limit: 7 };
        let page = compliance::trail(&world.app, &filter).await.expect("listed");
        let Some(last) = page.last() else { break };
        after = (last.position.txid, last.position.position);
        found.extend(page.iter().map(|row| row.position.txid));
    }
    assert_eq!(found, (1..=120).map(|n| 2 * n).collect::<Vec<u64>>());
}

/// A path too long to be stored stops nobody else, and its refusal is on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_very_long_path_is_refused_like_any_other() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let long = format!("/v1/{}", "a/".repeat(20_000));
    assert_eq!(world.get(&anna, long).await.0.status(), StatusCode::NOT_FOUND);
    let log = expect(world.get(&anna, "/v1/privacy/audit-log?action=access").await, StatusCode::OK).await;
    assert_eq!(log["entries"][0]["action"], "access.refused");
    assert!(log["entries"][0]["details"]["asked_for"].as_str().expect("a path").len() < 100, "{log}");
}
