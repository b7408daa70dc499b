//! Every operation of the document, with its caller and everything that it needs to succeed. An operation that is
//! missing here fails the tests that go through all of them, so that a new one is not forgotten.

use std::sync::atomic::{AtomicU32, Ordering};

use context::{Client, Ctx, ExportId, Personal, RequestId, Role, SubjectId};
use domain::{
    RoleLevel, Specialty,
    desk::alert::Severity,
    kinds::WorkProfile,
    rights::{consent::Purpose, deletion::Scope},
};
use lethe::{
    app::{
        Alerts,
        desk::{alert, alert_rules::Rules},
        identity::{
            account::{self, Registration},
            staff,
        },
        rights::export_run,
    },
    auth::codes::Proof,
    jobs::run_due,
    server::Settings,
};
use poem::{
    http::{Method, StatusCode},
    test::TestResponse,
};
use serde_json::{Value, json};

use crate::{
    documented::{self, Documented},
    steps::{ask_to_delete, confirm_deletion, sign_in, subject_of, submit_day},
    support::{Person, World, day, expect, registration},
    tree::covered,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person, about their own data.
    Person,
    /// The compliance desk.
    Staff,
    /// A caller who is not signed in.
    Nobody,
}

/// A call that succeeds.
#[derive(Clone)]
pub struct Call {
    who: Who,
    method: Method,
    path: String,
    body: Option<String>,
}

fn call(who: Who, method: Method, path: impl Into<String>, body: &Value) -> Call {
    let body = (!body.is_null()).then(|| body.to_string());
    Call { who, method, path: path.into(), body }
}

/// The ids of the document's operations, in the document's order.
pub fn ids() -> Vec<String> {
    documented::operations().map(|operation| operation.id.to_owned()).collect()
}

/// A world with a member of the compliance desk.
pub struct Stage {
    pub world: World,
    pub staff: Person,
    people: AtomicU32,
}

impl Call {
    /// The same call of another caller.
    pub fn by(&self, who: Who) -> Self {
        Self { who, ..self.clone() }
    }

    pub fn who(&self) -> Who {
        self.who
    }

    /// A call of somebody who is not signed in, without a body. What has to be in the path or the query is 1.
    pub fn plain(operation: &Documented) -> Self {
        let segment = |segment: &str| if segment.starts_with('{') { "1".to_owned() } else { segment.to_owned() };
        let path = operation.path.split('/').map(segment).collect::<Vec<_>>().join("/");
        let needed = operation.parameters().filter(|it| it["in"] == "query" && it["required"] == true);
        let call = Self { who: Who::Nobody, method: operation.method.clone(), path, body: None };
        needed.fold(call, |call, it| call.asking(it["name"].as_str().expect("a name"), "1"))
    }

    /// The path with the query.
    pub fn target(&self) -> &str {
        &self.path
    }

    /// The JSON body; `null` if the call has none.
    pub fn body(&self) -> Value {
        self.body.as_deref().map(|body| serde_json::from_str(body).expect("JSON")).unwrap_or_default()
    }

    /// The body as it is sent.
    pub fn text(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// The call with another body.
    pub fn with(&self, body: &Value) -> Self {
        Self { body: Some(body.to_string()), ..self.clone() }
    }

    /// The call with another id in its path.
    pub fn elsewhere(&self) -> Self {
        let other = context::EventId::random().to_string();
        let segment = |segment: &str| if segment.len() == other.len() { other.clone() } else { segment.to_owned() };
        Self { path: self.path.split('/').map(segment).collect::<Vec<_>>().join("/"), ..self.clone() }
    }

    /// The call with a parameter of the query; one of the same name is replaced.
    pub fn asking(&self, name: &str, value: &str) -> Self {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with(&format!("{name}=")));
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let pairs: Vec<String> = kept.map(str::to_owned).chain([format!("{name}={value}")]).collect();
        Self { path: format!("{path}?{}", pairs.join("&")), ..self.clone() }
    }
}

impl Stage {
    pub async fn new() -> Self {
        let world = World::new().await;
        let email = "carla@lethe.example";
        staff::add(&world.app, email, Role::Compliance).await.expect("staff are made");
        let staff = sign_in(&world, email).await;
        Self { world, staff, people: AtomicU32::new(0) }
    }

