//! Jobs: done by one server at a time, taken over when it dies, tried again when they fail, and visible to staff
//! without naming a person.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, JobId, Role, SubjectId};
use db::{FromRow, Gate};
use lethe::{app::identity::staff, jobs::run_due, mail::letter_take, server::Settings};
use poem::http::StatusCode;
use projections::{
    desk::alert::delivery_take,
    operation::job::{LEASE, Leased, job_add, job_lease},
};
use uuid::Uuid;

use crate::{
    steps::{problem, sign_in, subject_of},
    support::{World, expect},
};

async fn lease(world: &World) -> Vec<Leased> {
    let ctx = &Ctx::system(world.clock.clone());
    let id = JobId::random().0;
    let rows = world.app.db.system.run_tx("lease", ctx, Gate::read(ctx), async |tx: db::Tx| {
        tx.finish([job_lease(id, ctx.now(), 10)]).await.map(|[rows]| rows)
    });
    rows.await.expect("leased").iter().map(Leased::from_row).collect()
}

async fn on_jobs(world: &World, query: impl Fn() -> db::Query + Sync) -> usize {
    let (ctx, query) = (&Ctx::system(world.clock.clone()), &query);
    let rows =
        world.app.db.system.run_tx("jobs", ctx, Gate::read(ctx), async move |tx: db::Tx| {
            tx.finish([query()]).await.map(|[rows]| rows)
        });
    rows.await.expect("done").len()
}

pub async fn add(world: &World, subject: SubjectId, kind: &'static str, request: Uuid) {
    let ctx = &Ctx::job(world.clock.clone(), subject);
    let added = world.app.db.api.run_tx("add", ctx, Gate::read(ctx), async |tx: db::Tx| {
        tx.queue(job_add(subject, kind, request, ctx.now(), ctx.now()));
        Ok::<_, db::DbError>(())
    });
    added.await.expect("added");
}

