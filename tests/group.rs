//! Group commit: transactions that share one of the database, and what each of them sees of the others: nothing.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::TimeDelta;
use context::{Clock, Ctx, Role, SubjectId};
use db::{DbError, Gate, Login, Query, Session, Transient, Tx};
use event_log::{Event, event_append};
use futures_util::future::join_all;
use poem::http::StatusCode;
use proptest::{collection, prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinHandle};
use uuid::Uuid;

use crate::{
    log::event_of,
    model::number,
    plans::new_record,
    steps::{Answer, hold, let_go, subject_of},
    support::{Person, World, day},
    town::Town,
};

/// Every slot of the pool is taken until this is told to go on, so that whoever comes meanwhile waits for one group.
pub struct Occupied {
    go: Arc<Semaphore>,
    slots: Vec<JoinHandle<Result<(), DbError>>>,
}

impl Occupied {
    pub async fn new(world: &World) -> Self {
        let (go, taken) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (mut slots, all) = (Vec::new(), world.app.db.api.slots());
        for _ in 0..all {
            let (app, go, taken) = (world.app.clone(), go.clone(), taken.clone());
            let ctx = Ctx::job(world.clock.clone(), SubjectId::random());
            slots.push(tokio::spawn(async move {
                let (go, taken) = (&go, &taken);
                let work = move |_| async move {
                    taken.fetch_add(1, Ordering::Relaxed);
                    drop(go.acquire().await.expect("it is never closed"));
                    Ok::<_, DbError>(())
                };
                app.db.api.run_shared("occupy", &ctx, Gate::read(&ctx), work).await
            }));
        }
        while taken.load(Ordering::Relaxed) < all {
            tokio::task::yield_now().await;
        }
        Self { go, slots }
    }

    /// Lets the next group begin, when `waiting` transactions wait for it.
    pub async fn go_on(self, waiting: &AtomicUsize, wanted: usize) {
        while waiting.load(Ordering::Relaxed) < wanted {
            tokio::task::yield_now().await;
        }
        // Each of them has to come as far as its first flight.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.go.add_permits(self.slots.len());
        for slot in self.slots {
            slot.await.expect("it ran").expect("nothing went wrong");
        }
    }
}

/// What a member of a group did.
#[derive(Debug)]
struct Outcome {
    /// The persons whose rows it got, each time that it ran.
    seen: Vec<Vec<Uuid>>,
    /// The transaction that answered last.
    tx: String,
    ended: Result<(), DbError>,
}

/// Reads a person's keys and appends an event about the person, as one of many. `refuses` ends it in between. With
/// `filtered` off, the statement lacks its filter, as a wrong one might.
async fn member(world: &World, subject: SubjectId, refuses: bool, filtered: bool, waiting: &AtomicUsize) -> Outcome {
    let ctx = &Ctx::job(world.clock.clone(), subject);
    let seen = &std::sync::Mutex::new((Vec::new(), String::new()));
    let sql = if filtered {
        "-- own\nSELECT s.subject_id, pg_current_xact_id()::text AS tx
         FROM unnest($1::uuid[]) AS asked (id) JOIN vault.subjects s ON s.subject_id = asked.id"
    } else {
        "-- all\nSELECT s.subject_id, pg_current_xact_id()::text AS tx
         FROM unnest($1::uuid[]) AS asked (id) JOIN vault.subjects s ON true"
    };
    let work = move |tx: Tx| async move {
        waiting.fetch_add(1, Ordering::Relaxed);
        let [rows] = tx.flight([Query::new(sql).list(vec![subject.0])]).await?;
        assert!(tx.claimed(), "nobody else has the claim");
        {
            let mut seen = seen.lock().expect("nobody panics");
            seen.0.push(rows.iter().map(|row| row.get("subject_id")).collect());
            seen.1 = rows[0].get("tx");
        }
        if refuses {
            return Err(DbError::Refused);
        }
        let stream = SubjectId::random().to_string();
        let event = event_of(subject, "account", &stream, 1, ctx.now());
        tx.queue(event_append(vec![Event { event_type: "test.happened".to_owned(), ..event }]));
        Ok(())
    };
    let claim = i64::from_be_bytes(subject.0.as_bytes()[8..].try_into().expect("eight bytes"));
    let gate = Gate::shared(ctx).claim(Some(claim));
    let ended = world.app.db.api.run_shared("member", ctx, gate, work).await;
    let (seen, tx) = seen.lock().expect("nobody panics").clone();
    Outcome { seen, tx, ended }
}

