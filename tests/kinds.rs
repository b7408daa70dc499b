//! Kinds: every kind has every right; and a kind that the product does not know is submitted, amended, listed and
//! removed by the same code.

use std::collections::BTreeSet;

use chrono::{NaiveDate, TimeDelta};
use context::{Ctx, Personal, SubjectId};
use domain::{
    Choice, Fault, Kind,
    filter::Days,
    kinds::{KINDS, Shape},
    rights::deletion::Scope,
};
use lethe::{
    app::{
        identity::profile,
        records::{
            list,
            record::{self, Batch, Change, Submission},
        },
        rights::hold,
    },
    jobs::{plan, run_due},
};
use poem::{http::StatusCode, test::TestResponse};
use projections::page::Page;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    export::document,
    steps::{ask_to_delete, confirm_deletion, let_pass, problem, sign_in, state_of},
    support::{Person, World, expect},
};

/// A measured blood pressure, as another application could define it.
#[derive(Serialize, Deserialize)]
struct BloodPressure {
    taken_at: String,
    systolic_mmhg: i64,
}

impl Shape for BloodPressure {
    const NAME: &'static str = "blood_pressure";
    const TITLE: &'static str = "Your blood pressure";
    const RETENTION_DAYS: Option<u32> = Some(365);
    const IS_DATED: bool = true;
    const KEY_FIELD: &'static str = "taken_at";

    fn example() -> Self {
        Self { taken_at: "2026-01-05T10:00:00Z".to_owned(), systolic_mmhg: 120 }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        let measured = (40..=300).contains(&self.systolic_mmhg);
        if measured { Vec::new() } else { vec![Fault::new("systolic_mmhg", "must be a number from 40 to 300")] }
    }

    fn natural_key(&self) -> String {
        self.taken_at.clone()
    }

    fn date(&self) -> Option<NaiveDate> {
        self.taken_at.get(..10)?.parse().ok()
    }
}

const BLOOD_PRESSURE: &Kind = &Kind::of_shape::<BloodPressure>();

fn blood_pressure(day: &str, systolic_mmhg: i64) -> Submission {
    let body = json!({ "taken_at": format!("{day}T10:00:00Z"), "systolic_mmhg": systolic_mmhg });
    Submission { body: Personal::new(body), expected: None, within: None }
}

#[tokio::test]
async fn a_new_kind_needs_nothing_but_itself() {
    let world = World::new().await;
    let anna = world.person("anna").await;
    let user: Uuid = anna.user_id.parse().expect("an id");
    let superuser = world.superuser().await;
    let row = superuser.query_one("SELECT subject_id FROM auth.users WHERE user_id = $1", &[&user]).await;
    let subject = SubjectId(row.expect("the account is there").get(0));
    let ctx = &Ctx::system(world.clock.clone()).for_subject(subject, None);
    let today = world.clock.now().date_naive();
    let submit = async |submissions: &[Submission]| {
        let batch = Batch { operation: "record_submit", kind: BLOOD_PRESSURE, submissions, today, faults: Vec::new() };
        record::submit(&world.app, ctx, &batch, None).await.map(|submitted| submitted.value)
    };
    let list = async |range: Option<(NaiveDate, NaiveDate)>| -> Vec<Value> {
        let range = range.map(|(first, last)| Days { first, last, zone: chrono_tz::Tz::UTC });
        let found = list::of_kind(&world.app, ctx, "record_list", BLOOD_PRESSURE, range, &Page::all()).await;
        found
            .expect("listed")
            .records
            .into_iter()
            .map(|record| record.body.into_inner()["systolic_mmhg"].clone())
            .collect()
    };

    let made =
        submit(&[blood_pressure("2026-01-05", 120), blood_pressure("2026-05-06", 125)]).await.expect("submitted");
    assert_eq!(made.iter().map(|outcome| outcome.change).collect::<Vec<_>>(), [Change::Created; 2]);
    let amended = submit(&[blood_pressure("2026-01-05", 130)]).await.expect("amended");
    assert_eq!((amended[0].change, amended[0].record), (Change::Amended, made[0].record));
    assert!(submit(&[blood_pressure("2026-01-07", 500)]).await.is_err(), "its own rules hold");

    let quarter = |day: &str| day.parse::<NaiveDate>().expect("a date");
    assert_eq!(list(Some((quarter("2026-01-01"), quarter("2026-03-31")))).await, [json!(130)]);
    assert_eq!(list(None).await.len(), 2);
    assert_eq!(record::remove_all(&world.app, ctx, "record_remove_all", BLOOD_PRESSURE).await.expect("removed"), 2);
    assert!(list(None).await.is_empty());
    let (profile, _) = profile::get(&world.app, ctx).await.expect("other kinds stay readable");
    assert_eq!(profile.contact.email, anna.email);
}

