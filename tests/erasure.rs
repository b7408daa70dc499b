//! An erasure survives the server's death between any two of its steps: the person always ends erased, exactly once.

use std::net::SocketAddr;

use domain::rights::deletion::Scope;
use lethe::{data::ledger::Ledger, server::Store};
use serde_json::{Value, json};

use crate::program::{
    Answer, Call, DataFolder, Program, free_address, serve_without_grace, take_code, take_letter, take_token,
};

/// The points where the server is killed, in the order of an erasure, and whether the person still has keys there.
const POINTS: [(&str, bool); 6] = [
    ("erasure: leased", true),
    ("erasure: in the ledger", true),
    ("erasure: decided", true),
    ("erasure: committed", false),
    ("erasure: files removed", false),
    ("erasure: ended in the ledger", false),
];

/// A cluster that outlives the servers on it.
struct Stage {
    data: DataFolder,
    store: Store,
    address: SocketAddr,
}

impl Stage {
    async fn set() -> Self {
        let data = DataFolder::new("");
        let (store, _) = data.cluster(&[("fsync", "off")]).await;
        Self { data, store, address: free_address() }
    }

    fn serve(&self, crash_at: &str) -> Program {
        let (listen, url) = (self.address.to_string(), self.store.database.url(&self.store.database.admin, None));
        let mut program =
            Program::start_to_crash(&serve_without_grace(self.data.text(), &url, &listen), "info", crash_at);
        program.wait_for("serving");
        program
    }

    async fn post(&self, target: &str, token: Option<&str>, body: &Value) -> Answer {
        let call = Call::new(self.address, "POST", target).json(body);
        match token {
            Some(token) => call.token(token).send().await,
            None => call.send().await,
        }
    }

    async fn code(&self, email: &str) -> String {
        self.post("/v1/auth/code", None, &json!({ "email": email })).await.expect(202);
        take_code(&self.data.path().join("mail"), email).await
    }

    /// Registers a person, submits a day, and asks for a deletion; returns the access token and the mailed token.
    async fn person(&self, email: &str, wish: &Value) -> (String, String) {
        let body = json!({
            "email": email, "code": self.code(email).await, "hospital_id": "klinikum-am-see", "specialty": "surgery",
            "role_level": "specialist", "consents": ["work_hours"],
        });
        let grant = self.post("/v1/auth/register", None, &body).await.expect(201);
        let token = grant["token"].as_str().expect("a token").to_owned();
        let day = json!({ "date": "2025-12-08", "planned_hours": 8, "actual_hours": 9, "source": "manual" });
        self.post("/v1/work-events/daily", Some(&token), &day).await.expect(201);
        let export = json!({ "request_type": "full", "format": "json" });
        self.post("/v1/privacy/export-data", Some(&token), &export).await.expect(202);
        while self.files() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.post("/v1/privacy/delete-data", Some(&token), wish).await.expect(202);
        (token, take_token(&self.data.path().join("mail"), email).await)
    }

    async fn confirm(&self, token: &str, mailed: &str, phrase: &str) {
        let target = format!("/v1/privacy/confirm-deletion/{mailed}");
        self.post(&target, Some(token), &json!({ "phrase": phrase })).await.expect(200);
    }

    async fn end_leases(&self) {
        self.superuser().await.batch_execute("UPDATE jobs.jobs SET lease_until = now()").await.expect("run out");
    }

