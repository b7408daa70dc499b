//! People with accounts, and their sessions. Promises: a session that is refused is renewed by its refresh token, or
//! else by a mailed code; a refresh whose answer was lost is repeated by the same client, which gets the same successor.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Mutex;

use crate::{
    http::{Answer, Call, Http, Reply},
    outcome::{Finding, Outcome, Wrong},
    post::{Post, code_of},
};

/// The server keeps this promise for 30 seconds.
const SAME_SUCCESSOR: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_millis(200);
const LETTER: Duration = Duration::from_secs(30);

/// Somebody with an account.
pub struct Person {
    /// Also the number of the address that this person's requests come from.
    pub number: usize,
    pub email: String,
    /// The account's public id.
    pub user: String,
    session: Mutex<Session>,
}

struct Session {
    token: String,
    refresh: String,
    device: String,
    /// When an unanswered refresh was sent first.
    asked_at: Option<Instant>,
}

impl Person {
    /// Makes an account with consent to work hours. Needs a server that answers.
    pub async fn register(http: &Http, post: &Post, number: usize) -> Outcome<Self> {
        let email = format!("person.{number}@klinik.example");
        let code = mailed_code(http, post, number, &email, None).await?;
        let body = json!({
            "email": email, "code": code, "hospital_id": "klinikum-am-see", "specialty": "surgery",
            "role_level": "specialist", "state_code": "BY", "consents": ["work_hours"],
        });
        let answer = http.send(number, &Call::post("/v1/auth/register", body), None).await.success()?;
        let session = Session {
            token: answer.text("token"),
            refresh: answer.text("refresh_token"),
            device: answer.text("device_secret"),
            asked_at: None,
        };
        Ok(Self { number, email, user: answer.text("user_id"), session: Mutex::new(session) })
    }

    pub async fn token(&self) -> String {
        self.session.lock().await.token.clone()
    }

    /// Sends a request of this person. If the session is refused, renews it and sends the request again.
    pub async fn send(&self, http: &Http, post: &Post, call: &Call) -> Reply {
        let token = self.token().await;
        let reply = http.send(self.number, call, Some(&token)).await;
        match reply {
            Reply::Answered(answer) if answer.is_problem("signed-out") => match self.renew(http, post, &token).await {
                Ok(_) => http.send(self.number, call, Some(&self.token().await)).await,
                Err(why) => Reply::Unknown(why),
            },
            other => other,
        }
    }

    /// Exchanges the refresh token, unless `stale` is not the access token any more. Without an answer the next call
    /// tries the same token again. Returns a finding if the server ended a session that it had to keep.
    pub async fn renew(&self, http: &Http, post: &Post, stale: &str) -> Result<Option<Finding>, String> {
        let mut session = self.session.lock().await;
        if session.token != stale {
            return Ok(None);
        }
        let asked_at = *session.asked_at.get_or_insert_with(Instant::now);
        let body = json!({ "refresh_token": session.refresh, "device_secret": session.device });
        match http.send(self.number, &Call::post("/v1/auth/refresh", body), None).await {
            Reply::Answered(answer) if answer.is_success() => {
                session.take(&answer);
                Ok(None)
            }
            Reply::Answered(answer) if answer.is_problem("refresh-refused") => {
                let was_kept = asked_at.elapsed() < SAME_SUCCESSOR;
                let what = format!("the session of {} ended although its newest refresh token was shown", self.email);
                self.sign_in(http, post, &mut session).await?;
                Ok(was_kept.then(|| Finding::new(Wrong::Lost, what)))
            }
            Reply::Answered(answer) => Err(answer.said()),
            Reply::Unknown(why) => Err(why),
        }
    }

    async fn sign_in(&self, http: &Http, post: &Post, session: &mut Session) -> Result<(), String> {
        let code = mailed_code(http, post, self.number, &self.email, Some(&session.device)).await;
        let code = code.map_err(|error| error.to_string())?;
        let body = json!({ "email": self.email, "code": code, "device_secret": session.device });
        let answer = http.send(self.number, &Call::post("/v1/auth/login", body), None).await.success()?;
        session.take(&answer);
        Ok(())
    }
}

impl Session {
    fn take(&mut self, answer: &Answer) {
        self.token = answer.text("token");
        self.refresh = answer.text("refresh_token");
        if let Some(device) = answer.json()["device_secret"].as_str() {
            device.clone_into(&mut self.device);
        }
        self.asked_at = None;
    }
}

async fn mailed_code(http: &Http, post: &Post, number: usize, email: &str, device: Option<&str>) -> Outcome<String> {
    let mut body = json!({ "email": email });
    if let Some(device) = device {
        body["device_secret"] = device.into();
    }
    let call = Call::post("/v1/auth/code", body);
    let sent = http.send(number, &call, None).await.success();
    if let Err(why) = sent {
        tokio::time::sleep(PAUSE).await;
        return Err(format!("no code for {email}: {why}").into());
    }
    let letter = post.take(email, "Your code: ", LETTER).await.ok_or(format!("no letter with a code to {email}"))?;
    Ok(code_of(&letter).ok_or("a letter without a code")?.to_owned())
}
