//! Lists are read page by page, and no row is lost or repeated on the way.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use chrono::{Datelike, NaiveDate, TimeDelta};
use context::{Ctx, SubjectId};
use domain::{
    Body,
    desk::alert::Severity,
    filter::Days,
    kinds::{SCREENING, Screening, Shape, UtcTime},
};
use lethe::{
    app::{
        desk::alert,
        records::{
            list,
            record::{self, Batch, Submission},
        },
    },
    jobs,
};
use poem::http::{Method, StatusCode};
use projections::page::Page;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    documented::{operations, resolved},
    isolation::property,
    operations::Stage,
    steps::{problem, subject_of, submit_day},
    support::{Person, World, expect},
};

/// The reads that answer with a list without pages, and what bounds the list.
const BOUNDED: &[(&str, &str)] = &[
    ("compliance_overview", "at a glance: purposes, keys, witnesses, staff, holds, and the erasures of thirty days"),
    ("consent_list", "one entry a purpose"),
    ("kind_list", "one entry a kind"),
    ("log_consistency", "hashes, as many as the tree is high"),
    ("log_trees", "one entry a restore"),
    ("overview_get", "one entry a kind or purpose"),
    (
        "projection_list",
        "one entry a projection, and the first hundred events that it could not apply, which are counted",
    ),
    ("retention_get", "one entry a kind"),
    ("statistics_by_hospital", "of the quarters that `from` and `to` name, one entry a hospital; a table for programs"),
    ("statistics_by_state", "of the quarters that `from` and `to` name, one entry a cell"),
    ("statistics_by_state_role", "of the quarters that `from` and `to` name, one entry a cell"),
    ("statistics_parameters", "one entry a table"),
    ("statistics_periods", "one entry a quarter"),
];

#[test]
fn each_list_has_pages_or_is_bounded_by_what_it_lists() {
    let (mut bounded, mut paged) = (BTreeSet::new(), 0);
    for operation in operations().filter(|operation| operation.method == Method::GET) {
        let id = operation.id;
        let fields =
            &resolved(&operation.says["responses"]["200"]["content"]["application/json"]["schema"])["properties"];
        let has_list = fields.as_object().into_iter().flatten().any(|(_, field)| field["type"] == "array");
        let pages = operation.has_parameter("cursor") && operation.has_parameter("limit");
        assert!(fields.is_null() || pages == fields.get("next_cursor").is_some(), "{id}");
        if pages {
            paged += 1;
        } else if has_list {
            bounded.insert(id);
        }
    }
    assert_eq!(bounded, BOUNDED.iter().map(|(id, _)| *id).collect(), "lists without pages");
    assert!(paged >= 14, "{paged} lists have pages");
}