/// The kinds that clients submit, except the work profile, which everybody has since registering.
fn submitted() -> Vec<&'static Kind> {
    KINDS.iter().copied().filter(|kind| kind.open_to_clients() && kind.name() != "work_profile").collect()
}

async fn put(world: &World, person: &Person, kind: &Kind) -> TestResponse {
    world.put(person, format!("/v1/records/{}", kind.name()), &kind.example().into_inner()).await
}

/// A person who consented to everything and has one record of each kind.
async fn with_everything(world: &World, name: &str) -> Person {
    let purposes: BTreeSet<&str> = KINDS.iter().filter_map(|kind| kind.purpose()).map(Choice::as_str).collect();
    let person = world.person_with(name, json!({ "consents": purposes })).await;
    for kind in submitted() {
        expect(put(world, &person, kind).await, StatusCode::CREATED).await;
    }
    person
}

/// The kinds that a person has a record of, except those that everybody has.
async fn held(world: &World, person: &Person) -> BTreeSet<String> {
    let overview = expect(world.get(person, "/v1/privacy/data-overview").await, StatusCode::OK).await;
    let kinds = overview["kinds"].as_array().expect("a list").iter().filter(|kind| kind["count"] != 0);
    let names = kinds.map(|kind| kind["kind"].as_str().expect("a name").to_owned());
    names.filter(|name| name != "contact" && name != "work_profile").collect()
}

fn all_but(gone: &[&str]) -> BTreeSet<String> {
    let names = submitted().into_iter().map(|kind| kind.name());
    names.filter(|name| !gone.contains(name)).map(str::to_owned).collect()
}

#[tokio::test]
async fn no_kind_is_taken_while_it_must_not_be() {
    let world = World::new().await;
    let anna = with_everything(&world, "anna").await;
    let superuser = world.superuser().await;
    let restrict = async |restricted: bool| {
        let body = json!({ "restricted": restricted });
        expect(world.put(&anna, "/v1/privacy/restriction", &body).await, StatusCode::OK).await
    };
    restrict(true).await;
    let state = state_of(&superuser).await;
    for kind in submitted() {
        problem(put(&world, &anna, kind).await, StatusCode::CONFLICT, "restricted").await;
    }
    assert_eq!(state_of(&superuser).await, state, "nothing was written");
    restrict(false).await;
    let (_, token) = ask_to_delete(&world, &anna, &json!({ "deletion_type": "full" })).await;
    confirm_deletion(&world, &anna, &token, Scope::Full).await;
    for kind in submitted() {
        problem(put(&world, &anna, kind).await, StatusCode::CONFLICT, "deletion-waiting").await;
    }
    expect(world.post(&anna, format!("/v1/privacy/cancel-deletion/{token}"), &json!({})).await, StatusCode::OK).await;
    for kind in submitted() {
        expect(put(&world, &anna, kind).await, StatusCode::OK).await;
    }
    for kind in submitted() {
        let Some(purpose) = kind.purpose() else { continue };
        let target = format!("/v1/privacy/objections/{}", purpose.as_str());
        expect(world.put(&anna, target, &json!({ "objected": true })).await, StatusCode::OK).await;
        problem(put(&world, &anna, kind).await, StatusCode::FORBIDDEN, "consent-needed").await;
    }
}

