//! Which step comes next: mostly one that does something in the present state, and now and then one that is refused.

use domain::rights::consent::Purpose;
use proptest::{prelude::*, sample::select, strategy::Union};

use crate::model::{
    asked::{DeletionState, ExportState},
    state::{Answered, DAY, HOUR, Model, PURPOSES, Person, TOKEN},
    step::{Ask, Condition, Evaluation, Route, Step, Who, Wrong},
};

/// How many days people have.
const DAYS: u8 = 4;
/// The access tokens that look at each state belong to a session of thirty days.
const LONGEST: u64 = 29 * DAY;
/// A mailbox gets five codes in a quarter of an hour, and two were mailed before the sequence began.
const CODES: usize = 3;
/// How often half a minute passes before an hour does, so that an access token is clearly good or clearly too old.
const HALF_MINUTES: u8 = 10;

type Weighted<T> = (u32, BoxedStrategy<T>);

fn weighted<T: std::fmt::Debug>(weight: u32, strategy: impl Strategy<Value = T> + 'static) -> Weighted<T> {
    (weight, strategy.boxed())
}

/// The next step after this state.
pub fn step(model: &Model) -> BoxedStrategy<Step> {
    let people = || Who::BOTH.map(|who| model.person(who)).into_iter();
    let expired = |person: &Person| model.now >= model.sweep_due && !person.expired(model.now).is_empty();
    let is_due = people().any(|person| person.is_erasable(model.now) || pending(person) || expired(person));
    let is_waiting = people().any(|person| person.is_waiting() || person.rule.waits.is_some());
    let hours = if is_waiting { vec![24_u64, 48, 49, 72] } else { vec![1, 12, 24, 48, 72, 170] };
    let is_guest_known = model.guest.is_some_and(|since| model.now < since + HOUR);
    let evaluation = select(vec![Evaluation::Screening, Evaluation::Incomplete, Evaluation::WorkDay]);
    let mut choices = vec![
        weighted(2, Just(Step::StaffLooksAtTheDesk)),
        weighted(1, Just(Step::StaffListsDays)),
        weighted(1, Just(Step::GuestArrives)),
        weighted(if is_guest_known { 5 } else { 1 }, evaluation.prop_map(Step::GuestAsks)),
        weighted(6, select(hours).prop_map(Step::LetPass)),
        weighted(if is_due { 30 } else { 8 }, Just(Step::RunJobs)),
    ];
    for who in Who::BOTH {
        let person = model.person(who);
        let hold = select(vec![1_u64, 24, 60]).prop_map(move |hours| Step::PlaceHold(who, hours));
        choices.push(weighted(1, hold));
        choices.push(weighted(1, Just(Step::StaffOpens(who))));
        choices.push(weighted(if person.hold.is_some() { 3 } else { 1 }, Just(Step::LiftHold(who))));
        choices.extend(repeated(who, person, if is_signed_in(model, who) { 8 } else { 1 }));
        choices.extend(asks(model, who).into_iter().map(|(weight, ask)| (weight, asked(who, ask))));
    }
    Union::new_weighted(choices).boxed()
}

/// Whether a step may be taken in a state. Steps that shrinking leaves are checked anew.
pub fn is_possible(model: &Model, step: &Step) -> bool {
    let Step::Ask(who, ask) = step else {
        return !matches!(step, Step::LetPass(hours) if model.now + hours * HOUR > LONGEST);
    };
    let person = model.person(*who);
    match ask {
        Ask::SignIn => person.codes.iter().filter(|at| model.now < *at + HOUR / 2).count() < CODES,
        Ask::ShowUsedRefreshToken => person.session.has_used_token && model.half_minutes < HALF_MINUTES,
        Ask::UseAnEndedSession => person.session.has_ended_before,
        _ => true,
    }
}

fn is_signed_in(model: &Model, who: Who) -> bool {
    let person = model.person(who);
    !person.is_erased && person.session.is_open && model.now < person.session.token_at + TOKEN
}

fn pending(person: &Person) -> bool {
    person.exports.iter().any(|export| matches!(export.state, ExportState::Pending(_)))
}

/// An ask, with a key in one of three times if the operation takes one.
fn asked(who: Who, ask: BoxedStrategy<Ask>) -> BoxedStrategy<Step> {
    let with_key = move |(ask, key): (Ask, Option<u8>)| {
        // A condition names tags, which the model does not know, so a repetition could differ.
        let is_plain = !matches!(ask, Ask::Submit { on: Condition::Newest | Condition::Older | Condition::Absent, .. });
        match key.filter(|_| is_plain && ask.operation().is_some()) {
            Some(key) => Step::AskOnce(who, ask, key),
            None => Step::Ask(who, ask),
        }
    };
    (ask, prop::option::weighted(0.35, 0..2_u8)).prop_map(with_key).boxed()
}

/// A request that was answered, once more with its key.
fn repeated(who: Who, person: &Person, weight: u32) -> Option<Weighted<Step>> {
    let first = |((_, key), first): (&(&str, u8), &Answered)| Step::AskOnce(who, first.ask.clone(), *key);
    let steps: Vec<Step> = person.answered.iter().map(first).collect();
    (!steps.is_empty()).then(|| weighted(weight, select(steps)))
}

/// What a person may ask for.
fn asks(model: &Model, who: Who) -> Vec<Weighted<Ask>> {
    let person = model.person(who);
    let session = &person.session;
    if !is_signed_in(model, who) {
        // Whoever is not signed in mostly signs in, and else is refused.
        let others = Union::new_weighted([decisions(person), days(person, who), requests(person, who)].concat());
        let back = if person.is_erased { 1 } else { 16 };
        return [vec![weighted(3, others)], sessions(back, if session.is_open { back } else { 1 })].concat();
    }
    [decisions(person), days(person, who), requests(person, who), sessions(1, 1)].concat()
}

