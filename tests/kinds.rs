//! A kind that the product does not know: it is submitted, amended, listed and removed by what is there.

use chrono::NaiveDate;
use context::{Ctx, Personal, SubjectId};
use domain::{Body, Fault, Kind, consent::Purpose};
use lethe::app::record::{Batch, Change, Submission};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::World;

/// A hearing screening, as another application would have it.
struct Screening;

impl Screening {
    fn field<'b>(body: &'b Body, name: &str) -> &'b str {
        body.reveal()[name].as_str().unwrap_or_default()
    }
}

impl Kind for Screening {
    fn name(&self) -> &'static str {
        "screening"
    }
    fn title(&self) -> &'static str {
        "Your hearing screenings"
    }
    fn purpose(&self) -> Option<Purpose> {
        None
    }
    fn retention_days(&self) -> Option<u32> {
        Some(365)
    }
    fn for_guests(&self) -> bool {
        true
    }
    fn faults(&self, body: &Body, _: NaiveDate) -> Vec<Fault> {
        let heard = body.reveal()["threshold_db"].as_i64().is_some_and(|threshold| (-10..=120).contains(&threshold));
        if heard { Vec::new() } else { vec![Fault::new("threshold_db", "must be a number from -10 to 120")] }
    }
    fn natural_key(&self, body: &Body) -> String {
        Self::field(body, "taken_at").to_owned()
    }
    fn key_field(&self) -> &'static str {
        "taken_at"
    }
    fn date(&self, body: &Body) -> Option<NaiveDate> {
        Self::field(body, "taken_at").get(..10)?.parse().ok()
    }
}

const SCREENING: &dyn Kind = &Screening;

fn screening(day: &str, threshold_db: i64) -> Submission {
    let body = json!({ "taken_at": format!("{day}T10:00:00Z"), "threshold_db": threshold_db });
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
        let batch = Batch { kind: SCREENING, submissions, today, faults: Vec::new() };
        world.app.record_submit(ctx, &batch, None).await
    };
    let list = async |range| -> Vec<Value> {
        let (records, _) = world.app.record_list(ctx, SCREENING, range).await.expect("listed");
        records.into_iter().map(|record| record.body.into_inner()["threshold_db"].clone()).collect()
    };

    let made = submit(&[screening("2026-01-05", 20), screening("2026-05-06", 25)]).await.expect("submitted");
    assert_eq!(made.iter().map(|outcome| outcome.change).collect::<Vec<_>>(), [Change::Created; 2]);
    let amended = submit(&[screening("2026-01-05", 30)]).await.expect("amended");
    assert_eq!((amended[0].change, amended[0].record), (Change::Amended, made[0].record));
    assert!(submit(&[screening("2026-01-07", 500)]).await.is_err(), "its own rules hold");

    let quarter = |day: &str| day.parse::<NaiveDate>().expect("a date");
    assert_eq!(list(Some((quarter("2026-01-01"), quarter("2026-03-31")))).await, [json!(30)]);
    assert_eq!(list(None).await.len(), 2);
    assert_eq!(world.app.record_remove_all(ctx, SCREENING).await.expect("removed"), 2);
    assert!(list(None).await.is_empty());
    let (profile, _) = world.app.profile_get(ctx).await.expect("other kinds stay readable");
    assert_eq!(profile.contact.email, anna.email);
}
