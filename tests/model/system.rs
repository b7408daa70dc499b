//! The server: takes the steps of a sequence over its routes, and compares each answer.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{NaiveDate, TimeDelta};
use domain::kinds::{SCREENING, WORK_DAY};
use lethe::{
    app::{AppError, rights::hold},
    auth::Claims,
};
use poem::http::StatusCode;
use serde_json::{Value, json};

use crate::{
    model::{
        known::Known,
        place::Place,
        state::Model,
        step::{Ask, Evaluation, Step, Who},
        told::Told,
    },
    steps::{Answer, sign_in, state_of},
};

pub struct System {
    pub place: Arc<Place>,
    pub people: [Known; 2],
    first_day: NaiveDate,
    guest: Option<String>,
    carla: Claims,
    /// What the desk showed before the sequence began.
    pub desk_before: Value,
}

impl System {
    pub async fn begin() -> Self {
        let (place, number) = Place::next().await;
        let mut people = Vec::new();
        for (name, consents) in [("anna", json!(["work_hours", "wordbook"])), ("ben", json!(["work_hours"]))] {
            people.push(Known::new(&place, &format!("{name}-{number}"), &consents).await);
        }
        let world = &place.world;
        let carla = sign_in(world, &place.carla.email).await;
        let carla = world.app.tokens.verify(&carla.token, world.clock.now()).expect("carla's token is good");
        let first_day = world.clock.now().date_naive() - TimeDelta::days(30);
        let Ok(people) = people.try_into() else { unreachable!("two people are two") };
        let mut system = Self { place: place.clone(), people, first_day, guest: None, carla, desk_before: Value::Null };
        system.desk_before = system.desk().await;
        system
    }

    pub fn date(&self, day: u8) -> NaiveDate {
        self.first_day + TimeDelta::days(i64::from(day))
    }

    /// A good access token of a session.
    pub fn token(&self, claims: &Claims) -> String {
        let world = &self.place.world;
        world.app.tokens.issue(claims, world.clock.now()).0
    }

    pub async fn desk(&self) -> Value {
        let token = self.token(&self.carla);
        self.look(&token, "/v1/compliance/overview").await
    }

