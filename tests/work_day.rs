//! Work days: submitting, amending, batches, paging, deleting, and requests that are repeated with an idempotency key.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use futures_util::future::join_all;
use poem::{http::StatusCode, test::TestResponse};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    steps::{Answer, events_of, fields, let_pass, problem, sign_in, state_of, subject_of, version},
    support::{Person, World, day, expect},
};

const UNPROCESSABLE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

fn today(world: &World) -> NaiveDate {
    world.clock.now().date_naive()
}

/// A work day of this many days ago.
fn ago(world: &World, days: u64, actual: f64) -> Value {
    day(&(today(world) - Days::new(days)).to_string(), 8.0, actual)
}

async fn submit(world: &World, person: &Person, body: &Value) -> TestResponse {
    person.sign(world.client().post("/v1/work-events/daily").body_json(body)).send().await
}

async fn submit_all(world: &World, person: &Person, days: &[Value]) -> TestResponse {
    person.sign(world.client().post("/v1/work-events/batch").body_json(&json!({ "events": days }))).send().await
}

async fn submit_once(world: &World, person: &Person, key: &str, body: &Value) -> Answer {
    let request = world.client();
    let request = request.post("/v1/work-events/daily").header("idempotency-key", key).body_json(body);
    Answer::of(person.sign(request).send().await).await
}

async fn list(world: &World, person: &Person, query: &str) -> Value {
    let answer = person.sign(world.client().get(format!("/v1/work-events/me{query}"))).send().await;
    expect(answer, StatusCode::OK).await
}

async fn delete_all(world: &World, person: &Person) -> u64 {
    let answer = expect(person.sign(world.client().delete("/v1/work-events/me")).send().await, StatusCode::OK).await;
    answer["deleted_count"].as_u64().expect("a count is a number")
}

fn dates(page: &Value) -> Vec<NaiveDate> {
    let events = page["events"].as_array().expect("events are a list");
    events.iter().map(|event| event["date"].as_str().expect("a text").parse().expect("a date")).collect()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().expect("a time is a text").parse().expect("a time has a zone")
}

fn count(events: &[String], name: &str) -> usize {
    events.iter().filter(|event| *event == name).count()
}

#[tokio::test]
async fn work_day_submit_creates_a_day_amends_it_and_leaves_it_alone() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let before = world.clock.now();
    let created = Answer::of(submit(&world, &anna, &ago(&world, 0, 9.0)).await).await;
    assert_eq!((created.status, version(&created)), (StatusCode::CREATED, Some(1)), "{}", created.text);
    let first = created.json();
    first["event_id"].as_str().expect("a text").parse::<Uuid>().expect("the id is a UUID");
    assert!(before <= time(&first["submitted_at"]) && time(&first["submitted_at"]) <= world.clock.now());
    assert_eq!(first["updated_at"], first["submitted_at"]);
    assert_eq!(
        first,
        json!({
            "event_id": first["event_id"], "submitted_at": first["submitted_at"], "updated_at": first["updated_at"],
            "date": today(&world).to_string(), "planned_hours": 8.0, "actual_hours": 9.0,
            "planned_minutes": 480, "actual_minutes": 540, "source": "geofence",
        })
    );
    assert_eq!(list(&world, &anna, "").await["events"], json!([first]), "the list says what the answer said");

    let amended = Answer::of(submit(&world, &anna, &ago(&world, 0, 9.5)).await).await;
    assert_eq!((amended.status, version(&amended)), (StatusCode::OK, Some(2)), "{}", amended.text);
    let second = amended.json();
    assert_eq!((&second["event_id"], &second["submitted_at"]), (&first["event_id"], &first["submitted_at"]));
    assert!(time(&second["updated_at"]) > time(&first["updated_at"]));
    assert_eq!(list(&world, &anna, "").await["events"], json!([second]));

    let same = Answer::of(submit(&world, &anna, &ago(&world, 0, 9.5)).await).await;
    assert_eq!((same.status, version(&same), same.json()), (StatusCode::OK, Some(2), second));
    // The source is part of a day, so another source is an amendment.
    let mut manual = ago(&world, 0, 9.5);
    manual["source"] = json!("manual");
    let third = expect(submit(&world, &anna, &manual).await, StatusCode::OK).await;
    assert_eq!((&third["event_id"], &third["source"]), (&first["event_id"], &json!("manual")));
    let events = events_of(&world, &anna).await;
    assert_eq!(count(&events, "record.amended"), 2, "{events:?}");
    assert_eq!(count(&events, "record.submitted"), 3, "contact, work profile and the day: {events:?}");
}

