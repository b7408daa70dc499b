//! The compliance desk: openings that the person sees, deadlines, everybody's events, documents.

use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use lethe::{app::desk::compliance, jobs};
use poem::{http::StatusCode, test::TestResponse};
use projections::{desk::trail::TrailFilter, page::Page};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::{
    isolation::property,
    projection::{caught_up, settled},
    steps::{
        Answer, ask_to_delete, confirm_deletion, erase, events_of, fields, let_pass, number_transactions, problem,
        sign_in, staff, subject_of, submit_day,
    },
    support::{Person, World, expect},
};

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
    assert_eq!(records["records"][0]["body"]["date"], "2025-12-08", "{records}");
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

/// The tally, and what the tables say that it counts.
pub async fn tallied(client: &tokio_postgres::Client) -> (Vec<String>, Vec<String>) {
    let rows = async |sql: &str| -> Vec<String> {
        client.query(sql, &[]).await.expect("counted").iter().map(|row| row.get(0)).collect()
    };
    let tally = "SELECT concat_ws(' ', what, nullif(purpose, ''), nullif(notice_version, ''), sum(delta)) AS line FROM read.tally
                 GROUP BY what, purpose, notice_version HAVING sum(delta) <> 0 ORDER BY line";
    let tables = "SELECT concat_ws(' ', what, nullif(purpose, ''), nullif(notice_version, ''), count(*)) AS line FROM (
                      SELECT 'account' AS what, '' AS purpose, '' AS notice_version FROM read.accounts
                      UNION ALL SELECT 'restricted', '', '' FROM read.accounts WHERE restricted_at IS NOT NULL
                      UNION ALL SELECT 'waiting', '', '' FROM read.accounts WHERE deletion_at IS NOT NULL
                      UNION ALL SELECT 'erased', '', '' FROM vault.erased
                      UNION ALL SELECT 'granted', purpose, notice_version FROM read.consents WHERE granted AND NOT objected
                      UNION ALL SELECT 'withdrawn', purpose, notice_version FROM read.consents WHERE NOT granted
                      UNION ALL SELECT 'objected', purpose, notice_version FROM read.consents WHERE objected) AS counted
                  GROUP BY what, purpose, notice_version ORDER BY line";
    (rows(tally).await, rows(tables).await)
}

#[tokio::test]
async fn the_tally_is_what_the_tables_say_whatever_happens_to_them() {
    let world = World::new().await;
    let client = world.superuser().await;
    let [anna, ben, _] = [world.person("anna").await, world.person("ben").await, world.person("mia").await];
    let withdrawn = world.put(&ben, "/v1/consents/work_hours", &json!({ "granted": false })).await;
    assert_eq!(withdrawn.0.status(), StatusCode::OK);
    let restricted = world.put(&anna, "/v1/privacy/restriction", &json!({ "restricted": true })).await;
    assert!(restricted.0.status().is_success());
    let objected = world.put(&anna, "/v1/privacy/objections/statistics", &json!({ "objected": true })).await;
    assert!(objected.0.status().is_success(), "{}", objected.0.status());
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    confirm_deletion(&world, &anna, &token, domain::rights::deletion::Scope::Full).await;
    let (tally, tables) = tallied(&client).await;
    assert_eq!(tally, tables);
    for state in
        ["account 3", "restricted 1", "waiting 1", "granted work_hours", "withdrawn work_hours", "objected statistics"]
    {
        assert!(tables.iter().any(|line| line.starts_with(state)), "{state}: {tables:?}");
    }
    erase(&world, &ben).await;
    client.batch_execute("DELETE FROM read.consents WHERE purpose = 'statistics'").await.expect("damaged");
    let (tally, tables) = tallied(&client).await;
    assert_eq!(tally, tables, "what is damaged is counted as it is");
    let counts = compliance::overview(&world.app).await.expect("shown").consents;
    assert!(
        !counts.is_empty() && counts.iter().all(|it| it.granted + it.withdrawn + it.objected > 0),
        "none that nobody has"
    );
    for name in ["accounts", "consents"] {
        lethe::app::operation::projection::rebuild(&world.app, name).await.expect("rebuilt");
    }
    jobs::keep_house_once(&world.app).await.expect("house is kept");
    let (merged, tables) = tallied(&client).await;
    assert_eq!(merged, tables);
    // Anna's grace is over as well.
    assert!(tables.contains(&"erased 2".to_owned()) && tables.contains(&"account 1".to_owned()), "{tables:?}");
    let rows: i64 = client.query_one("SELECT count(*) FROM read.tally", &[]).await.expect("counted").get(0);
    assert_eq!(rows, i64::try_from(merged.len()).expect("few"), "one row for each count is left");
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
    settled(&world.superuser().await).await;
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
    assert!(family["entries"][0]["payload"].to_string().contains("work_hours"));

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
    let (from, to) = (now - TimeDelta::hours(1), now + TimeDelta::hours(1));
    let filter = TrailFilter { from, to, action: None, subject: None, role: None };
    let (mut page, mut found) = (Page { after: None, limit: Some(7) }, Vec::new());
    loop {
        let (rows, next) = compliance::trail(&world.app, &filter, &page).await.expect("listed");
        found.extend(rows.iter().map(|row| row.position.txid));
        page.after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=120).map(|n| 2 * n).collect::<Vec<u64>>());
}

