//! Alerts: what raises them, who is told, and who looks after them.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use domain::desk::alert::Severity;
use lethe::{
    app::{
        Alerts,
        desk::{alert, alert_rules::Rules, webhook::Endpoint},
    },
    jobs::{client, deliver_alerts_once, watch_log_once},
    server::Settings,
};
use poem::{
    EndpointExt, Route, handler,
    http::{HeaderMap, StatusCode},
    post,
    web::Data,
};
use serde_json::{Value, json};

use crate::{
    steps::{events_of, fields, let_pass, problem, sign_in, staff, submit_day},
    support::{Person, World, day, expect},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

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