/// How many events of [`member`] are stored about a person.
async fn stored(world: &World, subject: SubjectId) -> i64 {
    let sql = "SELECT count(*) FROM log.events WHERE subject_id = $1 AND event_type = 'test.happened'";
    world.superuser().await.query_one(sql, &[&subject.0]).await.expect("counted").get(0)
}

async fn people(world: &World, count: usize) -> Vec<SubjectId> {
    let mut people = Vec::new();
    for number in 0..count {
        let person = world.person(&format!("person-{number}")).await;
        people.push(SubjectId(subject_of(world, &person).await));
    }
    people
}

#[tokio::test]
async fn who_waits_shares_a_transaction_and_a_refusal_costs_the_others_nothing() {
    let world = World::new().await;
    let people = people(&world, 9).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let members = people.iter().enumerate().map(|(at, subject)| member(&world, *subject, at % 3 == 0, true, &waiting));
    let (outcomes, ()) = tokio::join!(join_all(members), occupied.go_on(&waiting, people.len()));
    let transactions: HashSet<&str> = outcomes.iter().map(|outcome| outcome.tx.as_str()).collect();
    assert_eq!(transactions.len(), 1, "{outcomes:?}");
    for (at, (outcome, subject)) in outcomes.iter().zip(&people).enumerate() {
        assert_eq!(outcome.seen, [vec![subject.0]], "once, and nobody else");
        assert_eq!(outcome.ended.is_err(), at % 3 == 0, "{outcome:?}");
        assert_eq!(stored(&world, *subject).await, i64::from(at % 3 != 0));
    }
}