#[tokio::test]
async fn work_day_submit_takes_hours_or_minutes_and_rounds_to_the_minute() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let planned = [
        (json!({ "planned_hours": 8.5 }), 510, 8.5),
        (json!({ "planned_minutes": 510 }), 510, 8.5),
        (json!({ "planned_hours": 8.5, "planned_minutes": 510 }), 510, 8.5),
        (json!({ "planned_hours": 9.21 }), 553, 9.22),
        (json!({ "planned_hours": 9.22 }), 553, 9.22),
        (json!({ "planned_hours": 9.21, "planned_minutes": 553 }), 553, 9.22),
        (json!({ "planned_hours": 9.2 }), 552, 9.2),
        (json!({ "planned_hours": 0 }), 0, 0.0),
        (json!({ "planned_hours": 24 }), 1440, 24.0),
        (json!({ "planned_minutes": 1 }), 1, 0.02),
        (json!({ "planned_minutes": 1440 }), 1440, 24.0),
        (json!({ "planned_hours": null, "planned_minutes": 500 }), 500, 8.33),
    ];
    let date = today(&world).to_string();
    for (given, minutes, hours) in &planned {
        for (other, other_minutes, other_hours) in &planned {
            let mut body = json!({ "date": date, "source": "mixed" });
            let object = body.as_object_mut().expect("it is an object");
            object.extend(given.as_object().expect("it is an object").clone());
            for (name, value) in other.as_object().expect("it is an object") {
                object.insert(name.replace("planned", "actual"), value.clone());
            }
            let answer = Answer::of(submit(&world, &anna, &body).await).await;
            assert!(answer.status.is_success(), "{body}: {}", answer.text);
            let stored = answer.json();
            assert_eq!(
                (&stored["planned_minutes"], &stored["planned_hours"]),
                (&json!(minutes), &json!(hours)),
                "{body}"
            );
            assert_eq!(
                (&stored["actual_minutes"], &stored["actual_hours"]),
                (&json!(other_minutes), &json!(other_hours)),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn work_day_submit_refuses_hours_and_minutes_that_disagree() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for (hours, minutes) in [(8.5, 511), (8.5, 509), (0.0, 1), (9.21, 552)] {
        for what in ["planned", "actual"] {
            let mut body = ago(&world, 0, 9.0);
            body[format!("{what}_hours")] = json!(hours);
            body[format!("{what}_minutes")] = json!(minutes);
            let refused = problem(submit(&world, &anna, &body).await, UNPROCESSABLE, "invalid-input").await;
            assert_eq!(fields(&refused), [format!("{what}_minutes")], "{body}");
        }
    }
    assert_eq!(state_of(&client).await, before);
}

#[tokio::test]
async fn work_day_submit_batch_counts_what_it_created_amended_and_left_alone() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let counts = |created: u32, updated: u32, unchanged: u32| json!({ "created_count": created, "updated_count": updated, "unchanged_count": unchanged });
    let first = [ago(&world, 3, 8.0), ago(&world, 1, 8.0), ago(&world, 2, 8.0)];
    assert_eq!(expect(submit_all(&world, &anna, &first).await, StatusCode::OK).await, counts(3, 0, 0));
    assert_eq!(expect(submit_all(&world, &anna, &first).await, StatusCode::OK).await, counts(0, 0, 3));
    let second = [ago(&world, 1, 9.0), ago(&world, 2, 8.0), ago(&world, 0, 8.0)];
    assert_eq!(expect(submit_all(&world, &anna, &second).await, StatusCode::OK).await, counts(1, 1, 1));
    let listed = list(&world, &anna, "").await;
    let actual: Vec<f64> = listed["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|event| event["actual_hours"].as_f64().expect("a number"))
        .collect();
    assert_eq!(actual, [8.0, 8.0, 9.0, 8.0]);
    let events = events_of(&world, &anna).await;
    assert_eq!((count(&events, "record.submitted"), count(&events, "record.amended")), (2 + 4, 1), "{events:?}");
}

#[tokio::test]
async fn work_day_submit_batch_stores_all_days_or_none() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    expect(submit(&world, &anna, &ago(&world, 5, 8.0)).await, StatusCode::CREATED).await;
    let client = world.superuser().await;
    let before = state_of(&client).await;
    // One day would be created, one amended, and the last lies in the future of every time zone.
    let ahead = day(&(today(&world) + Days::new(3)).to_string(), 8.0, 8.0);
    let answer = submit_all(&world, &anna, &[ago(&world, 4, 8.0), ago(&world, 5, 9.0), ahead]).await;
    assert_eq!(fields(&problem(answer, UNPROCESSABLE, "invalid-input").await), ["events[2].date"]);
    assert_eq!(state_of(&client).await, before);
    // The database refuses one row of the last flight.
    client
        .batch_execute("ALTER TABLE read.records ADD CONSTRAINT few CHECK (sequence < 2) NOT VALID")
        .await
        .expect("a constraint is added");
    let answer = submit_all(&world, &anna, &[ago(&world, 4, 8.0), ago(&world, 5, 9.0)]).await;
    let failed = problem(answer, StatusCode::INTERNAL_SERVER_ERROR, "failed").await;
    assert_eq!(failed["detail"], Value::Null, "what failed inside is nobody's business");
    assert_eq!(state_of(&client).await, before);
    client.batch_execute("ALTER TABLE read.records DROP CONSTRAINT few").await.expect("it is dropped");
    expect(submit_all(&world, &anna, &[ago(&world, 4, 8.0), ago(&world, 5, 9.0)]).await, StatusCode::OK).await;
}

#[tokio::test]
async fn work_day_submit_batch_takes_a_leap_year_and_no_more() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let days = |count: u64| (0..count).map(|back| ago(&world, back, 8.0)).collect::<Vec<_>>();
    let client = world.superuser().await;
    let before = state_of(&client).await;
    for wrong in [367, 1000, 0] {
        let answer = submit_all(&world, &anna, &days(wrong)).await;
        assert_eq!(fields(&problem(answer, UNPROCESSABLE, "invalid-input").await), ["events"], "{wrong}");
    }
    assert_eq!(state_of(&client).await, before);
    let all = expect(submit_all(&world, &anna, &days(366)).await, StatusCode::OK).await;
    assert_eq!(all["created_count"], 366);
    let listed = list(&world, &anna, "?limit=1000").await;
    assert_eq!(dates(&listed).len(), 366);
    assert!(dates(&listed).is_sorted());
    let transactions =
        "SELECT count(DISTINCT txid) FROM log.events WHERE aggregate_type = 'record' AND kind = 'work_day'";
    assert_eq!(client.query_one(transactions, &[]).await.expect("the log is read").get::<_, i64>(0), 1);
    assert_eq!(delete_all(&world, &anna).await, 366);
}

