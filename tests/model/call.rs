//! The request of an ask: method, path, header fields and body.

use chrono::TimeDelta;
use domain::{Choice, rights::deletion::Scope};
use poem::http::Method;
use serde_json::{Value, json};

use crate::model::{
    known::Known,
    step::{Ask, Condition, Route, Who, Wrong},
    system::System,
};

pub struct Call {
    pub method: Method,
    pub path: String,
    /// The value of `If-Match` or `If-None-Match`.
    pub condition: Option<(&'static str, String)>,
    /// `null`: no body.
    pub body: Value,
}

fn call(method: Method, path: impl Into<String>, body: Value) -> Call {
    Call { method, path: path.into(), condition: None, body }
}

fn get(path: impl Into<String>) -> Call {
    call(Method::GET, path, Value::Null)
}

fn post(path: impl Into<String>, body: Value) -> Call {
    call(Method::POST, path, body)
}

fn put(path: impl Into<String>, body: Value) -> Call {
    call(Method::PUT, path, body)
}

/// The thing that is so many behind the newest.
fn back(list: &[String], back: u8) -> Option<&String> {
    list.iter().rev().nth(usize::from(back))
}

impl Known {
    fn condition(&self, day: u8, on: Condition) -> Option<(&'static str, String)> {
        let tags = self.tags.get(&day).map(Vec::as_slice).unwrap_or_default();
        let never = || "\"999\"".to_owned();
        match on {
            Condition::Nothing => None,
            Condition::Newest => Some(("if-match", tags.last().cloned().unwrap_or_else(never))),
            Condition::Older => Some(("if-match", tags.iter().rev().nth(1).cloned().unwrap_or_else(never))),
            Condition::Absent => Some(("if-none-match", "*".to_owned())),
        }
    }

    /// The path of a day, or of none if the day was never there.
    fn record(&self, day: u8) -> String {
        let id = self.records.get(&day).cloned().unwrap_or_else(|| context::RecordId::random().to_string());
        format!("/v1/records/work_day/{id}")
    }

    fn export(&self, place: u8, rest: &str) -> String {
        let id = back(&self.exports, place).cloned().unwrap_or_else(|| context::ExportId::random().to_string());
        format!("/v1/privacy/exports/{id}{rest}")
    }

    fn token(&self, place: u8) -> String {
        back(&self.tokens, place).cloned().unwrap_or_else(|| "x".repeat(43))
    }
}

impl System {
    fn day(&self, day: u8, minutes: u16) -> Value {
        json!({ "date": self.date(day), "planned_minutes": 480, "actual_minutes": minutes, "source": "manual" })
    }

    fn batch(&self, days: &[(u8, u16)]) -> Vec<Value> {
        days.iter().map(|(day, minutes)| self.day(*day, *minutes)).collect()
    }

    fn wrong_batch(&self, wrong: Wrong, days: &[(u8, u16)]) -> Vec<Value> {
        let mut days = self.batch(days);
        let first = days[0].clone();
        let last = days.last_mut().expect("a batch has days");
        match wrong {
            Wrong::InTheFuture => {
                last["date"] = json!((self.place.world.clock.now() + TimeDelta::days(3)).date_naive());
            }
            Wrong::TooLong => last["actual_minutes"] = json!(1441),
            Wrong::Repeated => days.push(first),
        }
        days
    }

    /// What an export or a deletion is about.
    fn scope(&self, range: Option<(u8, u8)>) -> (&'static str, Value) {
        match range {
            None => ("full", Value::Null),
            Some((from, to)) => {
                ("partial", json!({ "from": self.date(from), "to": self.date(to), "kinds": ["work_day"] }))
            }
        }
    }