/// Adds events of two types whose times go back and forth over three days, in transactions of five events each.
async fn scatter(client: &tokio_postgres::Client, first: i32) {
    for transaction in first..first + 30 {
        let sql = format!(
            "INSERT INTO log.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, event_id,
                                     subject_id, kind, recorded_at)
             SELECT 'drill', '{transaction}', n, CASE WHEN n % 2 = 0 THEN 'drill.completed' ELSE 'alert.raised' END, '1.0', '{{}}',
                    '{{\"role\":\"system\",\"request\":\"r\"}}', gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'drill',
                    '2026-02-01'::timestamptz + make_interval(mins => ({transaction} * 137 + n * 61) % 4320)
             FROM generate_series(1, 5) n"
        );
        client.batch_execute(&sql).await.expect("added");
    }
}

/// A span of the trail is whole, however far the projection that finds its place has come, and whatever the clocks of
/// the servers said.
#[test]
fn the_trail_of_any_span_is_what_the_log_says() {
    let runtime = Runtime::new().expect("a runtime");
    let (world, client) = runtime.block_on(async {
        let world = World::new().await;
        let client = world.superuser().await;
        jobs::enter_all(&world.app).await.expect("entered");
        scatter(&client, 0).await;
        caught_up(&world, &client).await;
        // The projection has not come to these.
        scatter(&client, 30).await;
        settled(&client).await;
        (world, client)
    });
    let start: DateTime<Utc> = "2026-02-01T00:00:00Z".parse().expect("a time");
    let shown = AtomicUsize::new(0);
    let actions = proptest::sample::select(vec![None, Some("drill"), Some("alert.raised")]);
    property(100, &runtime, (0_i64..4400, 0_i64..4400, actions, 1_usize..80), async |(one, other, action, limit)| {
        let at = |minutes| start + TimeDelta::minutes(minutes);
        let (from, to, action) = (at(one.min(other)), at(one.max(other)), action.map(str::to_owned));
        let filter = TrailFilter { from, to, action: action.clone(), subject: None, role: None };
        let (mut found, mut page) = (Vec::new(), Page { after: None, limit: Some(limit) });
        loop {
            let (rows, next) = compliance::trail(&world.app, &filter, &page).await.expect("listed");
            found.extend(rows.iter().map(|row| row.event.event_id.0));
            page.after = next;
            if next.is_none() {
                break;
            }
        }
        let sql = "SELECT event_id FROM log.events WHERE recorded_at >= $1 AND recorded_at < $2
                   AND ($3::text IS NULL OR event_type = $3 OR event_type LIKE $3 || '.%') ORDER BY txid, position";
        let rows = client.query(sql, &[&from, &to, &action]).await.expect("read");
        let expected: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        shown.fetch_add(expected.len(), Ordering::Relaxed);
        prop_assert_eq!(found, expected);
        Ok(())
    });
    assert!(shown.into_inner() > 1000, "spans hold events");
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