#[tokio::test]
async fn work_day_list_shows_a_range_oldest_first() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let days: Vec<Value> = [400, 7, 92, 0, 31, 30].map(|back| ago(&world, back, 8.0)).into();
    expect(submit_all(&world, &anna, &days).await, StatusCode::OK).await;
    let date = |back: u64| today(&world) - Days::new(back);
    let found = async |query: &str| dates(&list(&world, &anna, query).await);
    assert_eq!(found("").await, [400, 92, 31, 30, 7, 0].map(date));
    assert_eq!(found(&format!("?from={}&to={}", date(31), date(7))).await, [31, 30, 7].map(date), "both ends included");
    assert_eq!(found(&format!("?from={0}&to={0}", date(30))).await, [date(30)]);
    assert!(found(&format!("?from={}&to={}", date(29), date(8))).await.is_empty());
    assert!(found(&format!("?from={}&to={}", date(2000), date(1999))).await.is_empty());
    let path = format!("/v1/work-events/me?from={}&to={}", date(1), date(2));
    let refused = anna.sign(world.client().get(path)).send().await;
    assert_eq!(fields(&problem(refused, UNPROCESSABLE, "invalid-input").await), ["from"]);
}

#[tokio::test]
async fn work_day_list_takes_a_range_that_is_open_at_either_end_and_costs_no_more() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let days: Vec<Value> = [400, 31, 0].map(|back| ago(&world, back, 8.0)).into();
    expect(submit_all(&world, &anna, &days).await, StatusCode::OK).await;
    let date = |back: u64| today(&world) - Days::new(back);
    for (query, expected) in [
        (format!("?from={}", date(31)), vec![date(31), date(0)]),
        (format!("?to={}", date(31)), vec![date(400), date(31)]),
        ("?from=0000-01-01&to=9999-12-31".to_owned(), vec![date(400), date(31), date(0)]),
    ] {
        let client = world.client();
        let request = anna.sign(client.get(format!("/v1/work-events/me{query}"))).send();
        // Each quarter of the range is hashed as a bucket; all quarters of all time are two million.
        let answer = tokio::time::timeout(std::time::Duration::from_secs(5), request).await;
        let answer = Answer::of(answer.unwrap_or_else(|_| panic!("{query} takes more than five seconds"))).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.text);
        assert_eq!(dates(&answer.json()), expected, "{query}");
    }
}