    /// The request of an ask that needs a session.
    pub fn call(&self, who: Who, ask: &Ask) -> Call {
        let of = |who: Who| &self.people[who as usize];
        let known = of(who);
        match ask {
            Ask::Consent(purpose, granted) => {
                put(format!("/v1/consents/{}", purpose.as_str()), json!({ "granted": granted }))
            }
            Ask::Object(purpose, objected) => {
                put(format!("/v1/privacy/objections/{}", purpose.as_str()), json!({ "objected": objected }))
            }
            Ask::Submit { day, minutes, by, on } => {
                let body = self.day(*day, *minutes);
                let asked = match by {
                    Route::Daily => post("/v1/work-events/daily", body),
                    Route::Record => put("/v1/records/work_day", body),
                };
                Call { condition: known.condition(*day, *on), ..asked }
            }
            Ask::SubmitBatch(days) => post("/v1/work-events/batch", json!({ "events": self.batch(days) })),
            Ask::SubmitWrong(wrong, days) => {
                post("/v1/work-events/batch", json!({ "events": self.wrong_batch(*wrong, days) }))
            }
            Ask::SubmitWord(word, count) => put(
                "/v1/records/wordbook_entry",
                json!({
                    "word_id": format!("w{word}"), "lemma": "hej", "passive_review_count": count, "active_review_count": 0,
                }),
            ),
            Ask::ListDays(None) | Ask::UseAnEndedSession => get("/v1/work-events/me"),
            Ask::ListDays(Some((from, to))) => {
                get(format!("/v1/work-events/me?from={}&to={}", self.date(*from), self.date(*to)))
            }
            Ask::GetDay(owner, day) => get(of(*owner).record(*day)),
            Ask::RemoveDay(owner, day, on) => Call {
                condition: of(*owner).condition(*day, *on),
                ..call(Method::DELETE, of(*owner).record(*day), Value::Null)
            },
            Ask::RemoveAllDays => call(Method::DELETE, "/v1/work-events/me", Value::Null),
            Ask::Export(range) => {
                let (scope, filters) = self.scope(*range);
                let mut body = json!({ "request_type": scope, "format": "json" });
                if !filters.is_null() {
                    body["filters"] = filters;
                }
                post("/v1/privacy/export-data", body)
            }
            Ask::CancelExport(place) => post(known.export(*place, "/cancel"), Value::Null),
            Ask::Download(owner, place) => get(of(*owner).export(*place, "/download")),
            Ask::Delete(range) => {
                let (scope, filters) = self.scope(*range);
                let mut body = json!({ "deletion_type": scope });
                if !filters.is_null() {
                    body["filters"] = filters;
                }
                post("/v1/privacy/delete-data", body)
            }
            Ask::Confirm(owner, place, right_phrase) => {
                let token = of(*owner).token(*place);
                let is_full = back(&of(*owner).scopes, *place).is_none_or(|scope| scope == "full");
                let right = if is_full { Scope::Full } else { Scope::Partial }.phrase();
                let phrase = if *right_phrase { right } else { "delete" };
                post(format!("/v1/privacy/confirm-deletion/{token}"), json!({ "phrase": phrase }))
            }
            Ask::CancelDeletion(owner, place) => {
                post(format!("/v1/privacy/cancel-deletion/{}", of(*owner).token(*place)), Value::Null)
            }
            Ask::Restrict(restricted) => put("/v1/privacy/restriction", json!({ "restricted": restricted })),
            Ask::Keep(days) => put("/v1/privacy/retention/work_day", json!({ "data_retention_days": days })),
            Ask::SignOut => post("/v1/auth/logout", Value::Null),
            Ask::LookAtTheDesk => get("/v1/compliance/overview"),
            Ask::Refresh | Ask::RefreshTwice => {
                post("/v1/auth/refresh", json!({ "refresh_token": known.person.refresh_token }))
            }
            Ask::ShowUsedRefreshToken => post("/v1/auth/refresh", json!({ "refresh_token": known.used_refresh_token })),
            Ask::SignIn | Ask::SignInWithAWrongCode => post("/v1/auth/login", json!({ "email": known.person.email })),
        }
    }
}
