//! Read models about people are made equal to the log again: damaged rows are repaired, good rows stay, and nobody
//! waits.

use std::sync::atomic::{AtomicBool, Ordering};

use chrono::Days;
use context::{Ctx, DeletionId, SubjectId};
use db::{DbError, Gate, Tx};
use domain::rights::{
    consent::{Consent, ConsentEvent, Decision, Purpose},
    deletion::{Deletion, DeletionEvent, Open, Scope},
    hold::{Hold, HoldEvent},
    restriction::{Restriction, RestrictionEvent},
};
use event_log::{
    Event,
    cqrs_es::{Aggregate, DomainEvent},
    event_append,
};
use futures_util::future::join;
use lethe::app::operation::projection::{self, Rebuilt};
use poem::http::StatusCode;
use projections::{INLINE, rebuild::Repaired};
use serde_json::json;
use tokio_postgres::Client;

use crate::{
    log::event_of,
    steps::subject_of,
    support::{Person, World, day, expect},
};

const MODELS: [&str; 5] = ["read.records", "read.consents", "read.accounts", "read.deletions", "read.retention"];

async fn models(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for table in MODELS {
        let sql = format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1");
        all.extend(client.query(&sql, &[]).await.expect("read").iter().map(|row| row.get::<_, String>(0)));
    }
    all
}

async fn submit(world: &World, person: &Person, date: &str, actual: f64) {
    let body = day(date, 8.0, actual);
    let answer = person.sign(world.client().post("/v1/work-events/daily").body_json(&body)).send().await;
    let status = answer.0.status();
    assert!(status.is_success(), "{status}");
}

async fn compared(world: &World, name: &str) -> Repaired {
    match projection::rebuild(&world.app, name).await.expect("rebuilt") {
        Rebuilt::Compared { people, repaired } if people > 0 => repaired,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_rebuild_repairs_exactly_what_is_damaged() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    for person in [&anna, &ben] {
        for date in ["2025-12-08", "2025-12-09", "2025-12-10"] {
            submit(&world, person, date, 9.0).await;
        }
        submit(&world, person, "2025-12-08", 9.5).await;
        person.sign(world.client().put("/v1/consents/statistics").body_json(&json!({ "granted": true }))).send().await;
    }
    let sound = models(&superuser).await;
    for name in ["records", "consents", "accounts"] {
        assert_eq!(compared(&world, name).await, Repaired::default(), "{name}");
    }
    assert_eq!(models(&superuser).await, sound);

    let subject = subject_of(&world, &anna).await;
    let damage = [
        // One record lost, one turned back to its first event, one too many. The lost one is taken first, because the
        // other statement could pick it too.
        "DELETE FROM read.records WHERE (subject_id, record_id) = (SELECT subject_id, record_id FROM read.records
         WHERE subject_id = $1 AND kind = 'work_day' AND sequence = 1 LIMIT 1)",
        "UPDATE read.records r SET sequence = e.sequence, event_type = e.event_type, payload = e.payload, recorded_at = e.recorded_at
         FROM log.events e WHERE r.subject_id = $1 AND r.sequence = 2 AND e.aggregate_id = r.record_id::text AND e.sequence = 1",
        "INSERT INTO read.records SELECT subject_id, gen_random_uuid(), kind, sequence, event_type, event_version, payload,
                submitted_at, recorded_at FROM read.records WHERE subject_id = $1 AND kind = 'work_day' LIMIT 1",
        // One decision reversed, one lost, one too many.
        "UPDATE read.consents SET granted = false, sequence = 7 WHERE subject_id = $1 AND purpose = 'work_hours'",
        "DELETE FROM read.consents WHERE subject_id = $1 AND purpose = 'statistics'",
        "INSERT INTO read.consents (subject_id, purpose, granted, notice_version, notice_hash, sequence, changed_at)
         VALUES ($1, 'advertising', true, '1', '00', 1, now())",
        "UPDATE read.accounts SET registered_at = registered_at - interval '1 year', restricted_at = now() WHERE subject_id = $1",
    ];
    superuser.batch_execute("SET session_replication_role = 'replica'").await.expect("no references are checked");
    for sql in damage {
        assert_eq!(superuser.execute(sql, &[&subject]).await.expect(sql), 1, "{sql}");
    }
    superuser.batch_execute("RESET session_replication_role").await.expect("reset");
    assert_ne!(models(&superuser).await, sound);
    let one_each = Repaired { added: 1, corrected: 1, removed: 1 };
    assert_eq!(compared(&world, "records").await, one_each);
    assert_eq!(compared(&world, "consents").await, one_each);
    assert_eq!(compared(&world, "accounts").await, Repaired { corrected: 1, ..Repaired::default() });
    assert_eq!(models(&superuser).await, sound);
    for name in ["records", "consents", "accounts"] {
        assert_eq!(compared(&world, name).await, Repaired::default(), "{name}: there is nothing left to repair");
    }
    let lost = "DELETE FROM read.accounts WHERE subject_id = $1";
    superuser.execute(lost, &[&subject]).await.expect("an account's row is lost");
    assert_eq!(compared(&world, "accounts").await, Repaired { added: 1, ..Repaired::default() });
    assert_eq!(models(&superuser).await, sound);

    // Nothing is shown of a person whose keys are gone, whatever the log still holds.
    superuser.execute("DELETE FROM vault.subjects WHERE subject_id = $1", &[&subject]).await.expect("keys are gone");
    assert_eq!(compared(&world, "records").await, Repaired::default(), "they went with the register");
    assert_eq!(compared(&world, "consents").await, Repaired { removed: 2, ..Repaired::default() });
    assert_eq!(compared(&world, "accounts").await, Repaired { removed: 1, ..Repaired::default() });
    let mine = subject.to_string();
    assert_eq!(models(&superuser).await, sound.into_iter().filter(|row| !row.contains(&mine)).collect::<Vec<_>>());
}

