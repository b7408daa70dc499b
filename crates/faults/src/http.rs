//! The HTTP client. Promises: an answer counts only if it arrived whole; everything else, and every 5xx, is an unknown
//! outcome.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::{outcome::Outcome, tally::Tally};

/// How long a client waits for an answer, in milliseconds.
const PATIENCE_MS: u64 = 8_000;
/// How many addresses clients come from. Some limits are counted by address.
pub const ADDRESSES: usize = 200;

/// A request without its token, so that it can be sent again with a newer one.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: Method,
    pub path: String,
    /// The `Idempotency-Key`.
    pub key: Option<String>,
    pub body: Option<Value>,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), key: None, body: None }
    }

    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), key: None, body: Some(body) }
    }

    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// A whole answer of class 2xx to 4xx.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// Whether it is the stored answer to an earlier request with the same key.
    pub is_replayed: bool,
    /// The number in `ETag`: a record's version.
    pub version: Option<i64>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A text of the body by its name; empty if there is none.
    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// Whether it is a problem of this type.
    pub fn is_problem(&self, name: &str) -> bool {
        self.text("type") == format!("/problems/{name}")
    }

    /// The status with the body, for a finding.
    pub fn said(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// What came of a request.
#[derive(Debug)]
pub enum Reply {
    Answered(Answer),
    /// The connection died, the time ran out, or the server answered 5xx: the request may have been done.
    Unknown(String),
}

impl Reply {
    /// The answer, if it is of class 2xx.
    pub fn success(self) -> Result<Answer, String> {
        match self {
            Self::Answered(answer) if answer.is_success() => Ok(answer),
            Self::Answered(answer) => Err(answer.said()),
            Self::Unknown(why) => Err(why),
        }
    }
}

/// Clients on addresses of their own.
pub struct Http {
    clients: Vec<Client>,
    server: SocketAddr,
    patience_ms: AtomicU64,
    pub tally: Tally,
}

impl Http {
    pub fn new(server: SocketAddr) -> Outcome<Self> {
        let client = |number: usize| {
            let address = Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1).unwrap_or(1));
            Client::builder().no_proxy().tcp_nodelay(true).local_address(IpAddr::V4(address)).build()
        };
        let clients = (0..ADDRESSES).map(client).collect::<Result<_, _>>()?;
        Ok(Self { clients, server, patience_ms: PATIENCE_MS.into(), tally: Tally::default() })
    }

    /// From now on clients close their connections after up to so many milliseconds; `None`: after the usual time.
    pub fn set_patience(&self, milliseconds: Option<u64>) {
        self.patience_ms.store(milliseconds.unwrap_or(PATIENCE_MS), Ordering::Relaxed);
    }

    /// Sends a request from the address with this number.
    pub async fn send(&self, from: usize, call: &Call, token: Option<&str>) -> Reply {
        let mut patience = self.patience_ms.load(Ordering::Relaxed);
        if patience < PATIENCE_MS {
            patience = rand::random_range(0..=patience);
        }
        self.send_within(from, call, token, Duration::from_millis(patience)).await
    }

    /// Sends a request, and closes the connection if no answer arrives in time.
    pub async fn send_within(&self, from: usize, call: &Call, token: Option<&str>, patience: Duration) -> Reply {
        let url = format!("http://{}{}", self.server, call.path);
        let mut request = self.clients[from % ADDRESSES].request(call.method.clone(), url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = &call.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.tally.asked();
        // Dropping the request closes its connection.
        let answer = tokio::time::timeout(patience, async { whole(request.send().await?).await }).await;
        match answer {
            Ok(Ok(answer)) if answer.status < 500 => {
                if answer.is_success() {
                    self.tally.acknowledged();
                }
                Reply::Answered(answer)
            }
            Ok(Ok(answer)) => Reply::Unknown(answer.said()),
            Ok(Err(error)) => Reply::Unknown(error.to_string()),
            Err(_) => Reply::Unknown("no answer in time".to_owned()),
        }
    }
}

async fn whole(response: Response) -> reqwest::Result<Answer> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, is_replayed) = (response.status().as_u16(), header("idempotency-replayed").is_some());
    let number = |tag: String| tag.trim_matches('"').split_once('-')?.0.parse().ok();
    let version = header("etag").and_then(number);
    Ok(Answer { status, is_replayed, version, body: response.bytes().await?.to_vec() })
}
