//! What must hold after each step: everything that is shown to a person, to the desk and in the log is what the model
//! says, and nobody sees anything of anybody else.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    model::{
        answer::word_of,
        asked::DeletionState,
        known::Known,
        state::{Decision, Model, PURPOSES, Person},
        step::Who,
        system::System,
    },
    steps::Answer,
};

/// What a person is shown, in the order in which it is compared.
const PATHS: [&str; 8] = [
    "/v1/work-events/me",
    "/v1/records/wordbook_entry",
    "/v1/consents",
    "/v1/privacy/exports",
    "/v1/privacy/deletions",
    "/v1/privacy/retention",
    "/v1/privacy/restriction",
    "/v1/privacy/data-overview",
];

impl System {
    /// Compares everything that is shown with the model.
    pub async fn compare(&self, model: &Model) {
        join_all(Who::BOTH.map(|who| self.compare_person(model, who))).await;
    }

    async fn compare_person(&self, model: &Model, who: Who) {
        let (person, known) = (model.person(who), &self.people[who as usize]);
        self.compare_events(person, known).await;
        let token = self.token(&known.watcher);
        if person.is_erased {
            self.compare_erased(&token).await;
            return;
        }
        let shown = join_all(PATHS.map(|path| self.look(&token, path))).await;
        let [days, words, consents, exports, deletions, retention, restriction, overview] =
            shown.try_into().expect("one answer a path");
        self.compare_secrets(who, &[&days, &words, &exports, &deletions]);
        assert_eq!(self.days_of(&days["events"]), person.shown(None), "the days of {who:?}");
        let words: BTreeMap<u8, u8> =
            words["records"].as_array().expect("a list").iter().map(|word| word_of(&word["body"])).collect();
        assert_eq!(words, person.words, "the words of {who:?}");
        for purpose in PURPOSES {
            let list = consents["consents"].as_array().expect("a list");
            let one = list.iter().find(|one| one["purpose"] == domain::Choice::as_str(purpose)).expect("every purpose");
            let expected = (json!(person.consents(purpose)), json!(person.objects(purpose)));
            assert_eq!((one["granted"].clone(), one["objected"].clone()), expected, "{purpose:?} of {who:?}");
        }
        compare_requests(model, who, &exports, &deletions);
        compare_rule(model, who, &retention);
        let expected = (json!(person.is_restricted), person.is_held(model.now));
        assert_eq!((restriction["restricted"].clone(), restriction.get("hold").is_some()), expected, "{who:?}");
        compare_overview(person, model.now, &overview);
        self.compare_newest(person, &token).await;
    }

    /// Nothing that is shown to a person names a record or an export of the other one.
    fn compare_secrets(&self, who: Who, shown: &[&Value]) {
        let other = &self.people[who.other() as usize];
        let text: String = shown.iter().map(ToString::to_string).collect();
        let secrets =
            || other.records.values().chain(&other.exports).chain([&other.person.email, &other.person.user_id]);
        let found: Vec<&String> = secrets().filter(|secret| text.contains(secret.as_str())).collect();
        assert!(found.is_empty(), "{who:?} sees {found:?}");
    }

    /// A good token of an erased person opens nothing.
    async fn compare_erased(&self, token: &str) {
        for path in [PATHS[0], PATHS[2], "/v1/privacy/audit-log", "/v1/auth/me"] {
            let request = self.place.client.get(path).header("authorization", format!("Bearer {token}"));
            let problem = Answer::of(request.send().await).await.problem(StatusCode::UNAUTHORIZED);
            assert_eq!(problem["type"], "/problems/erased", "{path}");
        }
    }