/// An event of an aggregate as its commands store it, except that its payload is not sealed.
fn stored<E: DomainEvent>(ctx: &Ctx, aggregate: &str, sequence: i64, event: &E) -> Event {
    Event {
        event_type: event.event_type(),
        payload: serde_json::to_string(event).expect("an event can be written as JSON"),
        kind: aggregate.to_owned(),
        ..event_of(ctx.subject, aggregate, &ctx.subject.to_string(), sequence, ctx.now())
    }
}

/// A rebuild makes the same rows from the events as the inline read models did.
#[tokio::test]
async fn switches_and_objections_follow_from_the_log() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let anna = world.person("anna").await;
    let subject = subject_of(&world, &anna).await;
    let ctx = &Ctx::system(world.clock.clone()).for_subject(SubjectId(subject), None);
    let until = ctx.now() + Days::new(30);
    let deletion = DeletionId::random();
    let open = Open { deletion, scope: Scope::Full, expires_at: until, grace_ends_at: Some(until), paused_until: None };
    let placed = HoldEvent::Placed { until, sealed: "c2VhbGVk".to_owned() };
    let notice =
        Decision { purpose: Purpose::Statistics, notice_version: "1".to_owned(), notice_hash: "00".to_owned() };
    let set = [
        stored(ctx, Consent::TYPE, 1, &ConsentEvent::Objected(notice.clone())),
        stored(ctx, Restriction::TYPE, 1, &RestrictionEvent::Set {}),
        stored(ctx, Hold::TYPE, 1, &placed),
        stored(ctx, Deletion::TYPE, 1, &DeletionEvent::Confirmed { open, cancelled: Vec::new() }),
    ];
    let lifted = [
        stored(ctx, Consent::TYPE, 2, &ConsentEvent::ObjectionLifted(notice)),
        stored(ctx, Restriction::TYPE, 2, &RestrictionEvent::Lifted {}),
        stored(ctx, Hold::TYPE, 2, &HoldEvent::Lifted {}),
        stored(ctx, Deletion::TYPE, 2, &DeletionEvent::Cancelled { deletion, cancelled: Vec::new() }),
    ];
    for (events, switches) in [(&set, 4), (&lifted, 0)] {
        world
            .app
            .db
            .api
            .run_tx("write", ctx, Gate::shared(ctx), move |tx: Tx| async move {
                INLINE.iter().for_each(|projection| projection.project(events, &tx));
                tx.queue(event_append(events.to_vec()));
                Ok::<_, DbError>(())
            })
            .await
            .expect("events are stored");
        let set = "SELECT num_nonnulls(restricted_at, held_until, deletion_at, hold_sealed) FROM read.accounts WHERE subject_id = $1";
        assert_eq!(superuser.query_one(set, &[&subject]).await.expect("read").get::<_, i32>(0), switches);
        let sound = models(&superuser).await;
        for name in ["accounts", "consents"] {
            assert_eq!(compared(&world, name).await, Repaired::default(), "{name}");
        }
        let turned =
            "UPDATE read.accounts SET hold_sealed = 'x', restricted_at = now(), held_until = NULL, deletion_at = now()
                      WHERE subject_id = $1";
        superuser.execute(turned, &[&subject]).await.expect("switches are turned");
        let turned =
            "UPDATE read.consents SET objected = NOT objected WHERE subject_id = $1 AND purpose = 'statistics'";
        superuser.execute(turned, &[&subject]).await.expect("an objection is turned");
        for name in ["accounts", "consents"] {
            assert_eq!(compared(&world, name).await, Repaired { corrected: 1, ..Repaired::default() }, "{name}");
        }
        assert_eq!(models(&superuser).await, sound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_beside_writers_finds_nothing_to_repair_and_stops_nobody() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    let people = [world.person("anna").await, world.person("ben").await];
    let ended = AtomicBool::new(false);
    let writing = async {
        for round in 0..12_u8 {
            for person in &people {
                submit(&world, person, "2025-12-08", 8.0 + f64::from(round) / 4.0).await;
                let body = json!({ "granted": round % 2 == 0 });
                let consent = person.sign(world.client().put("/v1/consents/statistics").body_json(&body)).send().await;
                expect(consent, StatusCode::OK).await;
            }
        }
        ended.store(true, Ordering::Release);
    };
    let rebuilding = async {
        while !ended.load(Ordering::Acquire) {
            for name in ["records", "consents", "accounts"] {
                assert_eq!(compared(&world, name).await, Repaired::default(), "{name}: nothing newer is undone");
            }
        }
    };
    join(writing, rebuilding).await;
    let newest = "SELECT count(*) FROM read.records r WHERE r.sequence = (SELECT max(e.sequence) FROM log.events e
                  WHERE e.subject_id = r.subject_id AND e.aggregate_id = r.record_id::text)";
    let all: i64 = superuser.query_one("SELECT count(*) FROM read.records", &[]).await.expect("counted").get(0);
    assert_eq!(superuser.query_one(newest, &[]).await.expect("counted").get::<_, i64>(0), all);
}