#[tokio::test]
async fn work_day_list_shows_each_day_once_in_order_over_all_pages() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let days: Vec<Value> = (0..250).map(|number| ago(&world, number * 7 % 250, 8.0)).collect();
    expect(submit_all(&world, &anna, &days).await, StatusCode::OK).await;
    let all: Vec<NaiveDate> = (0..250).rev().map(|back| today(&world) - Days::new(back)).collect();
    let page = list(&world, &anna, "").await;
    assert_eq!(dates(&page), all[..100], "a hundred where no limit is given");
    for (limit, pages) in [(7, 36), (50, 5), (100, 3), (249, 2), (250, 1), (1000, 1)] {
        let (mut seen, mut cursor, mut count) = (Vec::new(), String::new(), 0);
        loop {
            let page = list(&world, &anna, &format!("?limit={limit}{cursor}")).await;
            assert!(dates(&page).len() <= limit);
            seen.extend(dates(&page));
            count += 1;
            match page.get("next_cursor") {
                Some(next) => cursor = format!("&cursor={}", next.as_str().expect("a cursor is a text")),
                None => break,
            }
        }
        assert_eq!((seen, count), (all.clone(), pages), "limit {limit}");
    }
    // The range holds for all its pages.
    let (from, to) = (all[10], all[29]);
    let first = list(&world, &anna, &format!("?from={from}&to={to}&limit=15")).await;
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let second = list(&world, &anna, &format!("?from={from}&to={to}&limit=15&cursor={cursor}")).await;
    assert_eq!([dates(&first), dates(&second)].concat(), all[10..30]);
    assert_eq!(second.get("next_cursor"), None);
    // A day that is deleted or added between pages shifts no other day.
    let first = list(&world, &anna, "?limit=100").await;
    let cursor = first["next_cursor"].as_str().expect("there is more").to_owned();
    expect(submit(&world, &anna, &ago(&world, 300, 8.0)).await, StatusCode::CREATED).await;
    assert_eq!(dates(&list(&world, &anna, &format!("?limit=100&cursor={cursor}")).await), all[100..200]);
    for wrong in ["limit=0", "limit=1001"] {
        let refused = anna.sign(world.client().get(format!("/v1/work-events/me?{wrong}"))).send().await;
        assert_eq!(fields(&problem(refused, UNPROCESSABLE, "invalid-input").await), ["limit"]);
    }
}