    /// The same on a server without rules that raise alerts, which suspends nobody.
    pub async fn without_alert_rules(self) -> Self {
        let usual = Settings::new(self.world.folder.clone(), self.world.clock.clone());
        let alerts = Alerts { rules: Rules { rules: Vec::new() }, ..Alerts::default() };
        let settings = Settings { alerts, requests_per_client: 0, requests_per_account: 0, connections: 8, ..usual };
        Self { world: self.world.again(&settings).await, ..self }
    }

    /// A new person who has one day, registered without mail and its limits.
    pub async fn newcomer(&self) -> Person {
        let email = format!("person{}@klinik.example", self.people.fetch_add(1, Ordering::Relaxed));
        let work = WorkProfile {
            hospital_id: "klinik-0".to_owned(),
            specialty: Specialty::Surgery,
            role_level: RoleLevel::Specialist,
            state_code: None,
            country_code: WorkProfile::DEFAULT_COUNTRY.to_owned(),
            time_zone: WorkProfile::DEFAULT_TIME_ZONE.to_owned(),
        };
        let person = Registration { email: email.clone(), work: Some(work), consents: vec![Purpose::WorkHours] };
        let client = Client { address: Personal::new("192.0.2.7".to_owned()), agent: Personal::new(String::new()) };
        let ctx = Ctx::anonymous(self.world.clock.clone(), client, RequestId::random());
        let grant = account::register(&self.world.app, &ctx, &person, &Proof::Operator).await.expect("registered");
        let (user_id, token) = (grant.claims.user.to_string(), grant.token);
        let person = Person { email, user_id, token, refresh_token: grant.refresh_token };
        submit_day(&self.world, &person, "2025-12-08").await;
        person
    }

    /// Sends a call as its caller.
    pub async fn send(&self, person: &Person, call: &Call) -> TestResponse {
        self.send_with(person, call, &[]).await
    }

    /// Sends a call as its caller, with header fields.
    pub async fn send_with(&self, person: &Person, call: &Call, fields: &[(&str, &str)]) -> TestResponse {
        let client = self.world.client();
        let request = client.request(call.method.clone(), call.path.clone());
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = match &call.body {
            Some(body) => request.content_type("application/json").body(body.clone()),
            None => request,
        };
        match call.who {
            Who::Person => person.sign(request).send().await,
            Who::Staff => self.staff.sign(request).send().await,
            Who::Nobody => request.send().await,
        }
    }

    /// Prepares everything that an operation needs to succeed, and returns its call. `None` for an unknown operation.
    pub async fn prepare(&self, person: &Person, operation: &str) -> Option<Call> {
        if let Some(call) = self.of_public(person, operation).await {
            return Some(call);
        }
        if let Some(call) = self.of_staff(person, operation).await {
            return Some(call);
        }
        if let Some(call) = self.of_requests(person, operation).await {
            return Some(call);
        }
        self.of_person(person, operation).await
    }

    /// Operations without sign-in that are about a person.
    async fn of_public(&self, person: &Person, operation: &str) -> Option<Call> {
        let post = |path: &str, body: &Value| call(Who::Nobody, Method::POST, path, body);
        Some(match operation {
            "auth_code" => post("/v1/auth/code", &json!({ "email": person.email })),
            "auth_login" => {
                let code = self.world.code(&person.email).await;
                post("/v1/auth/login", &json!({ "email": person.email, "code": code }))
            }
            "auth_register" => {
                let email = format!("new.{}", person.email);
                post("/v1/auth/register", &registration(&email, &self.world.code(&email).await))
            }
            "auth_refresh" => post("/v1/auth/refresh", &json!({ "refresh_token": person.refresh_token })),
            _ => return None,
        })
    }

