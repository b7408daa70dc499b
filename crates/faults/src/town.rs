//! What all clients share: the HTTP client, the letters, the people, and what was found.

use std::sync::{Mutex, PoisonError};

use chrono::NaiveDate;
use serde_json::Value;

use crate::{
    http::{Answer, Call, Http, Reply},
    outcome::{Finding, Outcome},
    people::Person,
    post::Post,
};

pub struct Town {
    pub http: Http,
    pub post: Post,
    pub people: Vec<Person>,
    findings: Mutex<Vec<Finding>>,
}

/// What came of a command.
pub enum Came {
    Acknowledged(Answer),
    /// The same request with the same key has to be sent again.
    Unknown(String),
    Refused(Answer),
}

/// A day as a list shows it.
#[derive(Clone, Debug)]
pub struct Shown {
    pub date: NaiveDate,
    pub minutes: u16,
    pub record: String,
}

impl Town {
    /// A town of so many people. Needs a server that answers.
    pub async fn found(http: Http, post: Post, people: usize) -> Outcome<Self> {
        let mut all = Vec::new();
        for number in 0..people {
            all.push(Person::register(&http, &post, number).await?);
        }
        Ok(Self { http, post, people: all, findings: Mutex::default() })
    }

    pub fn note(&self, finding: Finding) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
    }

    pub fn take_findings(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.findings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a command of a person.
    pub async fn command(&self, person: &Person, call: &Call) -> Came {
        match person.send(&self.http, &self.post, call).await {
            Reply::Answered(answer) if answer.is_success() => Came::Acknowledged(answer),
            Reply::Answered(answer)
                if matches!(answer.status, 408 | 429)
                    || answer.is_problem("in-flight")
                    || answer.is_problem("signed-out") =>
            {
                Came::Unknown(answer.said())
            }
            Reply::Answered(answer) => Came::Refused(answer),
            Reply::Unknown(why) => Came::Unknown(why),
        }
    }

    /// All work days of a person, oldest first.
    pub async fn days_of(&self, person: &Person) -> Result<Vec<Shown>, String> {
        let (mut days, mut cursor) = (Vec::new(), String::new());
        loop {
            let call = Call::get(format!("/v1/work-events/me?limit=1000{cursor}"));
            let answer = person.send(&self.http, &self.post, &call).await.success()?.json();
            for day in answer["events"].as_array().into_iter().flatten() {
                days.push(shown(day).ok_or_else(|| format!("a day that can't be read: {day}"))?);
            }
            let Some(next) = answer["next_cursor"].as_str() else { return Ok(days) };
            cursor = format!("&cursor={next}");
        }
    }
}

fn shown(day: &Value) -> Option<Shown> {
    Some(Shown {
        date: day["date"].as_str()?.parse().ok()?,
        minutes: u16::try_from(day["actual_minutes"].as_u64()?).ok()?,
        record: day["event_id"].as_str()?.to_owned(),
    })
}