async fn states(world: &World) -> Vec<(String, String, i32)> {
    let sql = "SELECT kind, state, attempts FROM jobs.jobs ORDER BY kind";
    let rows = world.superuser().await.query(sql, &[]).await.expect("read");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn a_job_is_leased_by_one_server_and_taken_over_when_that_dies() {
    let world = World::new().await;
    let subject = SubjectId(subject_of(&world, &world.person("anna").await).await);
    let request = Uuid::nil();
    add(&world, subject, "retention", request).await;
    add(&world, subject, "retention", request).await;
    let first = lease(&world).await;
    assert_eq!(first.len(), 1, "the same work waits once");
    assert_eq!(lease(&world).await.len(), 0, "another server finds nothing");
    assert_eq!(on_jobs(&world, || first[0].renew(world.clock.now())).await, 1);
    world.clock.advance(LEASE + TimeDelta::seconds(1));
    let second = lease(&world).await;
    assert_eq!((second.len(), second[0].attempts), (1, 2), "who does not renew loses it");
    assert_eq!(on_jobs(&world, || first[0].renew(world.clock.now())).await, 0, "the first server learns of it");
    on_jobs(&world, || first[0].end(None, world.clock.now())).await;
    assert_eq!(states(&world).await, [("retention".to_owned(), "running".to_owned(), 2)], "and cannot end it any more");
    on_jobs(&world, || second[0].end(None, world.clock.now())).await;
    assert_eq!(states(&world).await, [("retention".to_owned(), "done".to_owned(), 2)]);
}

/// A server whose clock was ahead, and its database's too, ended while it had a job.
#[tokio::test]
async fn a_lease_that_was_taken_while_the_clock_was_ahead_holds_no_job_back() {
    let world = World::new().await;
    let subject = SubjectId(subject_of(&world, &world.person("anna").await).await);
    add(&world, subject, "retention", Uuid::nil()).await;
    let ahead = TimeDelta::hours(20);
    world.clock.advance(ahead);
    assert_eq!(lease(&world).await.len(), 1);
    world.clock.advance(-ahead);
    assert_eq!(lease(&world).await.len(), 1, "the clock is right again");
    assert_eq!(lease(&world).await.len(), 0, "and the new lease counts");
}

#[tokio::test]
async fn several_servers_do_each_job_once() {
    let world = World::new().await;
    let subject = SubjectId(subject_of(&world, &world.person("anna").await).await);
    for _ in 0..24 {
        add(&world, subject, "retention", Uuid::from_u128(context::EventId::random().0.as_u128())).await;
    }
    let settings = Settings { connections: 4, ..Settings::new(world.folder.clone(), world.clock.clone()) };
    let mut servers = vec![world.app.clone()];
    for _ in 0..3 {
        servers.push(world.another(&settings).await);
    }
    let done: usize = futures_util::future::join_all(servers.iter().map(run_due))
        .await
        .into_iter()
        .map(|done| done.expect("run"))
        .sum();
    assert_eq!(done, 24);
    assert!(states(&world).await.iter().all(|(_, state, attempts)| state == "done" && *attempts == 1));
}

/// A server leases only as many jobs as it has room for, whatever plan joins the due jobs with the table. When the
/// statistics say that the table is almost empty, the plan looks for due jobs once for each row.
#[tokio::test]
async fn a_server_leases_no_more_than_it_asked_for_whatever_the_plan() {
    let world = World::new().await;
    let subject = SubjectId(subject_of(&world, &world.person("anna").await).await);
    add(&world, subject, "retention", Uuid::nil()).await;
    world.superuser().await.batch_execute("DELETE FROM jobs.jobs; ANALYZE jobs.jobs").await.expect("analysed");
    for _ in 0..24 {
        add(&world, subject, "retention", Uuid::from_u128(context::EventId::random().0.as_u128())).await;
    }
    assert_eq!(taken_row_by_row(&world, &|now| job_lease(JobId::random().0, now, 4)).await, 4);
}

/// How many rows a query leases with a plan that looks for due rows once for each row.
async fn taken_row_by_row(world: &World, query: &(dyn Fn(DateTime<Utc>) -> db::Query + Sync)) -> usize {
    let ctx = &Ctx::system(world.clock.clone());
    let taken = world.app.db.system.run_tx("lease", ctx, Gate::read(ctx), async move |tx: db::Tx| {
        let set = "-- set\nSELECT set_config(name, 'off', true) FROM unnest($1::text[]) AS name";
        let off = ["enable_hashjoin", "enable_mergejoin", "enable_material", "enable_indexscan", "enable_bitmapscan"];
        let set = db::Query::new(set).bind(off.map(str::to_owned).to_vec());
        tx.flight([set]).await?;
        let [rows] = tx.flight([query(ctx.now())]).await?;
        Ok::<_, db::DbError>(rows.len())
    });
    taken.await.expect("taken")
}

/// The same holds for letters and deliveries, of which a server takes one.
#[tokio::test]
async fn a_server_takes_one_letter_and_one_delivery_whatever_the_plan() {
    let world = World::new().await;
    let superuser = world.superuser().await;
    superuser.batch_execute("DELETE FROM auth.letters; ANALYZE auth.letters, jobs.deliveries").await.expect("analysed");
    let letters = "INSERT INTO auth.letters (letter_id, ring_key, sealed, next_at, expires_at)
                   SELECT gen_random_uuid(), 1, '', now() - interval '1 hour', now() + interval '1 day' FROM generate_series(1, 24)";
    assert_eq!(superuser.execute(letters, &[]).await.expect("written"), 24);
    assert_eq!(taken_row_by_row(&world, &|now| letter_take(now, now + TimeDelta::minutes(1))).await, 1);
    let deliveries = "INSERT INTO jobs.deliveries (endpoint, event_id, state, next_at, created_at)
                      SELECT 'desk', gen_random_uuid(), 'waiting', now() - interval '1 hour', now() FROM generate_series(1, 24)";
    assert_eq!(superuser.execute(deliveries, &[]).await.expect("written"), 24);
    assert_eq!(taken_row_by_row(&world, &|now| delivery_take("desk", now, TimeDelta::minutes(1))).await, 1);
}

#[tokio::test]
async fn what_fails_is_tried_again_later_and_what_nobody_knows_is_not() {
    let world = World::new().await;
    let subject = SubjectId(subject_of(&world, &world.person("anna").await).await);
    add(&world, subject, "retention", Uuid::nil()).await;
    add(&world, subject, "unheard_of", Uuid::nil()).await;
    let superuser = world.superuser().await;
    superuser.batch_execute("REVOKE SELECT ON read.retention FROM lethe_api").await.expect("taken away");
    assert_eq!(run_due(&world.app).await.expect("run"), 2);
    let job = |kind: &str, state: &str, attempts| (kind.to_owned(), state.to_owned(), attempts);
    assert_eq!(states(&world).await, [job("retention", "waiting", 1), job("unheard_of", "failed", 1)]);
    assert_eq!(run_due(&world.app).await.expect("run"), 0, "not at once");
    superuser.batch_execute("GRANT SELECT ON read.retention TO lethe_api").await.expect("given back");
    world.clock.advance(TimeDelta::seconds(3));
    assert_eq!(run_due(&world.app).await.expect("run"), 1);
    assert_eq!(states(&world).await[0], job("retention", "done", 2));
}

#[tokio::test]
async fn job_list_shows_staff_the_jobs_and_not_whom_they_are_about() {
    let world = World::new().await;
    let (anna, ben) = (world.person("anna").await, world.person("ben").await);
    let subject = subject_of(&world, &anna).await;
    add(&world, SubjectId(subject), "retention", Uuid::nil()).await;
    problem(world.get(&anna, "/v1/admin/jobs").await, StatusCode::FORBIDDEN, "forbidden").await;
    staff::add(&world.app, &ben.email, Role::Compliance).await.expect("a role is given");
    let ben = sign_in(&world, &ben.email).await;
    let jobs = expect(world.get(&ben, "/v1/admin/jobs?state=waiting").await, StatusCode::OK).await;
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
    assert_eq!((&jobs["jobs"][0]["kind"], &jobs["jobs"][0]["attempts"]), (&"retention".into(), &0.into()));
    assert!(!jobs.to_string().contains(&subject.to_string()));
    let wrong = world.get(&ben, "/v1/admin/jobs?state=lost").await;
    problem(wrong, StatusCode::UNPROCESSABLE_ENTITY, "invalid-input").await;
}
