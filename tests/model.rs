//! Whatever people, staff, a guest, the operator and time do in whatever order, the API answers and shows what its
//! documentation says. A sequence of steps is taken twice: by a model in memory (`state`, `rules`), and by the server over
//! its routes, on a real PostgreSQL (`system`). After each step the answer is compared with the model's (`answer`), and
//! everything that two people, the desk and the log show with the model's state (`shown`).
//!
//! A few hundred steps are taken in an ordinary run. `LETHE_MODEL_CASES` asks for more sequences, of about forty steps each,
//! and `LETHE_MODEL_SEED` for the same ones again; `cargo xtask model` sets both. A sequence that fails is made as short as
//! possible and printed, a step a line.

mod answer;
mod asked;
mod call;
mod choose;
mod decide;
mod known;
mod place;
mod requests;
mod rules;
mod shown;
mod state;
mod step;
mod system;
mod told;

use std::{
    collections::BTreeSet,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed, TestError, TestRunner},
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use crate::model::{
    place::RUNTIME,
    state::Model,
    step::{Step, Who},
    system::System,
    told::Told,
};

/// How many sequences an ordinary run takes.
const CASES: u32 = 8;
/// So many sequences must lead to an event of each type.
const LONG: u64 = 100;
/// The types of events that steps can lead to.
const EVENTS: [&str; 27] = [
    "account.code_requested",
    "account.refresh_reused",
    "account.refreshed",
    "account.sign_in_failed",
    "account.signed_in",
    "account.signed_out",
    "consent.granted",
    "consent.withdrawn",
    "deletion.cancelled",
    "deletion.completed",
    "deletion.confirmed",
    "deletion.requested",
    "export.cancelled",
    "export.completed",
    "export.downloaded",
    "export.requested",
    "hold.lifted",
    "hold.placed",
    "objection.lifted",
    "objection.raised",
    "record.amended",
    "record.removed",
    "record.submitted",
    "restriction.lifted",
    "restriction.set",
    "retention.set",
    "subject.erased",
];

/// The model as the crate's runner drives it.
struct Rules;

impl ReferenceStateMachine for Rules {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::begin()).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Step> {
        choose::step(model)
    }

    fn apply(model: Model, step: &Step) -> Model {
        model.after(step)
    }

    fn preconditions(model: &Model, step: &Step) -> bool {
        choose::is_possible(model, step)
    }
}

/// How many steps were answered as asked, and how many were refused.
static DONE: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// The types of events that steps led to.
static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// The server beside the model.
struct Server;

impl StateMachineTest for Server {
    type SystemUnderTest = System;
    type Reference = Rules;

    fn init_test(_: &Model) -> System {
        RUNTIME.block_on(System::begin())
    }

    fn apply(mut system: System, model: &Model, step: Step) -> System {
        RUNTIME.block_on(system.take(model, &step));
        let count = if matches!(model.told, Told::Refused(_)) { &REFUSED } else { &DONE };
        count.fetch_add(1, Ordering::Relaxed);
        system
    }

    fn check_invariants(system: &System, model: &Model) {
        RUNTIME.block_on(system.compare(model));
        let events = Who::BOTH.into_iter().flat_map(|who| model.person(who).events.keys());
        SEEN.lock().expect("nobody panicked").extend(events);
    }
}

/// The number that a variable gives; `None` if it is not set.
pub fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

#[test]
fn the_server_does_what_a_model_of_its_documentation_does() {
    let cases = number("LETHE_MODEL_CASES").unwrap_or(CASES);
    let seed = number("LETHE_MODEL_SEED").unwrap_or_else(random);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let outcome = TestRunner::new(config.clone()).run(&Rules::sequential_strategy(30..51), |(model, steps, seen)| {
        Server::test_sequential(config.clone(), model, steps, seen);
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, (_, steps, _))) => {
            let (steps, why) = shortened(steps, why.to_string());
            let steps: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
            panic!("{why}\nThe shortest sequence that fails (seed {seed}):\n{}", steps.join("\n"));
        }
        Err(TestError::Abort(why)) => panic!("seed {seed}: {why}"),
    }
    let (done, refused) = (DONE.load(Ordering::Relaxed), REFUSED.load(Ordering::Relaxed));
    let cases = u64::from(cases);
    assert!(done >= cases * 10 && refused >= cases * 4, "{done} steps were done, and {refused} refused");
    let seen = SEEN.lock().expect("nobody panicked").clone();
    assert!(seen.len() >= EVENTS.len() / 2, "{seen:?}");
    if cases >= LONG {
        assert_eq!(
            seen,
            BTreeSet::from(EVENTS),
            "left: the types of events that steps led to; right: those they can lead to"
        );
    }
}

/// Drops every step without which the sequence still fails. The crate tries each step once, and a step that was needed
/// then may not be needed any more after others have changed.
fn shortened(mut steps: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let mut place = steps.len();
    while let Some(last) = place.checked_sub(1) {
        place = last;
        let fewer = [&steps[..place], &steps[place + 1..]].concat();
        if let Some(fault) = fault_of(&fewer) {
            (steps, why) = (fewer, fault);
            place = steps.len();
        }
    }
    (steps, why)
}

/// Why a sequence fails; `None` if it does not, or if one of its steps is not possible.
fn fault_of(steps: &[Step]) -> Option<String> {
    let mut model = Model::begin();
    for step in steps {
        if !choose::is_possible(&model, step) {
            return None;
        }
        model = model.after(step);
    }
    let take = || Server::test_sequential(Config::default(), Model::begin(), steps.to_vec(), None);
    let fault = std::panic::catch_unwind(take).err()?;
    Some(*fault.downcast::<String>().unwrap_or_default())
}

/// A seed.
fn random() -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&context::EventId::random().0.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}