/// Reads a list in pages of two; all pages together are the list as one page shows it. Returns the entries.
async fn read(world: &World, person: &Person, path: &str, name: &str) -> Vec<Value> {
    let with = |query: &str| format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' });
    let page = async |query: String| expect(world.get(person, with(&query)).await, StatusCode::OK).await;
    let whole = page("limit=1000".to_owned()).await;
    assert_eq!(whole.get("next_cursor"), None, "{path}: {whole}");
    let whole = whole[name].as_array().expect("a list").clone();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = page(format!("limit=2{cursor}")).await;
        let entries = page[name].as_array().expect("a list");
        assert!(entries.len() <= 2, "{path}: {page}");
        seen.extend(entries.clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        assert_eq!(entries.len(), 2, "{path}: another page follows a full one only");
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, whole, "{path}");
    for wrong in ["x", "!!!", "WyItMSJd", "WzAsIlx1MDAwMCJd"] {
        let refused = world.get(person, with(&format!("cursor={wrong}"))).await;
        problem(refused, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
    }
    whole
}

/// Rows of one moment are told apart by their ids, so the times of several rows are made the same.
async fn make_equal(world: &World, sql: &str) {
    world.superuser().await.batch_execute(sql).await.expect("changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_persons_lists_lose_nothing() {
    let stage = Stage::new().await;
    let (world, anna) = (&stage.world, stage.newcomer().await);
    for number in 0..5 {
        let decision = json!({ "granted": number % 2 == 1 });
        expect(world.put(&anna, "/v1/consents/work_hours", &decision).await, StatusCode::OK).await;
        let wish = json!({ "request_type": "full", "format": "json" });
        let asked = expect(world.post(&anna, "/v1/privacy/export-data", &wish).await, StatusCode::ACCEPTED).await;
        let cancel = format!("/v1/privacy/exports/{}/cancel", asked["export_id"].as_str().expect("an id"));
        expect(world.post(&anna, cancel, &Value::Null).await, StatusCode::OK).await;
        let full = json!({ "deletion_type": "full" });
        expect(world.post(&anna, "/v1/privacy/delete-data", &full).await, StatusCode::ACCEPTED).await;
    }
    make_equal(
        world,
        "UPDATE read.exports SET requested_at = '2026-01-01T00:00:00Z';
         UPDATE read.deletions SET requested_at = '2026-01-01T00:00:00Z' WHERE state = 'replaced'",
    )
    .await;
    let exports = read(world, &anna, "/v1/privacy/exports", "exports").await;
    assert_eq!((exports.len(), &exports[0]["status"]), (5, &json!("cancelled")));
    let deletions = read(world, &anna, "/v1/privacy/deletions", "deletions").await;
    let states: Vec<&Value> = deletions.iter().map(|deletion| &deletion["status"]).collect();
    assert_eq!((states.len(), states[0], states[1]), (5, &json!("pending"), &json!("replaced")));
    let decisions = read(world, &anna, "/v1/consents/work_hours/history", "decisions").await;
    let granted: Vec<&Value> = decisions.iter().map(|decision| &decision["granted"]).collect();
    assert_eq!(granted, [false, true, false, true, false, true], "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_desks_lists_lose_nothing() {
    let stage = Stage::new().await;
    let (world, carla) = (&stage.world, &stage.staff);
    let mut people = Vec::new();
    for _ in 0..5 {
        let person = stage.newcomer().await;
        let full = json!({ "deletion_type": "full" });
        expect(world.post(&person, "/v1/privacy/delete-data", &full).await, StatusCode::ACCEPTED).await;
        let wish = json!({ "request_type": "full", "format": "json" });
        expect(world.post(&person, "/v1/privacy/export-data", &wish).await, StatusCode::ACCEPTED).await;
        people.push(person);
    }
    for login in ["a", "b", "c", "d", "e"] {
        alert::alarm_about(&world.app, login, "pages_of_alerts", Severity::Warning, 1).await;
        let facts = json!({ "reference": format!("INC-{login}"), "nature": ["integrity"], "kinds": ["work_day"],
                            "began_at": "2026-01-01T00:00:00Z", "risk": "high" });
        expect(world.post(carla, "/v1/compliance/breaches", &facts).await, StatusCode::CREATED).await;
    }
    make_equal(
        world,
        "UPDATE jobs.jobs SET created_at = '2026-01-01T00:00:00Z';
         UPDATE read.deletions SET requested_at = '2026-01-01T00:00:00Z';
         INSERT INTO jobs.deliveries (endpoint, event_id, state, next_at, created_at)
         SELECT endpoint, event_id, 'dead', now(), '2026-01-01T00:00:00Z'
         FROM unnest(ARRAY['one', 'two']) AS endpoint, log.events WHERE event_type = 'alert.raised'",
    )
    .await;
    let jobs = read(world, carla, "/v1/admin/jobs", "jobs").await;
    assert_eq!((jobs.len(), &jobs[0]["state"]), (5, &json!("waiting")), "{jobs:?}");
    assert_eq!(read(world, carla, "/v1/admin/jobs?state=waiting", "jobs").await, jobs);
    assert_eq!(read(world, carla, "/v1/admin/jobs?state=failed", "jobs").await, Vec::<Value>::new());
    assert_eq!(read(world, carla, "/v1/compliance/deliveries?state=dead", "deliveries").await.len(), 10);

    let alerts = read(world, carla, "/v1/compliance/alerts", "alerts").await;
    let actors: Vec<&Value> = alerts.iter().map(|alert| &alert["actor"]).collect();
    assert_eq!(actors, ["e", "d", "c", "b", "a"]);
    let acknowledge = format!("/v1/compliance/alerts/{}/acknowledge", alerts[2]["alert_id"].as_str().expect("an id"));
    let left = expect(world.post(carla, acknowledge, &Value::Null).await, StatusCode::OK).await;
    assert_eq!(left["alerts"].as_array().map(Vec::len), Some(4));
    let open = read(world, carla, "/v1/compliance/alerts?open=true", "alerts").await;
    assert_eq!(open.iter().map(|alert| &alert["actor"]).collect::<Vec<_>>(), ["e", "d", "b", "a"]);
    let first = read(world, carla, "/v1/compliance/alerts", "alerts").await.remove(0);
    assert_eq!(first["actor"], "c", "an alert that changes comes first");
    let overview = expect(world.get(carla, "/v1/compliance/overview").await, StatusCode::OK).await;
    assert_eq!((&overview["alerts_open"], &overview["requests_open"]), (&json!(4), &json!(10)));

    let breaches = read(world, carla, "/v1/compliance/breaches", "breaches").await;
    assert_eq!(
        breaches.iter().map(|it| &it["facts"]["reference"]).collect::<Vec<_>>(),
        ["INC-e", "INC-d", "INC-c", "INC-b", "INC-a"]
    );
    let breach = breaches[0]["breach_id"].as_str().expect("an id");
    let affected = read(world, carla, &format!("/v1/compliance/breaches/{breach}/affected"), "affected").await;
    assert_eq!(affected.len(), 5);
    let part = world.get(carla, format!("/v1/compliance/breaches/{breach}/affected?limit=1")).await;
    assert_eq!(expect(part, StatusCode::OK).await["people"], 5, "all are counted on each page");
    let requests = read(world, carla, "/v1/compliance/requests", "requests").await;
    let kinds: Vec<&Value> = requests.iter().map(|request| &request["kind"]).collect();
    assert_eq!((kinds.len(), kinds[0], kinds[9]), (10, &json!("erasure"), &json!("export")), "oldest first");

    jobs::enter_all(&world.app).await.expect("entered");
    jobs::catch_up_once(&world.app).await.expect("caught up");
    assert!(read(world, carla, "/v1/admin/activity", "counts").await.len() > 4);

    let anna = &people[0];
    for date in ["2025-12-09", "2025-12-10", "2025-12-11"] {
        submit_day(world, anna, date).await;
    }
    let wish = json!({ "subject_id": subject_of(world, anna).await, "reason": "reads page by page" });
    let opened = expect(world.post(carla, "/v1/compliance/openings", &wish).await, StatusCode::OK).await;
    let path =
        format!("/v1/compliance/openings/{}/records?kind=work_day", opened["opening_id"].as_str().expect("an id"));
    assert_eq!(read(world, carla, &path, "records").await.len(), 4);
}

/// Screenings at the edges of quarters and in between, some at the same time of another type, over twenty years.
fn screenings() -> Vec<(NaiveDate, Body)> {
    let mut all = Vec::new();
    for (year, days) in [
        (2005, vec!["01-01", "03-31", "04-01"]),
        (2014, vec!["06-30", "07-01", "07-02", "12-31"]),
        (2015, vec!["01-01", "01-01", "02-11"]),
        (2025, vec!["09-30", "10-01", "10-02", "11-05", "11-06", "11-07", "11-08", "12-30", "12-31"]),
        (2026, vec!["01-01", "01-02", "02-28", "03-01", "03-30", "03-31"]),
    ] {
        for (number, day) in days.into_iter().enumerate() {
            for hour in [0, 11, 23] {
                let taken_at = UtcTime::parse(&format!("{year}-{day}T{hour:02}:{number:02}:00Z")).expect("a time");
                let body = Screening { taken_at, ..Screening::example() }.to_body();
                all.push((SCREENING.date(&body).expect("a date"), body));
            }
        }
    }
    all
}

/// The pages of a list of records are the list, whatever their range and size. `tests/plans.rs` says what a page reads.
#[test]
fn the_pages_of_any_range_are_the_list() {
    let runtime = Runtime::new().expect("a runtime");
    let (world, ctx, all) = runtime.block_on(async {
        let world = World::new().await;
        let anna = world.person_with("anna", json!({ "consents": ["hearing"] })).await;
        let ctx = Ctx::system(world.clock.clone()).for_subject(SubjectId(subject_of(&world, &anna).await), None);
        let mut all = screenings();
        // They are submitted in another order than that of their days.
        all.sort_by_key(|(date, _)| std::cmp::Reverse(date.day()));
        for (date, body) in &all {
            let submissions = [Submission { body: body.clone(), expected: None, within: None }];
            let batch = Batch {
                operation: "record_submit",
                kind: SCREENING,
                submissions: &submissions,
                today: *date,
                faults: Vec::new(),
            };
            record::submit(&world.app, &ctx, &batch, None).await.expect("submitted");
        }
        (world, ctx, all)
    });
    let days: Vec<NaiveDate> = all.iter().map(|(date, _)| *date).collect();
    let bound = proptest::option::of((prop::sample::select(days), -2_i64..3));
    let zones = prop::sample::select(vec!["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"]);
    let walked = AtomicUsize::new(0);
    property(100, &runtime, (bound.clone(), bound, zones, 1_usize..30), async |(from, to, zone, limit)| {
        let day = |bound: Option<(NaiveDate, i64)>| bound.map(|(date, days)| date + TimeDelta::days(days));
        let (first, last) = (day(from).unwrap_or(NaiveDate::MIN), day(to).unwrap_or(NaiveDate::MAX));
        let bounded = from.is_some() || to.is_some();
        let range = bounded.then(|| Days { first, last, zone: zone.parse().expect("a zone") });
        let mut expected: Vec<&(NaiveDate, Body)> =
            all.iter().filter(|(_, body)| range.is_none_or(|days| days.contain(SCREENING, body))).collect();
        expected.sort_by_key(|(date, _)| *date);
        let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: Some(limit) });
        loop {
            let found = list::of_kind(&world.app, &ctx, "record_list", SCREENING, range, &page).await.expect("listed");
            prop_assert!(found.records.len() <= limit);
            seen.extend(found.records);
            walked.fetch_add(1, Ordering::Relaxed);
            let Some(next) = found.next else { break };
            page.after = Some(next);
        }
        prop_assert!(seen.is_sorted_by_key(|record| (SCREENING.date(&record.body), record.submitted_at)));
        let taken = |body: &Body| body.reveal()["taken_at"].as_str().expect("a time").to_owned();
        let of = |bodies: &mut dyn Iterator<Item = &Body>| bodies.map(taken).collect::<BTreeSet<_>>();
        prop_assert_eq!(seen.len(), expected.len());
        prop_assert_eq!(of(&mut seen.iter().map(|it| &it.body)), of(&mut expected.iter().map(|(_, body)| body)));
        Ok(())
    });
    let walked = walked.into_inner();
    assert!(walked > 300, "{walked} pages were read");
}