    /// The log holds an event for each command that had an effect, and no other.
    async fn compare_events(&self, person: &Person, known: &Known) {
        let mut found = known.events(&self.place.superuser).await;
        for (event, count) in &known.events_before {
            *found.entry(event.clone()).or_default() -= count;
        }
        found.retain(|_, count| *count != 0);
        let mut expected: BTreeMap<String, i64> = person
            .events
            .iter()
            .map(|(event, count)| ((*event).to_owned(), i64::try_from(*count).expect("few")))
            .collect();
        if person.is_last_export_unknown {
            expected.remove("export.completed");
            found.remove("export.completed");
        }
        assert_eq!(found, expected, "left: the log; right: the effective commands");
    }

    /// The audit log's newest entry of the family is what was done last.
    async fn compare_newest(&self, person: &Person, token: &str) {
        let Some(newest) = person.newest else { return };
        let (family, _) = newest.split_once('.').expect("a type has a family");
        let log = self.look(token, &format!("/v1/privacy/audit-log?limit=1&action={family}")).await;
        assert_eq!(log["entries"][0]["action"], newest, "{log}");
    }

    /// Compares the overview and the open requests of the desk.
    pub async fn compare_desk(&self, model: &Model) {
        let after = self.desk().await;
        let grown =
            |name: &str| after[name].as_i64().expect("a number") - self.desk_before[name].as_i64().expect("a number");
        let people = || Who::BOTH.map(|who| model.person(who)).into_iter();
        let count = |is_so: &dyn Fn(&Person) -> bool| {
            i64::try_from(people().filter(|person| is_so(person)).count()).expect("few")
        };
        let open: usize = people().map(|person| open_requests(person, model.now)).sum();
        let held = |desk: &Value| i64::try_from(desk["holds"].as_array().expect("a list").len()).expect("few");
        let expected = [
            ("accounts", -count(&|person| person.is_erased)),
            ("erased", count(&|person| person.is_erased)),
            ("restricted", count(&|person| person.is_restricted)),
            ("erasures_waiting", count(&Person::is_waiting)),
            ("requests_open", i64::try_from(open).expect("few")),
            ("suspended", 0),
        ];
        for (name, expected) in expected {
            assert_eq!(grown(name), expected, "{name}: {after}");
        }
        assert_eq!(held(&after) - held(&self.desk_before), count(&|person| person.is_held(model.now)), "{after}");
        for purpose in PURPOSES {
            let of = |person: &&Person, decision| person.decisions.get(&purpose) == Some(&decision);
            let decided =
                |decision| i64::try_from(people().filter(|person| of(person, decision)).count()).expect("few");
            // What Anna and Ben decided when they registered.
            let before = consents(&self.desk_before, purpose);
            let [granted, withdrawn, objected] =
                [Decision::Granted, Decision::Withdrawn, Decision::Objected].map(decided);
            let registered = if purpose == PURPOSES[0] { 2 } else { 1 };
            let expected = [before[0] - registered + granted, before[1] + withdrawn + objected, before[2] + objected];
            assert_eq!(consents(&after, purpose), expected, "{purpose:?}: {after}");
        }
    }
}

/// How many consents to a purpose the desk counts as given, as not given, and as overruled by an objection.
fn consents(desk: &Value, purpose: domain::rights::consent::Purpose) -> [i64; 3] {
    let rows = desk["consents"].as_array().expect("a list").iter();
    let mine = rows.filter(|row| row["purpose"] == domain::Choice::as_str(purpose));
    mine.fold([0; 3], |sum, row| {
        let count = |name: &str| row[name].as_i64().expect("a number");
        [sum[0] + count("granted"), sum[1] + count("withdrawn"), sum[2] + count("objected")]
    })
}

/// How many requests of a person are not answered yet.
fn open_requests(person: &Person, now: u64) -> usize {
    let exports = person.exports.iter().filter(|export| export.status(now) == "pending").count();
    exports + person.deletions.iter().filter(|deletion| deletion.is_open(now)).count()
}