#[tokio::test]
async fn work_day_submit_refuses_a_future_that_begins_where_the_person_is() {
    let world = World::new().await;
    let noon = (today(&world) + Days::new(1)).and_hms_opt(12, 0, 0).expect("noon is a time").and_utc();
    // At noon UTC the next day has begun on Kiritimati; at 05:00 UTC it is still the day before in California.
    for (hours, east, west) in [(0, 1, 0), (17, 0, -1)] {
        let moment = noon + TimeDelta::hours(hours);
        let_pass(&world, moment - world.clock.now()).await;
        for (name, zone, last) in [("kiri", "Pacific/Kiritimati", east), ("lara", "America/Los_Angeles", west)] {
            let more = json!({ "time_zone": zone, "consents": ["work_hours"] });
            let person = world.person_with(&format!("{name}{hours}"), more).await;
            let date = |ahead: i64| day(&(moment.date_naive() + TimeDelta::days(ahead)).to_string(), 8.0, 8.0);
            let refused = problem(submit(&world, &person, &date(last + 1)).await, UNPROCESSABLE, "invalid-input").await;
            assert_eq!(fields(&refused), ["date"], "{zone} at {moment}");
            let batch = submit_all(&world, &person, &[date(last), date(last + 1)]).await;
            assert_eq!(fields(&problem(batch, UNPROCESSABLE, "invalid-input").await), ["events[1].date"]);
            expect(submit(&world, &person, &date(last)).await, StatusCode::CREATED).await;
        }
    }
}

#[tokio::test]
async fn work_day_delete_all_destroys_the_keys_of_the_days_and_nothing_else() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let days = [ago(&world, 0, 8.0), ago(&world, 1, 8.0), ago(&world, 100, 8.0)];
    for person in [&anna, &ben] {
        expect(submit_all(&world, person, &days).await, StatusCode::OK).await;
    }
    let old = list(&world, &anna, "").await;
    let client = world.superuser().await;
    let (a, b) = (subject_of(&world, &anna).await, subject_of(&world, &ben).await);
    let keys = async |subject: &Uuid| {
        let sql = "SELECT s.wrapping_version, s.wrapping_key, array_agg(r.kind ORDER BY r.kind), array_agg(r.wrapped_key ORDER BY r.kind)
                   FROM vault.subjects s JOIN vault.records r USING (subject_id) WHERE subject_id = $1 GROUP BY 1, 2";
        let row = client.query_one(sql, &[subject]).await.expect("the vault is read");
        (row.get::<_, i64>(0), row.get::<_, Vec<u8>>(1), row.get::<_, Vec<String>>(2), row.get::<_, Vec<Vec<u8>>>(3))
    };
    let (before, bens) = (keys(&a).await, keys(&b).await);
    assert_eq!(before.2, ["contact", "work_day", "work_day", "work_day", "work_profile"]);
    assert_eq!(delete_all(&world, &anna).await, 3);
    let after = keys(&a).await;
    assert_eq!(after.2, ["contact", "work_profile"], "the register's rows are gone");
    assert_eq!(after.0, before.0 + 1);
    assert_ne!(after.1, before.1, "the wrapping key is another");
    assert!(after.3.iter().all(|key| !before.3.contains(key)), "the survivors are wrapped anew");
    assert_eq!(keys(&b).await, bens, "nobody else is touched");
    let left = "SELECT count(*) FROM read.records WHERE subject_id = $1 AND kind = 'work_day'";
    assert_eq!(client.query_one(left, &[&a]).await.expect("the read model is read").get::<_, i64>(0), 0);
    assert_eq!(list(&world, &anna, "").await, json!({ "events": [] }));
    assert_eq!(dates(&list(&world, &ben, "").await).len(), 3);
    // The log keeps the fact that days were removed.
    let events = events_of(&world, &anna).await;
    assert_eq!(count(&events, "record.removed"), 3, "{events:?}");
    // Contact and profile can still be read, now and after a new sign-in.
    let again = sign_in(&world, &anna.email).await;
    for person in [&anna, &again] {
        let seen = expect(person.sign(world.client().get("/v1/auth/me")).send().await, StatusCode::OK).await;
        assert_eq!((&seen["email"], &seen["hospital_id"]), (&json!(anna.email), &json!("klinikum-am-see")));
    }
    // A second deletion finds nothing, and changes no key.
    assert_eq!(delete_all(&world, &anna).await, 0);
    assert_eq!(keys(&a).await, after);
    // The same day submitted again is another record.
    let anew = expect(submit(&world, &anna, &days[0]).await, StatusCode::CREATED).await;
    let known: Vec<&Value> = old["events"].as_array().expect("a list").iter().map(|event| &event["event_id"]).collect();
    assert!(!known.contains(&&anew["event_id"]), "{anew}");
    assert_eq!(dates(&list(&world, &anna, "").await), [today(&world)]);
    assert_eq!(delete_all(&world, &anna).await, 1);
    assert_eq!(keys(&a).await.0, before.0 + 2);
}