#[tokio::test]
async fn a_statement_without_its_filter_shows_nobody_another_persons_rows() {
    let world = World::new().await;
    let people = people(&world, 4).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let members = people.iter().map(|subject| member(&world, *subject, false, false, &waiting));
    let (outcomes, ()) = tokio::join!(join_all(members), occupied.go_on(&waiting, people.len()));
    let transactions: HashSet<&str> = outcomes.iter().map(|outcome| outcome.tx.as_str()).collect();
    assert_eq!(transactions.len(), 1, "{outcomes:?}");
    for (outcome, subject) in outcomes.iter().zip(&people) {
        assert!(outcome.ended.is_ok(), "{outcome:?}");
        assert!(outcome.seen.iter().flatten().all(|seen| *seen == subject.0), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_group_that_fails_stores_nothing_and_each_member_runs_again_alone() {
    let world = World::new().await;
    let people = people(&world, 6).await;
    let broken = format!(
        "ALTER TABLE log.events ADD CONSTRAINT broken CHECK (subject_id <> '{}' OR event_type <> 'test.happened') NOT VALID",
        people[2]
    );
    world.superuser().await.batch_execute(&broken).await.expect("a superuser may");
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let members = people.iter().map(|subject| member(&world, *subject, false, true, &waiting));
    let (outcomes, ()) = tokio::join!(join_all(members), occupied.go_on(&waiting, people.len()));
    let transactions: HashSet<&str> = outcomes.iter().map(|outcome| outcome.tx.as_str()).collect();
    assert_eq!(transactions.len(), people.len(), "each alone: {outcomes:?}");
    for (at, (outcome, subject)) in outcomes.iter().zip(&people).enumerate() {
        assert_eq!(outcome.seen, [vec![subject.0], vec![subject.0]], "with the group, and alone");
        assert_eq!(stored(&world, *subject).await, i64::from(at != 2));
        assert_eq!(matches!(outcome.ended, Err(DbError::Fault { .. })), at == 2, "{outcome:?}");
    }
}

#[tokio::test]
async fn who_has_to_wait_for_a_lock_keeps_nobody_else_waiting() {
    let world = World::new().await;
    let people = people(&world, 5).await;
    let superuser = world.superuser().await;
    hold(&superuser, people[0].0).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let held = member(&world, people[0], false, true, &waiting);
    let others = join_all(people[1..].iter().map(|subject| member(&world, *subject, false, true, &waiting)));
    let others = async {
        let outcomes = others.await;
        // Nobody but them has been answered, or they would have waited for this.
        let_go(&superuser, people[0].0).await;
        outcomes
    };
    let (held, others, ()) = tokio::join!(held, others, occupied.go_on(&waiting, people.len()));
    assert!(held.ended.is_ok(), "{held:?}");
    let transactions: HashSet<&str> = others.iter().map(|outcome| outcome.tx.as_str()).collect();
    assert_eq!(transactions.len(), 1, "{others:?}");
    assert!(!transactions.contains(held.tx.as_str()), "the one who waited ran alone");
}

#[tokio::test]
async fn persons_whose_locks_are_taken_keep_no_slot() {
    let world = World::new().await;
    let slots = world.app.db.api.slots();
    let people = people(&world, slots + 1).await;
    let (superuser, waiting) = (world.superuser().await, AtomicUsize::new(0));
    for held in &people[1..] {
        hold(&superuser, held.0).await;
    }
    let held = join_all(people[1..].iter().map(|subject| member(&world, *subject, false, true, &waiting)));
    let free = async {
        // They come first, and each takes a slot.
        while waiting.load(Ordering::Relaxed) < slots {
            tokio::task::yield_now().await;
        }
        let outcome = member(&world, people[0], false, true, &waiting).await;
        for held in &people[1..] {
            let_go(&superuser, held.0).await;
        }
        outcome
    };
    let (held, free) = tokio::join!(held, free);
    assert!(free.ended.is_ok(), "{free:?}");
    assert!(held.iter().all(|outcome| outcome.ended.is_ok()), "{held:?}");
}

/// Others wait for the end of a shared transaction, so that it waits for nobody's lock or key for long.
#[tokio::test]
async fn a_key_that_another_transaction_is_about_to_store_keeps_the_slot_for_a_moment_only() {
    let world = World::new().await;
    let anna = people(&world, 1).await[0];
    let ctx = &Ctx::job(world.clock.clone(), anna);
    let patience = |tx: Tx| async move {
        let shown = "-- patience\nSELECT id AS subject_id, current_setting('lock_timeout') FROM unnest($1::uuid[]) AS asked (id)";
        let [rows] = tx.flight([Query::new(shown).list(vec![ctx.subject.0])]).await?;
        Ok::<String, DbError>(rows[0].get(1))
    };
    let db = &world.app.db.api;
    assert_eq!(db.run_shared("patience", ctx, Gate::shared(ctx), patience).await.expect("read"), "200ms");
    assert_eq!(db.run_tx("patience", ctx, Gate::shared(ctx), patience).await.expect("read"), "10s");

    let superuser = world.superuser().await;
    let version: i64 = superuser
        .query_one("SELECT version FROM auth.standings WHERE subject_id = $1", &[&anna.0])
        .await
        .expect("read")
        .get(0);
    let values = new_record(&format!("'{anna}'"), version, 1);
    let insert = format!(
        "BEGIN; INSERT INTO vault.records (subject_id, record_id, kind, key_hash, wrapped_key)
         VALUES ('{anna}', gen_random_uuid(), 'work_day', {}, '')",
        values[6]
    );
    superuser.batch_execute(&insert).await.expect("a superuser may");
    let client = world.login(Login::Api).await;
    let (session, now) = Session::begin(&client).await.expect("a session");
    let ticket = world.app.vault.ring().ticket_key().mint(anna, None, Role::Subject, now, &session);
    // Were it not for the function, it would wait for ever.
    client.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await.expect("set");
    let store = format!("SELECT lethe.store_record($1, {})", values.join(", "));
    let taken = client.query_one(&store, &[&ticket]).await.expect_err("the key is taken");
    assert!(DbError::from(taken).is_lock_taken());
    superuser.batch_execute("ROLLBACK").await.expect("rolled back");
    assert!(client.query_one(&store, &[&ticket]).await.expect("stored").get::<_, bool>(0));
}

/// A statement of one member that names another one would pass the policy, because the ticket names both.
#[tokio::test]
async fn a_member_stores_nothing_about_another_one() {
    let world = World::new().await;
    let people = people(&world, 3).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let ctx = &Ctx::job(world.clock.clone(), people[0]);
    let (other, count) = (people[1], &waiting);
    let stray = world.app.db.api.run_shared("stray", ctx, Gate::shared(ctx), move |tx: Tx| async move {
        count.fetch_add(1, Ordering::Relaxed);
        let own = "-- own\nSELECT id AS subject_id FROM unnest($1::uuid[]) AS asked (id)";
        tx.flight([Query::new(own).list(vec![ctx.subject.0])]).await?;
        let event = event_of(other, "account", &SubjectId::random().to_string(), 1, ctx.now());
        tx.queue(event_append(vec![Event { event_type: "test.happened".to_owned(), ..event }]));
        Ok::<_, DbError>(())
    });
    let others = join_all(people[1..].iter().map(|subject| member(&world, *subject, false, true, &waiting)));
    let (stray, others, ()) = tokio::join!(stray, others, occupied.go_on(&waiting, people.len()));
    assert!(matches!(stray, Err(DbError::Refused)), "{stray:?}");
    assert!(others.iter().all(|outcome| outcome.ended.is_ok() && outcome.seen.len() == 1), "{others:?}");
    assert_eq!(stored(&world, people[1]).await, 1, "its own");
}

/// A conflict of one of them makes all run again, and all of them are stored once.
#[tokio::test]
async fn a_conflict_of_one_costs_nobody_the_request() {
    let world = World::new().await;
    let people = people(&world, 3).await;
    let superuser = world.superuser().await;
    // A group's ticket has a comma.
    let breaking = format!(
        "CREATE FUNCTION public.breaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.subject_id = '{}' AND current_setting('backtrace_functions') LIKE '%,%' THEN
                 RAISE EXCEPTION 'a conflict' USING ERRCODE = '40001';
             END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER breaks BEFORE INSERT ON log.events FOR EACH ROW EXECUTE FUNCTION public.breaks()",
        people[0]
    );
    superuser.batch_execute(&breaking).await.expect("a superuser may");
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let members = people.iter().map(|subject| member(&world, *subject, false, true, &waiting));
    let (outcomes, ()) = tokio::join!(join_all(members), occupied.go_on(&waiting, people.len()));
    assert!(outcomes.iter().all(|outcome| outcome.seen.len() == 2), "with the group, and alone: {outcomes:?}");
    for (outcome, subject) in outcomes.iter().zip(&people) {
        assert!(outcome.ended.is_ok(), "{outcome:?}");
        assert_eq!(stored(&world, *subject).await, 1);
    }
}

#[tokio::test]
async fn a_person_is_in_a_group_once_and_who_hangs_up_is_left_out() {
    let world = World::new().await;
    let people = people(&world, 3).await;
    let (occupied, waiting) = (Occupied::new(&world).await, AtomicUsize::new(0));
    let twice = [people[0], people[0], people[1]];
    let members = twice.iter().map(|subject| member(&world, *subject, false, true, &waiting));
    // Polled until it waits, and dropped.
    let gone = async {
        let gone = member(&world, people[2], false, true, &waiting);
        tokio::select! {
            outcome = gone => panic!("{outcome:?}"),
            () = async { for _ in 0..20 { tokio::task::yield_now().await } } => {}
        }
    };
    let (outcomes, (), ()) = tokio::join!(join_all(members), gone, occupied.go_on(&waiting, 4));
    assert!(outcomes.iter().all(|outcome| outcome.ended.is_ok()), "{outcomes:?}");
    assert_ne!(outcomes[0].tx, outcomes[1].tx, "one after the other");
    for (subject, count) in people.iter().zip([2, 1, 0]) {
        assert_eq!(stored(&world, *subject).await, count);
    }
}

#[tokio::test]
async fn a_ticket_of_several_persons_opens_theirs_and_no_other_rows() {
    let town = Town::new().await;
    let client = town.world.login(Login::Api).await;
    let (session, now) = Session::begin(&client).await.expect("a session");
    let named: Vec<SubjectId> = town.people[..2].iter().map(|person| person.subject).collect();
    let key = town.world.app.vault.ring().ticket_key();
    let ticket = key.mint_until(&named, None, Role::Subject, now + TimeDelta::seconds(60), &session);
    client.query("SELECT lethe.show($1, false)", &[&ticket]).await.expect("shown");
    let mut read = 0;
    for table in &town.tables {
        let has_subject = "SELECT has_table_privilege($1, 'SELECT') AND EXISTS
                           (SELECT FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'subject_id')";
        let row = client.query_one(has_subject, &[&table.name]).await;
        if !row.is_ok_and(|row| row.get(0)) {
            continue;
        }
        let sql = format!("SELECT DISTINCT subject_id FROM {}", table.name);
        let found: Vec<Uuid> = client.query(&sql, &[]).await.expect("read").iter().map(|row| row.get(0)).collect();
        assert!(found.iter().all(|id| named.contains(&SubjectId(*id))), "{}: {found:?}", table.name);
        read += usize::from(found.len() == 2);
    }
    assert!(read >= 5, "only {read} tables hold rows of both");
}

/// What a person does next.
#[derive(Clone, Debug)]
enum Move {
    /// Submits a day, so many back, with so many minutes.
    Submit(u8, u16),
    /// Does so under an idempotency key.
    Once(u8, u16, u8),
    /// Submits what is refused.
    Wrong(u8),
    /// Submits while a consent is missing, and gives it again.
    Unconsented(u8),
    /// Submits, and hangs up after so many polls.
    HangUp(u8, u16, u8),
}

fn moves() -> impl Strategy<Value = Vec<Vec<Move>>> {
    let one = prop_oneof![
        4 => (0..6_u8, 1..1440_u16).prop_map(|(back, minutes)| Move::Submit(back, minutes)),
        2 => (0..6_u8, 1..1440_u16, 0..3_u8).prop_map(|(back, minutes, key)| Move::Once(back, minutes, key)),
        1 => (0..6_u8).prop_map(Move::Wrong),
        1 => (0..6_u8).prop_map(Move::Unconsented),
        2 => (0..6_u8, 1..1440_u16, 1..40_u8).prop_map(|(back, minutes, polls)| Move::HangUp(back, minutes, polls)),
    ];
    collection::vec(collection::vec(one, 1..7), 6..12)
}

/// The minutes that each day of a person may have now; more than one after a request that was not answered.
type Days = BTreeMap<u8, Vec<u16>>;

fn body(clock: &Clock, back: u8, minutes: u16) -> Value {
    let date = clock.now().date_naive() - TimeDelta::days(i64::from(back));
    let mut body = day(&date.to_string(), 8.0, 8.0);
    body.as_object_mut().expect("an object").remove("actual_hours");
    body["actual_minutes"] = json!(minutes);
    body
}

/// Makes a person's moves one after the other, and checks each answer.
async fn play(world: &World, person: &Person, moves: &[Move]) -> Days {
    let client = world.client();
    let post = |body: &Value, key: Option<String>| {
        let request = client.post("/v1/work-events/daily").body_json(body);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        person.sign(request)
    };
    let (mut days, mut keys) = (Days::new(), BTreeMap::<u8, (u8, u16, String)>::new());
    for next in moves {
        match *next {
            Move::Submit(back, minutes) => {
                let answer = Answer::of(post(&body(&world.clock, back, minutes), None).send().await).await;
                let known = days.get(&back);
                match (answer.status, known.map(Vec::len)) {
                    (StatusCode::CREATED, None) | (StatusCode::OK, Some(_)) => {}
                    // Nobody knows what became of the request before.
                    (StatusCode::CREATED, Some(_)) if known.is_some_and(|days| days.contains(&0)) => {}
                    other => panic!("{other:?}: {}", answer.text),
                }
                assert_eq!(answer.json()["actual_minutes"], minutes);
                days.insert(back, vec![minutes]);
            }
            Move::Once(back, minutes, key) => {
                let name = format!("key-{key}");
                let answer = Answer::of(post(&body(&world.clock, back, minutes), Some(name)).send().await).await;
                match keys.get(&key) {
                    Some((of, with, text)) if (*of, *with) == (back, minutes) => assert_eq!(&answer.text, text),
                    Some(_) => drop(answer.problem(StatusCode::UNPROCESSABLE_ENTITY)),
                    None => {
                        assert!(answer.status.is_success(), "{}", answer.text);
                        assert_eq!(answer.json()["actual_minutes"], minutes);
                        keys.insert(key, (back, minutes, answer.text));
                        days.insert(back, vec![minutes]);
                    }
                }
            }
            Move::Wrong(back) => {
                let answer = Answer::of(post(&body(&world.clock, back, 1441), None).send().await).await;
                answer.problem(StatusCode::UNPROCESSABLE_ENTITY);
            }
            Move::Unconsented(back) => {
                for granted in [false, true] {
                    let decided = client.put("/v1/consents/work_hours").body_json(&json!({ "granted": granted }));
                    assert!(person.sign(decided).send().await.0.status().is_success());
                    if !granted {
                        let answer = Answer::of(post(&body(&world.clock, back, 7), None).send().await).await;
                        answer.problem(StatusCode::FORBIDDEN);
                    }
                }
            }
            Move::HangUp(back, minutes, polls) => {
                let body = body(&world.clock, back, minutes);
                let request = post(&body, None).send();
                let polls = async {
                    for _ in 0..polls {
                        tokio::task::yield_now().await
                    }
                };
                tokio::select! { _ = request => {}, () = polls => {} }
                // Zero stands for no such day.
                days.entry(back).or_insert_with(|| vec![0]).push(minutes);
            }
        }
    }
    days
}

/// The days of a person, by how many days back.
async fn listed(world: &World, person: &Person) -> BTreeMap<u8, u16> {
    let answer = Answer::of(world.get(person, "/v1/work-events/me?limit=366").await).await;
    let today = world.clock.now().date_naive();
    let events = answer.json()["events"].as_array().expect("a list").clone();
    let read = events.iter().map(|event| {
        let date: chrono::NaiveDate = event["date"].as_str().expect("a date").parse().expect("a date");
        let minutes = event["actual_minutes"].as_u64().expect("a number");
        ((today - date).num_days().try_into().expect("few"), minutes.try_into().expect("few"))
    });
    read.collect()
}

/// Persons do all kinds of things at the same moments; whatever happens to one of them, each gets the answer to their
/// own request, and has their own days and nobody else's. `cargo xtask model` asks for as many cases as sequences of the model.
#[test]
fn whatever_others_do_each_person_has_their_own_days_and_answers() {
    let runtime = Runtime::new().expect("a runtime");
    let world = Arc::new(runtime.block_on(World::new()));
    let cases = number("LETHE_MODEL_CASES").unwrap_or(6);
    let config = ProptestConfig { cases, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
    let case = AtomicUsize::new(0);
    let outcome = TestRunner::new(config).run(&moves(), |moves| {
        let case = case.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(run_case(world.clone(), case, moves));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let shared = "SELECT count(*) FROM (SELECT FROM log.events WHERE event_type LIKE 'record.%'
                                        GROUP BY txid HAVING count(DISTINCT subject_id) > 1) shared";
    let count = async { world.superuser().await.query_one(shared, &[]).await.expect("counted").get::<_, i64>(0) };
    assert!(runtime.block_on(count) > 5, "hardly any transaction was shared");
}

async fn run_case(world: Arc<World>, case: usize, moves: Vec<Vec<Move>>) {
    let mut people = Vec::new();
    for number in 0..moves.len() {
        people.push(Arc::new(world.person(&format!("case-{case}-{number}")).await));
    }
    let plays = people.iter().zip(moves).map(|(person, moves)| {
        let (world, person) = (world.clone(), person.clone());
        tokio::spawn(async move { play(&world, &person, &moves).await })
    });
    let played = join_all(plays).await;
    for (person, days) in people.iter().zip(played) {
        let (days, found) = (days.expect("no move failed"), listed(&world, person).await);
        for back in 0..6 {
            let (possible, is) = (days.get(&back).cloned().unwrap_or_else(|| vec![0]), found.get(&back));
            assert!(possible.contains(is.unwrap_or(&0)), "{back} days back: {is:?} of {possible:?}");
        }
    }
}
