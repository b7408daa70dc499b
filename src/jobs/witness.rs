//! Asking witnesses: each one gets a checkpoint and the proof that it continues the one it saw last, and answers with a
//! cosignature (C2SP `tlog-witness`).

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use transparency::{Checkpoint, Hash, Policy, WitnessLine};

use crate::app::{App, AppError, log::published};

/// How long a witness may take to answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The witnesses of the policy, and the size that each one cosigned last, as far as this server knows.
pub struct Witnesses {
    policy: Option<Policy>,
    client: reqwest::Client,
    seen: HashMap<(String, String), u64>,
}

enum Answer {
    Cosigned(String),
    /// The witness last cosigned a tree of this size (status 409).
    Elsewhere(u64),
}

impl Witnesses {
    /// The witnesses of the application's policy; none without a policy.
    pub fn of(app: &App) -> Self {
        let client =
            reqwest::Client::builder().timeout(REQUEST_TIMEOUT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.expect("a client with these settings can be built");
        Self { policy: app.log.policy.clone(), client, seen: HashMap::new() }
    }

    /// Asks all witnesses that have not cosigned yet, at the same time. Returns the checkpoint with the new
    /// cosignatures, and whether they satisfy the policy.
    pub async fn ask(&mut self, app: &App, checkpoint: &Checkpoint) -> Result<(Checkpoint, bool), AppError> {
        let Some(policy) = &self.policy else { return Ok((checkpoint.clone(), true)) };
        let missing = policy.witnesses.iter().filter(|line| line.witness.cosigned_at(checkpoint).is_none());
        let asked: Vec<(&WitnessLine, &String)> =
            missing.filter_map(|line| line.url.as_ref().map(|url| (line, url))).collect();
        let answers = join_all(asked.iter().map(|(line, url)| self.ask_one(app, line, url, checkpoint))).await;
        let mut cosigned = checkpoint.clone();
        for ((line, _), answer) in asked.iter().zip(answers) {
            match answer {
                Ok(lines) => match cosigned.with_cosignature(&lines, &line.witness) {
                    Some(more) => {
                        self.seen.insert((line.name.clone(), checkpoint.origin.clone()), checkpoint.size);
                        cosigned = more;
                    }
                    None => tracing::warn!(witness = line.name, "a witness answered with no cosignature of its own"),
                },
                Err(reason) => tracing::warn!(witness = line.name, reason, "a witness did not cosign"),
            }
        }
        let enough = policy.is_witnessed(&cosigned);
        Ok((cosigned, enough))
    }

    async fn ask_one(
        &self,
        app: &App,
        line: &WitnessLine,
        url: &str,
        checkpoint: &Checkpoint,
    ) -> Result<String, String> {
        let known = self.seen.get(&(line.name.clone(), checkpoint.origin.clone())).copied().unwrap_or(0);
        match self.send(app, url, known, checkpoint).await? {
            Answer::Cosigned(lines) => Ok(lines),
            Answer::Elsewhere(size) if size > checkpoint.size => {
                Err(format!("it has seen a tree of {size} leaves, and this one has {}", checkpoint.size))
            }
            Answer::Elsewhere(size) if size == known => Err(forked(size)),
            Answer::Elsewhere(size) => match self.send(app, url, size, checkpoint).await? {
                Answer::Cosigned(lines) => Ok(lines),
                Answer::Elsewhere(same) if same == size => Err(forked(size)),
                Answer::Elsewhere(_) => Err("it moves on too fast".to_owned()),
            },
        }
    }

    async fn send(&self, app: &App, url: &str, old: u64, checkpoint: &Checkpoint) -> Result<Answer, String> {
        let proof = published::proof_between(app, old, checkpoint).await.map_err(|error| error.to_string())?;
        let body = add_checkpoint(old, &proof, checkpoint);
        let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        // An error's text may hold the witness's address, so the URL is removed and the witness is named as in the
        // policy.
        let sent = self.client.post(url).body(body).send().await;
        let answer = sent.map_err(|error| format!("it can't be reached: {}", error.without_url()))?;
        let status = answer.status().as_u16();
        let mut text = Vec::new();
        let mut answer = answer;
        while let Some(part) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
            text.extend_from_slice(&part);
            if text.len() > LONGEST_ANSWER {
                return Err("its answer is too long".to_owned());
            }
        }
        let text = String::from_utf8(text).map_err(|_| "its answer is no text".to_owned())?;
        match status {
            200 => Ok(Answer::Cosigned(text)),
            409 => {
                text.trim_end().parse().map(Answer::Elsewhere).map_err(|_| "it answered 409 without a size".to_owned())
            }
            422 => Err(forked(old)),
            _ => Err(format!("it answered {status}")),
        }
    }
}

/// The error of a witness whose last tree this one does not continue. Such a witness answers 409 with the size that it
/// was told if this tree has the same size (`tlog-witness` v1.0.0), and 422 otherwise.
fn forked(size: u64) -> String {
    format!("it has cosigned a tree of {size} leaves that does not go on as this one")
}

/// The body of a request to `add-checkpoint`.
pub fn add_checkpoint(old: u64, proof: &[Hash], checkpoint: &Checkpoint) -> String {
    let proof: String = proof.iter().map(|hash| format!("{hash}\n")).collect();
    format!("old {old}\n{proof}\n{}", checkpoint.note)
}