#[tokio::test]
async fn submissions_and_deletions_at_once_leave_everything_readable() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let bodies: Vec<Value> = (0..12).map(|back| ago(&world, back, 8.0)).collect();
    let submissions = bodies.iter().map(|body| anna.sign(client.post("/v1/work-events/daily").body_json(body)).send());
    let deletions = (0..3).map(|_| anna.sign(client.delete("/v1/work-events/me")).send());
    let (submitted, deleted) = futures_util::join!(join_all(submissions), join_all(deletions));
    assert!(submitted.iter().all(|answer| answer.0.status() == StatusCode::CREATED));
    assert!(deleted.iter().all(|answer| answer.0.status() == StatusCode::OK));
    let left = dates(&list(&world, &anna, "").await).len();
    assert_eq!(delete_all(&world, &anna).await, left as u64);
    expect(anna.sign(client.get("/v1/auth/me")).send().await, StatusCode::OK).await;
}

#[tokio::test]
async fn work_day_submit_by_many_at_once_creates_a_day_once_and_never_fails() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let bodies: Vec<Value> = (1..=16_u8).map(|number| ago(&world, 0, f64::from(number))).collect();
    let tries = bodies.iter().map(|body| anna.sign(client.post("/v1/work-events/daily").body_json(body)).send());
    let mut statuses: Vec<u16> = join_all(tries).await.iter().map(|answer| answer.0.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 15, "{statuses:?}");
    assert_eq!(dates(&list(&world, &anna, "").await).len(), 1);
}

#[tokio::test]
async fn work_day_submit_answers_a_repeated_request_as_the_first() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let body = ago(&world, 0, 9.0);
    let first = submit_once(&world, &anna, "k-1", &body).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let state = state_of(&world.superuser().await).await;
    for _ in 0..3 {
        let again = submit_once(&world, &anna, "k-1", &body).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.header("etag"), first.header("etag"));
    }
    assert_eq!(state_of(&world.superuser().await).await, state);
    // With another key it is another request: the day exists already.
    assert_eq!(submit_once(&world, &anna, "k-2", &body).await.status, StatusCode::OK);
    // A stored answer does not change when the day has changed, or when submitting is no longer allowed.
    expect(submit(&world, &anna, &ago(&world, 0, 10.0)).await, StatusCode::OK).await;
    let client = world.client();
    let withdrawal = client.put("/v1/consents/work_hours").body_json(&json!({ "granted": false }));
    expect(anna.sign(withdrawal).send().await, StatusCode::OK).await;
    let again = submit_once(&world, &anna, "k-1", &body).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(list(&world, &anna, "").await["events"][0]["actual_hours"], 10.0);
}

