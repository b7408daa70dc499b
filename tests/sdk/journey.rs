//! A journey with the generated client alone: everything a client application does, against a live server. Takes the
//! server's base URL and the folder of its mail.

use std::{fs, path::PathBuf, time::Duration};

use chrono::NaiveDate;
use lethe_client::{
    Client, Error, ResponseValue,
    types::{
        AccountPatch, CodeRequest, ConsentDecision, DeletionConfirmation, DeletionRequest, DeletionState,
        ExportDataRequest, ExportFormat, ExportState, Problem, ProblemType, RefreshRequest, RegisterRequest, Risk, RoleLevel, Scope,
        SignInAnswer, Source, Specialty, StateCode, WorkDay, WorkDayBatch, builder,
    },
};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap};

const EMAIL: &str = "petra@klinik.example";
const PURPOSE: &str = "work_hours";

type Answer<T> = Result<ResponseValue<T>, Error<Problem>>;

/// The value of an answer of this status.
fn expect<T>(answer: Answer<T>, status: u16) -> T {
    let answer = answer.expect("it is not refused");
    assert_eq!(answer.status().as_u16(), status);
    answer.into_inner()
}

/// The problem of a refusal.
fn refused<T>(answer: Answer<T>, status: i32, kind: ProblemType) -> Problem {
    let Err(Error::ErrorResponse(problem)) = answer else { panic!("no problem, but {:?}", answer.err()) };
    assert_eq!((problem.type_, problem.status), (kind, status), "{problem:?}");
    assert_eq!(problem.headers()[CONTENT_TYPE], "application/problem+json");
    problem.into_inner()
}

struct Journey {
    url: String,
    mail: PathBuf,
    anyone: Client,
}