fn sessions(sign_in: u32, refresh: u32) -> Vec<Weighted<Ask>> {
    vec![
        weighted(refresh, prop_oneof![3 => Just(Ask::Refresh), 1 => Just(Ask::RefreshTwice)]),
        weighted(sign_in, Just(Ask::SignIn)),
        weighted(1, Just(Ask::ShowUsedRefreshToken)),
        weighted(1, Just(Ask::SignOut)),
        weighted(1, Just(Ask::SignInWithAWrongCode)),
        weighted(1, Just(Ask::UseAnEndedSession)),
        weighted(1, Just(Ask::LookAtTheDesk)),
    ]
}

fn decisions(person: &Person) -> Vec<Weighted<Ask>> {
    let missing: Vec<Purpose> = PURPOSES.into_iter().filter(|purpose| !person.consents(*purpose)).collect();
    let keep = prop::option::weighted(0.8, select(vec![1_u32, 2, 5]));
    let mut choices = vec![
        weighted(
            2,
            (select(PURPOSES.to_vec()), any::<bool>()).prop_map(|(purpose, given)| Ask::Consent(purpose, given)),
        ),
        weighted(1, (select(PURPOSES.to_vec()), any::<bool>()).prop_map(|(purpose, so)| Ask::Object(purpose, so))),
        weighted(if person.is_restricted { 5 } else { 1 }, Just(Ask::Restrict(!person.is_restricted))),
        weighted(1, any::<bool>().prop_map(Ask::Restrict)),
        weighted(if person.days.is_empty() { 1 } else { 4 }, keep.prop_map(Ask::Keep)),
    ];
    if !missing.is_empty() {
        let objected = person.objects(missing[0]);
        let first = missing[0];
        choices.push(weighted(5, select(missing).prop_map(|purpose| Ask::Consent(purpose, true))));
        choices.push(weighted(if objected { 4 } else { 1 }, Just(Ask::Object(first, false))));
    }
    choices
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        6 => Just(Condition::Nothing), 3 => Just(Condition::Newest), 1 => Just(Condition::Older), 1 => Just(Condition::Absent),
    ]
}

/// The owner of a thing that is asked for.
fn owner(who: Who) -> impl Strategy<Value = Who> {
    prop_oneof![8 => Just(who), 1 => Just(who.other())]
}

fn range() -> impl Strategy<Value = (u8, u8)> {
    (0..DAYS, 0..DAYS).prop_map(|(one, other)| (one.min(other), one.max(other)))
}

fn days(person: &Person, who: Who) -> Vec<Weighted<Ask>> {
    let minutes = || select(vec![450_u16, 480, 505]);
    let batch = || prop::collection::btree_map(0..DAYS, minutes(), 2..4).prop_map(|days| days.into_iter().collect());
    let there: Vec<u8> = person.days.keys().copied().collect();
    // Mostly a day that is there.
    let day = || {
        if there.is_empty() { (0..DAYS).boxed() } else { prop_oneof![4 => select(there.clone()), 1 => 0..DAYS].boxed() }
    };
    let route = select(vec![Route::Daily, Route::Record]);
    let wrong = select(vec![Wrong::InTheFuture, Wrong::TooLong, Wrong::Repeated]);
    let submit = ((0..DAYS).boxed(), minutes(), route, condition());
    vec![
        weighted(12, submit.prop_map(|(day, minutes, by, on)| Ask::Submit { day, minutes, by, on })),
        weighted(4, batch().prop_map(Ask::SubmitBatch)),
        weighted(1, (wrong, batch()).prop_map(|(wrong, days)| Ask::SubmitWrong(wrong, days))),
        weighted(3, (0..2_u8, 0..3_u8).prop_map(|(word, count)| Ask::SubmitWord(word, count))),
        weighted(1, prop::option::of(range()).prop_map(Ask::ListDays)),
        weighted(2, (owner(who), day()).prop_map(|(of, day)| Ask::GetDay(of, day))),
        weighted(3, (owner(who), day(), condition()).prop_map(|(of, day, on)| Ask::RemoveDay(of, day, on))),
        weighted(1, Just(Ask::RemoveAllDays)),
    ]
}

fn requests(person: &Person, who: Who) -> Vec<Weighted<Ask>> {
    let back = || prop_oneof![6 => Just(0_u8), 1 => Just(1_u8)];
    let newest = person.deletions.last().map(|deletion| deletion.state);
    let (confirms, cancels) = match newest {
        Some(DeletionState::Pending) => (24, 4),
        Some(DeletionState::Confirmed(_)) => (1, 3),
        _ => (1, 1),
    };
    let downloads =
        if person.exports.iter().any(|export| matches!(export.state, ExportState::Completed(..))) { 6 } else { 1 };
    let confirm = (owner(who), back(), prop::bool::weighted(0.85));
    vec![
        weighted(5, prop::option::of(range()).prop_map(Ask::Export)),
        weighted(if pending(person) { 2 } else { 1 }, back().prop_map(Ask::CancelExport)),
        weighted(downloads, (owner(who), back()).prop_map(|(of, back)| Ask::Download(of, back))),
        weighted(
            if person.cancelled.is_empty() { 4 } else { 8 },
            prop::option::weighted(0.5, range()).prop_map(Ask::Delete),
        ),
        weighted(confirms, confirm.prop_map(|(of, back, right)| Ask::Confirm(of, back, right))),
        weighted(cancels, (owner(who), back()).prop_map(|(of, back)| Ask::CancelDeletion(of, back))),
    ]
}