#[tokio::test]
async fn work_day_submit_refuses_a_key_with_another_body_and_everybody_has_keys_of_their_own() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let first = submit_once(&world, &anna, "k-1", &ago(&world, 0, 9.0)).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let state = state_of(&world.superuser().await).await;
    for other in [ago(&world, 0, 9.5), ago(&world, 1, 9.0)] {
        let refused = submit_once(&world, &anna, "k-1", &other).await;
        assert_eq!(refused.problem(UNPROCESSABLE)["type"], "/problems/key-reused");
    }
    assert_eq!(state_of(&world.superuser().await).await, state);
    let bens = submit_once(&world, &ben, "k-1", &ago(&world, 1, 7.0)).await;
    assert_eq!(bens.status, StatusCode::CREATED);
    assert_ne!(bens.json()["event_id"], first.json()["event_id"]);
    // A refused request stores no answer, so that the corrected request may use the key.
    let ahead = day(&(today(&world) + Days::new(3)).to_string(), 8.0, 8.0);
    submit_once(&world, &anna, "k-3", &ahead).await.problem(UNPROCESSABLE);
    assert_eq!(submit_once(&world, &anna, "k-3", &ago(&world, 3, 8.0)).await.status, StatusCode::CREATED);
    let batch = async |person: &Person, days: &[Value]| {
        let request = world.client();
        let request = request.post("/v1/work-events/batch").header("idempotency-key", "b-1");
        Answer::of(person.sign(request.body_json(&json!({ "events": days }))).send().await).await
    };
    let stored = batch(&anna, &[ago(&world, 10, 8.0), ago(&world, 11, 8.0)]).await;
    assert_eq!((stored.status, &stored.json()["created_count"]), (StatusCode::OK, &json!(2)));
    assert_eq!(batch(&anna, &[ago(&world, 10, 8.0), ago(&world, 11, 8.0)]).await.text, stored.text);
    let refused = batch(&anna, &[ago(&world, 10, 8.0)]).await;
    assert_eq!(refused.problem(UNPROCESSABLE)["type"], "/problems/key-reused");
    for key in ["", &"k".repeat(256)] {
        let refused = submit_once(&world, &anna, key, &ago(&world, 20, 8.0)).await;
        assert_eq!(fields(&refused.problem(UNPROCESSABLE)), ["Idempotency-Key"], "{key:?}");
    }
    assert_eq!(submit_once(&world, &anna, &"k".repeat(255), &ago(&world, 20, 8.0)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn work_day_submit_takes_a_key_again_after_a_day() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let first = submit_once(&world, &anna, "k-1", &ago(&world, 0, 9.0)).await;
    let_pass(&world, TimeDelta::hours(23)).await;
    let anna = sign_in(&world, &anna.email).await;
    let body = day(first.json()["date"].as_str().expect("a date"), 8.0, 9.0);
    let again = submit_once(&world, &anna, "k-1", &body).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text));
    let_pass(&world, TimeDelta::seconds(3601)).await;
    let anna = sign_in(&world, &anna.email).await;
    let anew = submit_once(&world, &anna, "k-1", &ago(&world, 1, 5.0)).await;
    assert!(anew.status.is_success(), "{}", anew.text);
    assert_eq!(anew.json()["actual_hours"], 5.0);
    let again = submit_once(&world, &anna, "k-1", &ago(&world, 1, 5.0)).await;
    assert_eq!((again.status, &again.text), (anew.status, &anew.text), "the new answer took the old one's place");
}

/// A client that repeats a submission, because it never saw the answer, must not bring back a day that was removed since.
#[tokio::test]
async fn work_day_submit_repeated_with_its_key_brings_no_removed_day_back() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let body = ago(&world, 0, 9.0);
    let first = submit_once(&world, &anna, "k-1", &body).await;
    let path = format!("/v1/records/work_day/{}", first.json()["event_id"].as_str().expect("an id"));
    let removed = world.send(&anna, poem::http::Method::DELETE, path, &Value::Null).await;
    assert_eq!(removed.0.status(), StatusCode::NO_CONTENT);
    let again = submit_once(&world, &anna, "k-1", &body).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text), "the first answer");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(list(&world, &anna, "").await["events"], json!([]), "the day stays away");
    let anew = submit_once(&world, &anna, "k-2", &body).await;
    assert_eq!(anew.status, StatusCode::CREATED);
    assert_ne!(anew.json()["event_id"], first.json()["event_id"]);
}

#[tokio::test]
async fn work_day_submit_carries_out_one_of_many_requests_with_one_key_at_once() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let client = world.client();
    let body = ago(&world, 0, 9.0);
    let send =
        || anna.sign(client.post("/v1/work-events/daily").header("idempotency-key", "k-1").body_json(&body)).send();
    let answers = join_all((0..20).map(|_| async { Answer::of(send().await).await })).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    // A 200 would mean that the day existed already, so that the request was carried out a second time.
    assert!(statuses.iter().all(|status| [201, 409].contains(status)), "{statuses:?}");
    let created: Vec<&Answer> = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).collect();
    assert!(!created.is_empty(), "{statuses:?}");
    assert!(created.iter().all(|answer| answer.text == created[0].text), "all who are answered get the same answer");
    for answer in answers.iter().filter(|answer| answer.status == StatusCode::CONFLICT) {
        assert_eq!(answer.problem(StatusCode::CONFLICT)["type"], "/problems/in-flight");
    }
    assert_eq!(dates(&list(&world, &anna, "").await).len(), 1);
    let events = events_of(&world, &anna).await;
    assert_eq!(count(&events, "record.submitted"), 3, "contact, work profile, one day: {events:?}");
    assert_eq!(count(&events, "record.amended"), 0);
}