#[tokio::test]
async fn every_kind_goes_when_it_is_asked_for_and_no_other() {
    let world = World::new().await;
    for (number, kind) in submitted().into_iter().enumerate() {
        let anna = with_everything(&world, &format!("anna{number}")).await;
        let wish = json!({ "deletion_type": "partial", "filters": { "kinds": [kind.name()] } });
        let (_, token) = ask_to_delete(&world, &anna, &wish).await;
        confirm_deletion(&world, &anna, &token, Scope::Partial).await;
        let_pass(&world, TimeDelta::hours(48)).await;
        run_due(&world.app).await.expect("jobs run");
        let anna = sign_in(&world, &anna.email).await;
        assert_eq!(held(&world, &anna).await, all_but(&[kind.name()]));
    }
}

#[tokio::test]
async fn every_kind_goes_with_its_age_unless_a_hold_keeps_it() {
    let world = World::new().await;
    let (anna, ben) = (with_everything(&world, "anna").await, with_everything(&world, "ben").await);
    let until = world.clock.now() + TimeDelta::days(400);
    hold::decide(&world.app, &ben.email, Some((until, "a law suit"))).await.expect("held");
    let mut gone = Vec::new();
    for kind in submitted() {
        for person in [&anna, &ben] {
            let person = &sign_in(&world, &person.email).await;
            let target = format!("/v1/privacy/retention/{}", kind.name());
            expect(world.put(person, target, &json!({ "data_retention_days": 1 })).await, StatusCode::OK).await;
        }
        let_pass(&world, TimeDelta::days(3)).await;
        plan(&world.app).await.expect("planned");
        run_due(&world.app).await.expect("jobs run");
        gone.push(kind.name());
        assert_eq!(held(&world, &sign_in(&world, &anna.email).await).await, all_but(&gone));
    }
    let ben = sign_in(&world, &ben.email).await;
    assert_eq!(held(&world, &ben).await, all_but(&[]), "a hold keeps all of them");
}

/// Every kind that clients submit has all of these: consent, overview, export, retention, deletion.
#[tokio::test]
async fn no_kind_skips_a_right() {
    let world = World::new().await;
    let anna = world.person_with("anna", json!({})).await;
    let kinds = submitted();
    let mut consented = BTreeSet::new();
    for kind in &kinds {
        if let Some(purpose) = kind.purpose().filter(|purpose| consented.insert(*purpose)) {
            problem(put(&world, &anna, kind).await, StatusCode::FORBIDDEN, "consent-needed").await;
            let target = format!("/v1/consents/{}", purpose.as_str());
            expect(world.put(&anna, target, &json!({ "granted": true })).await, StatusCode::OK).await;
        }
        expect(put(&world, &anna, kind).await, StatusCode::CREATED).await;
    }
    let held = async |name: &str| {
        let overview = expect(world.get(&anna, "/v1/privacy/data-overview").await, StatusCode::OK).await;
        let kinds = overview["kinds"].as_array().expect("a list");
        kinds.iter().find(|held| held["kind"] == name).expect("every kind is there")["count"].clone()
    };
    let rules = expect(world.get(&anna, "/v1/privacy/retention").await, StatusCode::OK).await;
    let (_, export) = document(&world, &anna).await;
    for kind in &kinds {
        let name = kind.name();
        assert_eq!(held(name).await, 1, "{name} is in the overview");
        assert!(
            rules["rules"].as_array().expect("a list").iter().any(|rule| rule["kind"] == name),
            "{name} has a rule"
        );
        assert_eq!(export["records"][name][0]["body"], kind.example().into_inner(), "{name} is exported");
        let wish = json!({ "deletion_type": "partial", "filters": { "kinds": [name] } });
        let asked = expect(world.post(&anna, "/v1/privacy/delete-data", &wish).await, StatusCode::ACCEPTED).await;
        assert_eq!(asked["would_go"], json!([{ "kind": name, "count": 1 }]), "{name} is deleted by itself");
    }
}