    /// What is shown at a path to the holder of a token.
    pub async fn look(&self, token: &str, path: &str) -> Value {
        let request = self.place.client.get(path).header("authorization", format!("Bearer {token}"));
        let answer = Answer::of(request.send().await).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    /// Takes a step, and compares its answer with what the model was told.
    pub async fn take(&mut self, model: &Model, step: &Step) {
        // A sign-in that is refused was preceded by a code, and a wrong code is counted.
        let is_sign_in = matches!(step, Step::Ask(_, Ask::SignIn | Ask::SignInWithAWrongCode));
        let is_idle = matches!(model.told, Told::Refused(_)) && !model.changed && !is_sign_in;
        let place = self.place.clone();
        let before = if is_idle { Some(state_of(&place.superuser).await) } else { None };
        match step {
            Step::Ask(who, ask) => self.ask(model, *who, ask, None).await,
            Step::AskOnce(who, ask, key) => self.ask(model, *who, ask, Some(*key)).await,
            Step::StaffLooksAtTheDesk => self.compare_desk(model).await,
            Step::StaffListsDays => {
                let request = place.client.get("/v1/work-events/me").header("authorization", self.carla());
                self.compare_answer(model, &Answer::of(request.send().await).await);
            }
            Step::StaffOpens(who) => self.open(model, *who).await,
            Step::PlaceHold(who, hours) => {
                let until = place.world.clock.now() + TimeDelta::hours(i64::try_from(*hours).expect("few hours"));
                self.hold(model, *who, Some((until, "a court asked for it"))).await;
            }
            Step::LiftHold(who) => self.hold(model, *who, None).await,
            Step::GuestArrives => {
                let answer = Answer::of(place.client.post("/v1/guests").send().await).await;
                self.compare_answer(model, &answer);
                self.guest = answer.json()["token"].as_str().map(str::to_owned);
            }
            Step::GuestAsks(what) => {
                let (kind, body) = match what {
                    Evaluation::Screening => ("screening", SCREENING.example().into_inner()),
                    Evaluation::Incomplete => ("screening", json!({ "left": [] })),
                    Evaluation::WorkDay => ("work_day", WORK_DAY.example().into_inner()),
                };
                let request = place.client.post(format!("/v1/guests/evaluate/{kind}"));
                let request = request.header("guest-token", self.guest.as_deref().unwrap_or("none"));
                self.compare_answer(model, &Answer::of(request.body_json(&body).send().await).await);
            }
            Step::LetPass(hours) => {
                place.world.clock.advance(TimeDelta::hours(i64::try_from(*hours).expect("few hours")));
            }
            Step::RunJobs => place.run_jobs().await,
        }
        if let Some(before) = before {
            assert_eq!(state_of(&place.superuser).await, before, "what is refused changes nothing");
        }
    }

    fn carla(&self) -> String {
        format!("Bearer {}", self.token(&self.carla))
    }

    /// Opens a person's data as a member of staff, and reads their days.
    async fn open(&self, model: &Model, who: Who) {
        let wish =
            json!({ "subject_id": self.people[who as usize].subject, "reason": "They asked by phone to see a day." });
        let client = &self.place.client;
        let request = client.post("/v1/compliance/openings").header("authorization", self.carla());
        let answer = Answer::of(request.body_json(&wish).send().await).await;
        if answer.status != StatusCode::OK {
            return self.compare_answer(model, &answer);
        }
        let id = answer.json()["opening_id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/compliance/openings/{id}/records?kind=work_day");
        let request = client.get(path).header("authorization", self.carla());
        self.compare_answer(model, &Answer::of(request.send().await).await);
    }

    async fn hold(&self, model: &Model, who: Who, hold: Option<(chrono::DateTime<chrono::Utc>, &str)>) {
        let email = &self.people[who as usize].person.email;
        let outcome = hold::decide(&self.place.world.app, email, hold).await;
        match &model.told {
            Told::Refused(_) => assert!(matches!(outcome, Err(AppError::NotFound(_))), "{outcome:?}"),
            _ => outcome.expect("the hold is placed or lifted"),
        }
    }

    async fn ask(&mut self, model: &Model, who: Who, ask: &Ask, key: Option<u8>) {
        let world = &self.place.clone().world;
        if *ask == Ask::ShowUsedRefreshToken {
            world.clock.advance(TimeDelta::seconds(31));
        }
        let mut asked = self.call(who, ask);
        let known = &self.people[who as usize];
        match ask {
            Ask::SignIn => asked.body["code"] = json!(world.code(&known.person.email).await),
            Ask::SignInWithAWrongCode => asked.body["code"] = json!("000000"),
            _ => {}
        }
        let token = if *ask == Ask::UseAnEndedSession { &known.ended_token } else { &known.person.token };
        let client = &self.place.client;
        let send = async || {
            let request = client.request(asked.method.clone(), asked.path.clone());
            let fields = [
                ask.needs_session().then(|| ("authorization", format!("Bearer {token}"))),
                asked.condition.clone(),
                key.map(|key| ("idempotency-key", format!("key-{key}"))),
            ];
            let request =
                fields.into_iter().flatten().fold(request, |request, (name, value)| request.header(name, value));
            let request = if asked.body.is_null() { request } else { request.body_json(&asked.body) };
            Answer::of(request.send().await).await
        };
        let answer = send().await;
        self.compare_answer(model, &answer);
        if *ask == Ask::RefreshTwice && answer.status == StatusCode::OK {
            let again = send().await;
            assert_eq!(again.json()["refresh_token"], answer.json()["refresh_token"], "the same client, at once");
        }
        let known = &mut self.people[who as usize];
        let repeated = key.map(|key| (ask.operation().expect("it takes a key"), key));
        known.compare_replay(model, repeated, &answer);
        if answer.status.is_success() && answer.header("idempotency-replayed").is_none() {
            let mailed = matches!(ask, Ask::Delete(_)).then_some(&known.person.email);
            let mailed = match mailed {
                Some(email) => Some(world.mailed_token(email).await),
                None => None,
            };
            known.remember(ask, &answer, mailed);
            if let Ask::SubmitBatch(days) = ask {
                self.learn_tags(who, days).await;
            }
        }
        let known = &mut self.people[who as usize];
        if *ask == Ask::ShowUsedRefreshToken && model.changed {
            known.ended_token.clone_from(&known.person.token);
        }
    }
}

impl System {
    /// Looks up ids and tags of days, because the answer to a batch names none.
    async fn learn_tags(&mut self, who: Who, days: &[(u8, u16)]) {
        let token = self.token(&self.people[who as usize].watcher);
        let listed = self.look(&token, "/v1/work-events/me").await;
        let listed = listed["events"].as_array().expect("a list").iter();
        let ids: BTreeMap<u8, String> =
            listed.map(|day| (self.day_of(day).0, day["event_id"].as_str().expect("an id").to_owned())).collect();
        for (day, _) in days {
            let id = ids[day].clone();
            let request = self.place.client.get(format!("/v1/records/work_day/{id}"));
            let answer = request.header("authorization", format!("Bearer {token}")).send().await;
            let tag = answer.0.header("etag").expect("a tag").to_owned();
            self.people[who as usize].keep_tag(*day, id, tag);
        }
    }
}