/// Compares exports and deletions, newest first.
fn compare_requests(model: &Model, who: Who, exports: &Value, deletions: &Value) {
    let person = model.person(who);
    let listed = exports["exports"].as_array().expect("a list");
    let found: Vec<&str> = listed.iter().map(|export| export["status"].as_str().expect("a text")).collect();
    let expected: Vec<&str> = person.exports.iter().rev().map(|export| export.status(model.now)).collect();
    assert_eq!(found, expected, "the exports of {who:?}");
    let listed = deletions["deletions"].as_array().expect("a list");
    let found: Vec<&str> = listed.iter().map(|deletion| deletion["status"].as_str().expect("a text")).collect();
    let expected: Vec<&str> = person.deletions.iter().rev().map(|deletion| deletion.state.status()).collect();
    assert_eq!(found, expected, "the deletions of {who:?}");
    for (found, deletion) in listed.iter().zip(person.deletions.iter().rev()) {
        match deletion.state {
            DeletionState::Completed(None) => {}
            DeletionState::Completed(Some(count)) => assert_eq!(found["removed"], count, "{found}"),
            DeletionState::Confirmed(ends) => {
                let left = found["seconds_left"].as_u64().expect("a number");
                let expected = ends.saturating_sub(model.now);
                assert!(left <= expected && expected < left + 600, "{left} seconds are left of {expected}");
            }
            _ => assert_eq!(found.get("removed"), None, "{found}"),
        }
    }
}

/// Compares the rule for work days, and how many are due.
fn compare_rule(model: &Model, who: Who, retention: &Value) {
    let (person, now) = (model.person(who), model.now);
    let rules = retention["rules"].as_array().expect("a list");
    let rule = rules.iter().find(|rule| rule["kind"] == "work_day").expect("every kind has a rule");
    let kept = person.rule.in_force(now);
    let due = if person.keeps(now) { 0 } else { person.expired(now).len() };
    assert_eq!(rule["data_retention_days"], json!(kept), "{who:?}: {rule}");
    assert_eq!((&rule["own"], &rule["due_count"]), (&json!(kept.is_some()), &json!(due)), "{who:?}: {rule}");
    let waiting = person.rule.waits.filter(|(_, until)| now < *until).map(|_| json!(person.rule.days));
    assert_eq!(rule.get("waiting").map(|waiting| waiting["data_retention_days"].clone()), waiting, "{who:?}: {rule}");
}

/// Compares everything that is held about a person.
fn compare_overview(person: &Person, now: u64, overview: &Value) {
    let kind = |name: &str| {
        let kinds = overview["kinds"].as_array().expect("a list");
        kinds.iter().find(|kind| kind["kind"] == name).expect("every kind").clone()
    };
    let (days, kept) = (kind("work_day"), person.rule.in_force(now));
    assert_eq!((&days["count"], &days["retention_days"]), (&json!(person.days.len()), &json!(kept)), "{overview}");
    assert_eq!(kind("wordbook_entry")["count"], person.words.len(), "{overview}");
    let goes = !person.days.is_empty() && (kept.is_some() || person.rule.waits.is_some_and(|(_, until)| now < until));
    assert_eq!(days.get("next_due_at").is_some(), goes, "whether a day goes for its age: {overview}");
    let open = &overview["open_requests"];
    let deletions = person.deletions.iter().filter(|deletion| deletion.is_open(now)).count();
    let exports = person.exports.iter().filter(|export| ["pending", "completed"].contains(&export.status(now))).count();
    assert_eq!(open["deletions"].as_array().map(Vec::len), Some(deletions), "{overview}");
    assert_eq!(open["exports"], exports, "{overview}");
    assert_eq!(overview.get("restricted_at").is_some(), person.is_restricted, "{overview}");
    assert_eq!(overview.get("held_until").is_some(), person.is_held(now), "{overview}");
    assert_eq!(overview["sessions"], person.sessions, "{overview}");
    assert_eq!(overview["keys"]["wrapping_key_version"], 1 + person.renewals, "{overview}");
}
