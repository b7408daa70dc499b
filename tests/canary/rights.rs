//! A person's requests about their rights are not on disk in clear either, and nothing of the person is left after the
//! erasure.

use serde_json::json;

use crate::{
    canary::{Needle, Person, Stage},
    program::{run, take_code, take_token, text},
    steps::rows_of,
};

const PATIENCE: usize = 500;

/// Exports, deletions that are cancelled, retention, restriction and imports; accepted and refused.
pub(super) async fn exercised(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    let agent = wanted.canary("user agent of a request about rights");
    let call = |method: &str, target: &str| stage.call(method, target).token(&anna.token).header("user-agent", &agent);
    call("GET", "/v1/privacy/data-overview").send().await.expect(200);
    let target = format!("/v1/privacy/retention/{}", wanted.canary("kind whose retention is set"));
    call("PUT", &target).json(&json!({ "data_retention_days": 30 })).send().await.expect(404);
    let wrong = json!({ "data_retention_days": wanted.canary("malformed days") });
    call("PUT", "/v1/privacy/retention/work_day").json(&wrong).send().await.expect(422);
    call("PUT", "/v1/privacy/retention/work_day").json(&json!({ "data_retention_days": 300 })).send().await.expect(200);
    let wrong = json!({ "restricted": wanted.canary("malformed switch") });
    call("PUT", "/v1/privacy/restriction").json(&wrong).send().await.expect(422);

    let filters = json!({ "test_type": wanted.canary("test_type of an export") });
    let body = json!({ "request_type": "partial", "format": "json", "filters": filters });
    call("POST", "/v1/privacy/export-data").json(&body).send().await.expect(422);
    let body = json!({ "request_type": "full", "format": "json" });
    let asked = call("POST", "/v1/privacy/export-data").json(&body).send().await.expect(202);
    let export = format!("/v1/privacy/exports/{}", asked["export_id"].as_str().expect("an id"));
    for _ in 0..PATIENCE {
        if call("GET", &export).send().await.expect(200)["status"] == "completed" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(call("GET", &export).send().await.expect(200)["status"], "completed", "the file lies there, sealed");
    let token = wanted.canary("token of a download");
    stage.call("GET", &format!("{export}/download?token={token}")).send().await.expect(404);
    let file = json!({ "exportMetadata": wanted.canary("a file that is no export") });
    call("POST", "/v1/privacy/import").json(&file).send().await.expect(422);

    let reason = wanted.canary("reason of a deletion");
    let filters = json!({ "from": "2025-10-01", "kinds": ["work_day"] });
    let body = json!({ "deletion_type": "partial", "filters": filters, "reason": reason });
    call("POST", "/v1/privacy/delete-data").json(&body).send().await.expect(202);
    let mailed = take_token(&stage.data.path().join("mail"), &anna.email).await;
    wanted.add("token of a deletion", mailed.as_bytes(), None);
    let phrase = |text: &str| json!({ "phrase": text });
    let target = format!("/v1/privacy/confirm-deletion/{}", wanted.canary("unknown token of a deletion"));
    call("POST", &target).json(&phrase("delete these records")).send().await.expect(404);
    let target = format!("/v1/privacy/confirm-deletion/{mailed}");
    call("POST", &target).json(&phrase(&wanted.canary("wrong phrase"))).send().await.expect(422);
    let shown = call("GET", "/v1/privacy/deletions").send().await.expect(200);
    assert_eq!(shown["deletions"][0]["reason"], reason, "the reason was kept, sealed");
    let target = format!("/v1/privacy/cancel-deletion/{mailed}");
    call("POST", &target).send().await.expect(200);
}

/// A legal hold by the command line. Only the person is told its reason.
pub(super) fn held(stage: &Stage, wanted: &mut Needle, anna: &Person) -> Vec<u8> {
    use std::os::unix::fs::PermissionsExt;
    let outside = tempfile::tempdir().expect("a folder");
    let reason = outside.path().join("reason");
    std::fs::write(&reason, wanted.canary("reason of a hold")).expect("written");
    std::fs::set_permissions(&reason, std::fs::Permissions::from_mode(0o600)).expect("ours alone");
    let url = stage.store.database.url(&stage.store.database.admin, None);
    let place = ["--data", stage.data.text(), "--database", &url, "--email", &anna.email];
    let reason = reason.to_str().expect("UTF-8");
    let more = ["--until", "2099-01-01T00:00:00Z", "--reason-file", reason];
    let placed = run(&[&["hold", "place"], &place[..], &more[..]].concat());
    assert!(placed.status.success(), "{}", text(&placed));
    let lifted = run(&[&["hold", "lift"], &place[..]].concat());
    assert!(lifted.status.success(), "{}", text(&lifted));
    [text(&placed), text(&lifted)].concat().into_bytes()
}

/// The end: the person signs in once more and is erased, with all files.
pub(super) async fn erased(stage: &Stage, wanted: &mut Needle, anna: &Person) {
    stage.post("/v1/auth/code", &json!({ "email": anna.email })).await.expect(202);
    let code = take_code(&stage.data.path().join("mail"), &anna.email).await;
    let grant = stage.post("/v1/auth/login", &json!({ "email": anna.email, "code": code })).await.expect(200);
    let anna = Person::new(anna.email.clone(), &grant, wanted);
    let call = |method: &str, target: &str| stage.call(method, target).token(&anna.token);
    call("POST", "/v1/privacy/delete-data").json(&json!({ "deletion_type": "full" })).send().await.expect(202);
    let mailed = take_token(&stage.data.path().join("mail"), &anna.email).await;
    let target = format!("/v1/privacy/confirm-deletion/{mailed}");
    call("POST", &target).json(&json!({ "phrase": "delete everything about me" })).send().await.expect(200);
    for _ in 0..PATIENCE {
        if call("GET", "/v1/consents").send().await.status == 401 && files_below(stage) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the person is not erased");
}

fn files_below(stage: &Stage) -> usize {
    let folder = std::fs::read_dir(stage.data.path().join("exports"));
    folder.into_iter().flatten().filter_map(Result::ok).filter(|entry| entry.path().is_dir()).count()
}

/// No row of any table leads to the erased person, except the finished job, the fence and the log.
pub(super) async fn nothing_leads_to_anybody(superuser: &tokio_postgres::Client) {
    let fence = superuser.query("SELECT subject_id FROM vault.erased", &[]).await.expect("read");
    assert_eq!(fence.len(), 1);
    let left = rows_of(superuser, fence[0].get(0)).await;
    assert!(left.iter().all(|table| table.starts_with("jobs.jobs")), "{left:?}");
}