impl Journey {
    fn signed_in(&self, token: &str) -> Client {
        let authorization = format!("Bearer {token}").parse().expect("a token is plain text");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization)]);
        let inner = reqwest::Client::builder().default_headers(headers).build().expect("a client");
        Client::new_with_client(&self.url, inner)
    }

    /// Takes a letter from the mail in which something is found.
    async fn mailed(&self, find: impl Fn(&str) -> Option<String>) -> String {
        for _ in 0..500 {
            for entry in fs::read_dir(&self.mail).expect("a folder of mail") {
                let path = entry.expect("an entry").path();
                let text = fs::read_to_string(&path).unwrap_or_default();
                let is_letter = path.extension().is_some_and(|extension| extension == "eml");
                if let Some(found) = find(&text).filter(|_| is_letter && text.contains(EMAIL)) {
                    fs::remove_file(path).expect("the letter is taken");
                    return found;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no letter to {EMAIL}")
    }

    async fn register(&self) -> SignInAnswer {
        expect(self.anyone.auth_code().body(CodeRequest::builder().email(EMAIL)).send().await, 202);
        let after = |text: &str| text.split_once("Your code: ").map(|(_, rest)| rest[..6].to_owned());
        let code = self.mailed(after).await;
        let other = if code == "000000" { "000001" } else { "000000" };
        let wrong = self.anyone.auth_register().body(registration(other)).send().await;
        refused(wrong, 401, ProblemType::ProblemsCodeRefused);
        expect(self.anyone.auth_register().body(registration(&code)).send().await, 201)
    }

    async fn export(&self, me: &Client) {
        let wish = ExportDataRequest::builder().request_type(Scope::Full).format(ExportFormat::Json);
        let id = expect(me.export_request().body(wish).send().await, 202).export_id;
        while expect(me.export_get().export_id(id).send().await, 200).status != ExportState::Completed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let token = expect(me.export_token().export_id(id).send().await, 200).token;
        // The token opens the file without a sign-in.
        let file = expect(self.anyone.export_download().export_id(id).token(token).send().await, 200);
        assert!(serde_json::Value::from(file).to_string().contains("klinikum-am-wald"));
        let wrong = self.anyone.export_download().export_id(id).token("another").send().await;
        refused(wrong, 404, ProblemType::ProblemsMissing);
    }

    async fn deletion(&self, me: &Client) {
        let wish = DeletionRequest::builder().deletion_type(Scope::Full);
        let asked = expect(me.deletion_request().body(wish).send().await, 202).deletion_id;
        let is_token = |line: &&str| {
            line.len() == 43 && !line.contains(|it: char| !it.is_ascii_alphanumeric() && it != '-' && it != '_')
        };
        let token = self.mailed(|text| text.lines().map(str::trim_end).find(is_token).map(str::to_owned)).await;
        let confirm = async |phrase: &str| {
            let phrase = DeletionConfirmation::builder().phrase(phrase);
            me.deletion_confirm().token(token.as_str()).body(phrase).send().await
        };
        refused(confirm("please").await, 422, ProblemType::ProblemsInvalidInput);
        let confirmed = expect(confirm("delete everything about me").await, 200);
        assert_eq!(confirmed.status, DeletionState::Confirmed);
        let barred = me.work_day_submit().body(day("2025-12-08", 480)).send().await;
        refused(barred, 409, ProblemType::ProblemsDeletionWaiting);
        let cancelled = expect(me.deletion_cancel().token(token.as_str()).send().await, 200);
        assert_eq!((cancelled.deletion_id, cancelled.status), (asked, DeletionState::Cancelled));
    }

    async fn ends(&self, me: &Client, grant: &SignInAnswer) {
        assert_eq!(expect(me.work_day_delete_all().send().await, 200).deleted_count, 5);
        let body = RefreshRequest::builder().refresh_token(grant.refresh_token.as_str());
        let fresh = expect(self.anyone.auth_refresh().body(body).send().await, 200);
        let again = self.signed_in(&fresh.token);
        assert!(expect(again.work_day_list().send().await, 200).events.is_empty());
        expect(again.auth_logout().send().await, 204);
        refused(again.account_get().send().await, 401, ProblemType::ProblemsSignedOut);
    }
}

fn registration(code: &str) -> builder::RegisterRequest {
    RegisterRequest::builder()
        .email(EMAIL)
        .code(code)
        .hospital_id("klinikum-am-see")
        .specialty(Specialty::Surgery)
        .role_level(RoleLevel::Specialist)
        .state_code(StateCode::By)
}

fn day(date: &str, minutes: i32) -> builder::WorkDay {
    let date: NaiveDate = date.parse().expect("a date");
    WorkDay::builder().date(date).planned_minutes(480).actual_minutes(minutes).source(Source::Geofence)
}

async fn consents(me: &Client) {
    let problem = me.work_day_submit().body(day("2025-12-08", 552)).send().await;
    let problem = refused(problem, 403, ProblemType::ProblemsConsentNeeded);
    assert_eq!(problem.purpose.as_deref(), Some(PURPOSE));
    let offered = expect(me.consent_list().send().await, 200).consents;
    assert!(offered.len() > 1 && offered.iter().all(|consent| !consent.granted && consent.decided_at.is_none()));
    for granted in [true, false, true] {
        let decision = ConsentDecision::builder().granted(granted);
        let decided = expect(me.consent_decide().purpose(PURPOSE).body(decision).send().await, 200);
        assert_eq!(decided.granted, granted);
    }
    let history = expect(me.consent_history().purpose(PURPOSE).send().await, 200);
    assert_eq!(history.decisions.iter().map(|decision| decision.granted).collect::<Vec<_>>(), [true, false, true]);
}

async fn work_days(me: &Client) {
    let submit = async |minutes| {
        me.work_day_submit().idempotency_key("a-key-of-the-journey").body(day("2025-12-08", minutes)).send().await
    };
    let first = expect(submit(552).await, 201);
    assert_eq!(expect(submit(552).await, 201).event_id, first.event_id);
    refused(submit(553).await, 422, ProblemType::ProblemsKeyReused);
    let amended = expect(me.work_day_submit().body(day("2025-12-08", 555)).send().await, 200);
    assert_eq!((amended.event_id, amended.actual_hours), (first.event_id, 9.25));
    let dates = ["2025-12-04", "2025-12-05", "2025-12-06", "2025-12-07", "2025-12-08"];
    let days: Vec<WorkDay> = dates.iter().map(|date| day(date, 480).try_into().expect("a day")).collect();
    let batch = expect(me.work_day_submit_batch().body(WorkDayBatch::builder().events(days)).send().await, 200);
    assert_eq!((batch.created_count, batch.updated_count), (4, 1));

    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let list = me.work_day_list().limit(2);
        let list = cursor.map_or(list.clone(), |cursor: String| list.cursor(cursor));
        let page = expect(list.send().await, 200);
        seen.extend(page.events.iter().map(|event| event.date.to_string()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, dates);
}

async fn account(me: &Client, grant: &SignInAnswer) {
    let answer = me.account_get().send().await.expect("it is not refused");
    assert_eq!((answer.user_id, answer.email.as_str()), (grant.user_id, EMAIL));
    let tag = answer.headers()[ETAG].to_str().expect("a tag is plain text").to_owned();
    let patch = async || {
        let patch =
            AccountPatch::builder().hospital_id(Some("klinikum-am-wald".parse().expect("a name of a hospital")));
        me.account_rectify().if_match(tag.as_str()).body(patch).send().await
    };
    assert_eq!(expect(patch().await, 200).hospital_id.as_deref(), Some("klinikum-am-wald"));
    refused(patch().await, 412, ProblemType::ProblemsChanged);
}

async fn audit(me: &Client) {
    let page = expect(me.audit_list().action("record").limit(3).send().await, 200);
    assert!(page.entries.len() == 3 && page.entries.iter().all(|entry| entry.action.starts_with("record.")));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("an address");
    let mail = arguments.next().expect("a folder of mail").into();
    let journey = Journey { anyone: Client::new(&url), url, mail };
    assert_eq!(expect(journey.anyone.health_get().send().await, 200).status, "ok");
    let unknown: ProblemType = serde_json::from_str(r#""/problems/of-a-newer-server""#).expect("it is taken");
    assert_eq!(unknown, ProblemType::Newer);
    // `unknown` is a risk of its own.
    let risk = |text: &str| serde_json::from_str::<Risk>(text).expect("it is taken");
    assert_eq!((risk(r#""unknown""#), risk(r#""of-a-newer-server""#)), (Risk::Unknown, Risk::Newer));
    let grant = journey.register().await;
    let me = journey.signed_in(&grant.token);
    consents(&me).await;
    work_days(&me).await;
    account(&me, &grant).await;
    audit(&me).await;
    journey.export(&me).await;
    journey.deletion(&me).await;
    journey.ends(&me, &grant).await;
    println!("the journey ended well");
}