    /// Operations of staff.
    async fn of_staff(&self, person: &Person, operation: &str) -> Option<Call> {
        let (world, staff) = (&self.world, &self.staff);
        let get = |path: String| call(Who::Staff, Method::GET, path, &Value::Null);
        let post = |path: String, body: &Value| call(Who::Staff, Method::POST, path, body);
        let facts = json!({ "reference": "INC-2026-17", "nature": ["confidentiality"], "kinds": ["work_day"],
                            "began_at": "2026-01-01T00:00:00Z", "risk": "unknown" });
        let breach = async || {
            let opened = expect(world.post(staff, "/v1/compliance/breaches", &facts).await, StatusCode::CREATED).await;
            format!("/v1/compliance/breaches/{}", opened["breach_id"].as_str().expect("an id"))
        };
        let wish = json!({ "email": person.email, "reason": "goes through all operations" });
        Some(match operation {
            "activity_list" => get("/v1/admin/activity".to_owned()),
            "job_list" => get("/v1/admin/jobs".to_owned()),
            "projection_list" => get("/v1/admin/projections".to_owned()),
            "alert_list" => get("/v1/compliance/alerts".to_owned()),
            "alert_acknowledge" => {
                alert::alarm(&world.app, "goes_through_all_operations", Severity::Warning, 1).await;
                let open = expect(world.get(staff, "/v1/compliance/alerts?open=true").await, StatusCode::OK).await;
                let id = open["alerts"][0]["alert_id"].as_str().expect("an alert").to_owned();
                post(format!("/v1/compliance/alerts/{id}/acknowledge"), &Value::Null)
            }
            "breach_list" => get("/v1/compliance/breaches".to_owned()),
            "breach_get" => get(breach().await),
            "breach_open" => post("/v1/compliance/breaches".to_owned(), &facts),
            "breach_assess" => call(Who::Staff, Method::PUT, breach().await, &facts),
            "breach_affected" => get(format!("{}/affected", breach().await)),
            "breach_step" => post(format!("{}/steps", breach().await), &json!({ "step": "authority_notified" })),
            "delivery_list" => get("/v1/compliance/deliveries".to_owned()),
            "delivery_replay" => post("/v1/compliance/deliveries/replay".to_owned(), &json!({})),
            "impact_assessment" => get("/v1/compliance/impact-assessment".to_owned()),
            "processing_record" => get("/v1/compliance/processing-record".to_owned()),
            "compliance_overview" => get("/v1/compliance/overview".to_owned()),
            "data_open" => post("/v1/compliance/openings".to_owned(), &wish),
            "opening_records" => {
                let opened = expect(world.post(staff, "/v1/compliance/openings", &wish).await, StatusCode::OK).await;
                let id = opened["opening_id"].as_str().expect("an id");
                get(format!("/v1/compliance/openings/{id}/records?kind=work_day"))
            }
            "request_list" => get("/v1/compliance/requests".to_owned()),
            "request_extend" => {
                let (asked, _) = ask_to_delete(world, person, &json!({ "deletion_type": "full" })).await;
                let id = asked["deletion_id"].as_str().expect("an id");
                post(
                    format!("/v1/compliance/requests/{id}/extension"),
                    &json!({ "reason": "goes through all operations" }),
                )
            }
            "trail_list" => get("/v1/compliance/trail".to_owned()),
            _ => return None,
        })
    }

    /// Operations that need a person's request in a certain state: deletions and exports.
    async fn of_requests(&self, person: &Person, operation: &str) -> Option<Call> {
        let world = &self.world;
        let get = |path: String| call(Who::Person, Method::GET, path, &Value::Null);
        let post = |path: String, body: &Value| call(Who::Person, Method::POST, path, body);
        let full = json!({ "deletion_type": "full" });
        let wish = json!({ "request_type": "full", "format": "json" });
        let ask = async || {
            let asked = world.post(person, "/v1/privacy/export-data", &wish).await;
            expect(asked, StatusCode::ACCEPTED).await["export_id"].as_str().expect("an id").to_owned()
        };
        let written = async || {
            let id = ask().await;
            run_due(&world.app).await.expect("jobs run");
            format!("/v1/privacy/exports/{id}")
        };
        Some(match operation {
            "deletion_request" => post("/v1/privacy/delete-data".to_owned(), &full),
            "deletion_confirm" => {
                let (_, token) = ask_to_delete(world, person, &full).await;
                post(format!("/v1/privacy/confirm-deletion/{token}"), &json!({ "phrase": Scope::Full.phrase() }))
            }
            "deletion_cancel" => {
                let (_, token) = ask_to_delete(world, person, &full).await;
                confirm_deletion(world, person, &token, Scope::Full).await;
                post(format!("/v1/privacy/cancel-deletion/{token}"), &Value::Null)
            }
            "deletion_list" => get("/v1/privacy/deletions".to_owned()),
            "deletion_get" => {
                let (asked, _) = ask_to_delete(world, person, &full).await;
                get(format!("/v1/privacy/deletions/{}", asked["deletion_id"].as_str().expect("an id")))
            }
            "export_request" => post("/v1/privacy/export-data".to_owned(), &wish),
            "export_list" => get("/v1/privacy/exports".to_owned()),
            "export_get" => get(format!("/v1/privacy/exports/{}", ask().await)),
            "export_cancel" => post(format!("/v1/privacy/exports/{}/cancel", ask().await), &Value::Null),
            "export_retry" => {
                let id = ask().await;
                let (subject, export) =
                    (SubjectId(subject_of(world, person).await), ExportId(id.parse().expect("an id")));
                export_run::run(&world.app, subject, export, i32::MAX).await.expect("given up");
                post(format!("/v1/privacy/exports/{id}/retry"), &Value::Null)
            }
            "export_token" => post(format!("{}/token", written().await), &Value::Null),
            "export_download" => get(format!("{}/download", written().await)),
            "import" => {
                let document = world.get(person, format!("{}/download", written().await)).await;
                let document = document.0.into_body().into_string().await.expect("a document");
                let path = "/v1/privacy/import?dry_run=true".to_owned();
                Call { body: Some(document), ..call(Who::Person, Method::POST, path, &Value::Null) }
            }
            _ => return None,
        })
    }