    /// Waits until every deletion is done, in the ledger too.
    async fn wait_for_jobs(&self, ledger: &Ledger) {
        for _ in 0..200 {
            let open = "SELECT count(*) FROM jobs.jobs WHERE kind = 'deletion' AND state <> 'done'";
            if self.count(open).await == 0 && ledger.unfinished().await.expect("read").is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// How many people have files in the store of exports.
    fn files(&self) -> usize {
        let folder = std::fs::read_dir(self.data.path().join("exports"));
        folder.into_iter().flatten().filter_map(Result::ok).filter(|entry| entry.path().is_dir()).count()
    }

    async fn superuser(&self) -> tokio_postgres::Client {
        let database = &self.store.database;
        db::admin(&database.address, &database.admin, None).await.expect("the superuser connects")
    }

    async fn count(&self, sql: &str) -> i64 {
        self.superuser().await.query_one(sql, &[]).await.expect("counted").get(0)
    }
}

#[tokio::test]
async fn a_server_that_dies_between_two_steps_leaves_an_erasure_that_ends() {
    let stage = Stage::set().await;
    let ledger = Ledger::new(stage.data.path().join("erasures.ledger"));
    for (number, (point, has_keys)) in (1_i64..).zip(POINTS) {
        let email = format!("person.{number}@klinik.example");
        let mut server = stage.serve(point);
        let (token, mailed) = stage.person(&email, &json!({ "deletion_type": "full" })).await;
        stage.confirm(&token, &mailed, "delete everything about me").await;
        server.wait_for("killed at");
        drop(server);
        let left = stage.count("SELECT count(*) FROM vault.subjects").await;
        assert_eq!(left, i64::from(has_keys), "{point}: killed where it was to be");

        let server = stage.serve("nowhere");
        // If the ledger does not know of the erasure yet, the dead server's lease must end first.
        stage.end_leases().await;
        take_letter(&stage.data.path().join("mail"), &email, "certificate-of-erasure").await;
        stage.wait_for_jobs(&ledger).await;
        assert_eq!(ledger.unfinished().await.expect("read"), [], "{point}");
        assert_eq!(stage.count("SELECT count(*) FROM vault.subjects").await, 0, "{point}: no keys");
        assert_eq!(stage.count("SELECT count(*) FROM vault.erased").await, number, "{point}: fenced");
        let erased = "SELECT count(*) FROM log.events WHERE event_type = 'subject.erased'";
        assert_eq!(stage.count(erased).await, number, "{point}: erased once");
        assert_eq!(stage.count("SELECT count(*) FROM read.records").await, 0, "{point}");
        assert_eq!(stage.files(), 0, "{point}: files are gone");
        let me = Call::new(stage.address, "GET", "/v1/auth/me").token(&token).send().await;
        me.expect(401);
        drop(server);
    }
}

#[tokio::test]
async fn a_server_that_dies_in_a_partial_deletion_leaves_one_that_ends() {
    let stage = Stage::set().await;
    let ledger = Ledger::new(stage.data.path().join("erasures.ledger"));
    let wish = json!({ "deletion_type": "partial", "filters": { "kinds": ["work_day"] } });
    for (number, (point, days)) in (1_i64..).zip([("deletion: in the ledger", 1), ("deletion: committed", 0)]) {
        let email = format!("person.{number}@klinik.example");
        let mut server = stage.serve(point);
        let (token, mailed) = stage.person(&email, &wish).await;
        stage.confirm(&token, &mailed, Scope::Partial.phrase()).await;
        server.wait_for("killed at");
        drop(server);
        let left = "SELECT count(*) FROM read.records WHERE kind = 'work_day'";
        assert_eq!(stage.count(left).await, days, "{point}: killed where it was to be");

        let server = stage.serve("nowhere");
        stage.end_leases().await;
        take_letter(&stage.data.path().join("mail"), &email, "certificate-of-erasure").await;
        stage.wait_for_jobs(&ledger).await;
        assert_eq!(stage.count(left).await, 0, "{point}");
        assert_eq!(
            stage.count("SELECT count(*) FROM vault.records WHERE kind = 'work_day'").await,
            0,
            "{point}: no keys"
        );
        for event_type in ["deletion.completed", "record.removed"] {
            let sql = format!("SELECT count(*) FROM log.events WHERE event_type = '{event_type}'");
            assert_eq!(stage.count(&sql).await, number, "{point}: {event_type} once");
        }
        let profile = "SELECT count(*) FROM vault.records WHERE kind = 'work_profile'";
        assert_eq!(stage.count(profile).await, number, "{point}: the rest stays");
        drop(server);
    }
}
