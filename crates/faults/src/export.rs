//! Exports: asked for while faults happen, and downloaded afterwards.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    http::{Call, Reply},
    outcome::{Finding, Wrong},
    town::{Came, Town},
};

const PAUSE: Duration = Duration::from_millis(100);

/// An export that was asked for.
struct Export {
    person: usize,
    call: Call,
    /// Its id, once the request was answered.
    id: Option<String>,
}

/// Exports that were asked for and not yet downloaded, and the ids of all.
#[derive(Default)]
pub struct Exports {
    open: Mutex<Vec<Export>>,
    all: Mutex<BTreeSet<(usize, String)>>,
}

impl Exports {
    /// Asks for an export; returns whether the outcome is known.
    pub async fn ask(&self, town: &Town, person: usize, key: &str) -> bool {
        let body = json!({ "request_type": "full", "format": "json" });
        let export = Export { person, call: Call::post("/v1/privacy/export-data", body).key(key), id: None };
        self.attempt(town, export, false).await
    }

    async fn attempt(&self, town: &Town, mut export: Export, is_again: bool) -> bool {
        match town.command(&town.people[export.person], &export.call).await {
            Came::Acknowledged(answer) => {
                if is_again {
                    town.http.tally.resolved();
                }
                let id = answer.text("export_id");
                self.all.lock().await.insert((export.person, id.clone()));
                export.id = Some(id);
                self.open.lock().await.push(export);
                true
            }
            Came::Unknown(_) => {
                self.open.lock().await.push(export);
                false
            }
            Came::Refused(answer) => {
                if !answer.is_problem("export-waiting") {
                    town.note(Finding::new(Wrong::Unequal, format!("an export was refused: {}", answer.said())));
                }
                true
            }
        }
    }

    /// Resolves requests with an unknown outcome, downloads what is complete, and compares the lists of exports with
    /// what was acknowledged. Exports that are not ended when the time is over stay for later; in the last round that is a
    /// finding, unless their jobs are `postponed`.
    pub async fn settle(&self, town: &Town, limit: Duration, is_last: bool, postponed: &HashSet<String>) {
        let until = Instant::now() + limit;
        loop {
            let open = std::mem::take(&mut *self.open.lock().await);
            for export in open {
                match &export.id {
                    None => drop(self.attempt(town, export, true).await),
                    Some(_) => self.look(town, export).await,
                }
            }
            let open = self.open.lock().await;
            let unknown = open.iter().filter(|export| export.id.is_none()).count();
            let waits = |export: &&Export| export.id.as_ref().is_none_or(|id| !postponed.contains(id));
            let waits = open.iter().filter(waits).count();
            if waits == 0 || Instant::now() > until {
                if unknown > 0 || (is_last && waits > 0) {
                    let what = format!("{waits} exports do not end, {unknown} of them without an answer");
                    town.note(Finding::new(Wrong::Stuck, what));
                }
                break;
            }
            drop(open);
            tokio::time::sleep(PAUSE).await;
        }
        self.compare(town).await;
    }

    /// Looks at an export, and downloads it if it is complete.
    async fn look(&self, town: &Town, export: Export) {
        let (person, id) = (&town.people[export.person], export.id.clone().unwrap_or_default());
        let call = Call::get(format!("/v1/privacy/exports/{id}"));
        let reply = person.send(&town.http, &town.post, &call).await;
        let Reply::Answered(answer) = reply else { return self.open.lock().await.push(export) };
        match answer.text("status").as_str() {
            "completed" => {
                if let Some(finding) = download(town, export.person, &id).await {
                    town.note(finding);
                }
            }
            // An honest refusal: it says why, and can be tried again.
            "failed" | "expired" | "cancelled" => {}
            "pending" | "processing" | "running" => self.open.lock().await.push(export),
            _ => town.note(Finding::new(Wrong::Lost, format!("export {id} was acknowledged: {}", answer.said()))),
        }
    }

    async fn compare(&self, town: &Town) {
        let all = self.all.lock().await;
        for (number, person) in town.people.iter().enumerate() {
            let call = Call::get("/v1/privacy/exports?limit=1000");
            let Ok(answer) = person.send(&town.http, &town.post, &call).await.success() else { continue };
            let answer = answer.json();
            let listed = answer["exports"].as_array().into_iter().flatten();
            let listed: BTreeSet<&str> = listed.filter_map(|export| export["export_id"].as_str()).collect();
            let mine: BTreeSet<&str> =
                all.iter().filter(|(person, _)| *person == number).map(|(_, id)| id.as_str()).collect();
            for id in mine.difference(&listed) {
                town.note(Finding::new(Wrong::Lost, format!("export {id} of person {number} is not listed")));
            }
            for id in listed.difference(&mine) {
                town.note(Finding::new(
                    Wrong::Doubled,
                    format!("export {id} of person {number} was never acknowledged"),
                ));
            }
        }
    }
}

async fn download(town: &Town, person: usize, id: &str) -> Option<Finding> {
    let call = Call::get(format!("/v1/privacy/exports/{id}/download"));
    for _ in 0..3 {
        match town.people[person].send(&town.http, &town.post, &call).await {
            Reply::Answered(answer) if answer.is_success() => {
                let days = &answer.json()["records"]["work_day"];
                return days.is_null().then(|| malformed(id, &answer.json()));
            }
            Reply::Answered(answer) => {
                let what = format!("export {id} is completed, and its download is {}", answer.said());
                return Some(Finding::new(Wrong::Lost, what));
            }
            Reply::Unknown(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Some(Finding::new(Wrong::Stuck, format!("export {id} can't be downloaded")))
}

fn malformed(id: &str, file: &Value) -> Finding {
    let keys: Vec<&String> = file.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
    Finding::new(Wrong::Unequal, format!("export {id} has no work days: {keys:?}"))
}