    /// All other operations of a person.
    async fn of_person(&self, person: &Person, operation: &str) -> Option<Call> {
        let world = &self.world;
        let get = |path: String| call(Who::Person, Method::GET, path, &Value::Null);
        let put = |path: &str, body: &Value| call(Who::Person, Method::PUT, path, body);
        let new_day = day("2025-12-09", 8.0, 9.0);
        let record = async || submit_day(world, person, "2025-12-10").await;
        Some(match operation {
            "auth_logout" => call(Who::Person, Method::POST, "/v1/auth/logout", &Value::Null),
            "account_get" => get("/v1/auth/me".to_owned()),
            "account_rectify" => call(Who::Person, Method::PATCH, "/v1/auth/me", &json!({ "role_level": "senior" })),
            "consent_list" => get("/v1/consents".to_owned()),
            "consent_decide" => put("/v1/consents/work_hours", &json!({ "granted": false })),
            "consent_history" => get("/v1/consents/work_hours/history".to_owned()),
            "receipt_get" => {
                let history = world.get(person, "/v1/consents/work_hours/history").await;
                let history = expect(history, StatusCode::OK).await;
                let id = history["decisions"][0]["receipt_id"].as_str().expect("a decision");
                get(format!("/v1/consents/receipts/{id}"))
            }
            "audit_list" => get("/v1/privacy/audit-log".to_owned()),
            "audit_proof" => {
                let log = expect(world.get(person, "/v1/privacy/audit-log").await, StatusCode::OK).await;
                let id = log["entries"][0]["id"].as_str().expect("an entry").to_owned();
                covered(world).await;
                get(format!("/v1/privacy/audit-log/{id}/proof"))
            }
            "overview_get" => get("/v1/privacy/data-overview".to_owned()),
            "objection_decide" => put("/v1/privacy/objections/work_hours", &json!({ "objected": true })),
            "restriction_get" => get("/v1/privacy/restriction".to_owned()),
            "restriction_decide" => put("/v1/privacy/restriction", &json!({ "restricted": true })),
            "retention_get" => get("/v1/privacy/retention".to_owned()),
            "retention_set" => put("/v1/privacy/retention/work_day", &json!({ "data_retention_days": 30 })),
            "record_list" => get("/v1/records/work_day".to_owned()),
            "record_submit" => {
                let body = domain::kinds::WORK_DAY.example().into_inner();
                put(
                    "/v1/records/work_day",
                    &json!({ "date": "2025-12-09", "planned_minutes": body["planned_minutes"],
                                                     "actual_minutes": body["actual_minutes"], "source": body["source"] }),
                )
            }
            "record_get" => get(format!("/v1/records/work_day/{}", record().await)),
            "record_remove" => {
                let path = format!("/v1/records/work_day/{}", record().await);
                call(Who::Person, Method::DELETE, path, &Value::Null)
            }
            "work_day_submit" => call(Who::Person, Method::POST, "/v1/work-events/daily", &new_day),
            "work_day_submit_batch" => {
                call(Who::Person, Method::POST, "/v1/work-events/batch", &json!({ "events": [new_day] }))
            }
            "work_day_delete_all" => call(Who::Person, Method::DELETE, "/v1/work-events/me", &Value::Null),
            "work_day_list" => get("/v1/work-events/me".to_owned()),
            _ => return None,
        })
    }
}