/// Requests in every state and a person's own rule: a rebuild makes the same rows as the commands did.
#[tokio::test]
async fn requests_and_rules_follow_from_the_log() {
    let world = World::new().await;
    let (superuser, anna) = (world.superuser().await, world.person("anna").await);
    let subject = subject_of(&world, &anna).await;
    let ask = async || {
        let wish = json!({ "deletion_type": "partial", "filters": { "kinds": ["work_day"] } });
        expect(world.post(&anna, "/v1/privacy/delete-data", &wish).await, StatusCode::ACCEPTED).await;
        world.mailed_token(&anna.email).await
    };
    let confirm = async |token: &str| {
        let phrase = json!({ "phrase": Scope::Partial.phrase() });
        expect(world.post(&anna, format!("/v1/privacy/confirm-deletion/{token}"), &phrase).await, StatusCode::OK).await;
    };
    submit(&world, &anna, "2025-12-08", 9.0).await;
    let rule = json!({ "data_retention_days": 30 });
    expect(world.put(&anna, "/v1/privacy/retention/work_day", &rule).await, StatusCode::OK).await;
    drop(ask().await); // replaced
    let cancelled = ask().await;
    confirm(&cancelled).await;
    let target = format!("/v1/privacy/cancel-deletion/{cancelled}");
    expect(world.post(&anna, target, &serde_json::Value::Null).await, StatusCode::OK).await;
    confirm(&ask().await).await;
    crate::steps::let_pass(&world, chrono::TimeDelta::hours(48)).await;
    assert_eq!(lethe::jobs::run_due(&world.app).await.expect("jobs run"), 1);
    let anna = crate::steps::sign_in(&world, &anna.email).await;
    submit(&world, &anna, "2025-12-09", 9.0).await;
    // A confirmed deletion, paused while the account is suspended.
    let (_, token) = crate::steps::ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    crate::steps::confirm_deletion(&world, &anna, &token, Scope::Full).await;
    crate::suspension::provoke(&world, &anna).await;

    let states = "SELECT string_agg(state, ' ' ORDER BY requested_at) FROM read.deletions";
    let found: String = superuser.query_one(states, &[]).await.expect("read").get(0);
    assert_eq!(found, "replaced cancelled completed confirmed");
    let grace =
        "SELECT max(d.grace_ends_at) - max(e.recorded_at) > interval '48 hours' FROM read.deletions d, log.events e
                 WHERE d.state = 'confirmed' AND e.event_type = 'deletion.confirmed'";
    assert!(superuser.query_one(grace, &[]).await.expect("read").get::<_, bool>(0), "it pauses");
    let sound = models(&superuser).await;
    for name in ["deletions", "retention", "accounts"] {
        assert_eq!(compared(&world, name).await, Repaired::default(), "{name}");
    }
    for (damage, name, repaired) in [
        ("UPDATE read.deletions SET state = 'confirmed' WHERE state = 'cancelled'", "deletions", (0, 1, 0)),
        ("DELETE FROM read.deletions WHERE state = 'completed'", "deletions", (1, 0, 0)),
        ("UPDATE read.deletions SET grace_ends_at = now() WHERE state = 'confirmed'", "deletions", (0, 1, 0)),
        ("UPDATE read.accounts SET deletion_at = now()", "accounts", (0, 1, 0)),
        ("UPDATE read.retention SET days = 1", "retention", (0, 1, 0)),
        ("UPDATE read.retention SET before_days = 7", "retention", (0, 1, 0)),
        ("UPDATE read.retention SET counts_from = NULL", "retention", (0, 1, 0)),
        ("DELETE FROM read.retention", "retention", (1, 0, 0)),
        (
            "INSERT INTO read.retention SELECT subject_id, 'screening', 1, 1, now() FROM read.retention",
            "retention",
            (0, 0, 1),
        ),
    ] {
        superuser.execute(damage, &[]).await.expect(damage);
        let (added, corrected, removed) = repaired;
        assert_eq!(compared(&world, name).await, Repaired { added, corrected, removed }, "{damage}");
        assert_eq!(models(&superuser).await, sound, "{damage}");
    }
    superuser.execute("DELETE FROM vault.subjects WHERE subject_id = $1", &[&subject]).await.expect("keys are gone");
    assert_eq!(compared(&world, "deletions").await, Repaired { removed: 4, ..Repaired::default() });
    assert_eq!(compared(&world, "retention").await, Repaired { removed: 1, ..Repaired::default() });
}
