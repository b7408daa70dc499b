//! The connections of one server: their limits, their places, and the work in progress on them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use poem::{Request, Response, http::header};
use tokio::sync::watch;

use crate::places::{Peer, Place, Places, most_connections};

/// How long things may take, and how many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections of one client at once: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_client: usize,
    /// A connection without a request, and without a byte of one.
    pub idle: Duration,
    /// The head of a request, from its first byte on.
    pub head: Duration,
    /// A client that takes nothing of an answer.
    pub stall: Duration,
    /// A request, its body included, until its answer begins.
    pub request: Duration,
    /// The same once the server stops. Below [`Limits::stop`], so that the answer still leaves.
    pub last_call: Duration,
    /// The stop of the server: what goes on for longer is cut off.
    pub stop: Duration,
}

impl Limits {
    /// What is usual where a process may have so many connections.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            connections_per_client: (connections / 4).max(1),
            idle: Duration::from_secs(30),
            head: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            request: Duration::from_secs(180),
            last_call: Duration::from_secs(7),
            stop: Duration::from_secs(10),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(most_connections())
    }
}

/// All connections of a server.
#[derive(Debug)]
pub struct Connections {
    limits: Limits,
    pub(crate) places: Places,
    stopping: watch::Sender<bool>,
}

impl Connections {
    /// None yet. Peers that `exempt` names have no share of their own: proxies, which speak for many clients.
    pub fn new(limits: Limits, exempt: Vec<std::net::IpAddr>) -> Arc<Self> {
        let places = Places::new(limits.connections, limits.connections_per_client, exempt);
        Arc::new(Self { limits, places, stopping: watch::Sender::new(false) })
    }

    /// The limits that count.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Begins the stop: connections without a request end, requests have until the last call.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when the stop begins.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error says that there are no connections any more, which is as good as a stop.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Marks the connection that a request came on as at work, until the value is dropped.
    pub fn begin(&self, request: &Request) -> Work {
        let peer = Peer::of(request);
        let place = peer.and_then(|peer| self.places.find(&peer)).unwrap_or_default();
        if let Some(place) = place.upgrade() {
            place.begin();
        }
        Work(place)
    }

    /// Waits for an answer as long as a request may take, or until the last call of the stop; `None` where it came too late.
    pub async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let last_call = async {
            self.stopped().await;
            tokio::time::sleep(self.limits.last_call).await;
        };
        tokio::select! {
            answer = answer => Some(answer),
            () = tokio::time::sleep(self.limits.request) => None,
            () = last_call => None,
        }
    }
}

/// A request that is being worked on; its connection keeps its place meanwhile.
#[derive(Debug)]
pub struct Work(Weak<Place>);

impl Work {
    /// Goes on until the body of an answer has left, where that is written piece by piece. Such an answer says how long it is;
    /// others are whole before their first byte leaves.
    pub fn until_sent(self, mut response: Response) -> Response {
        if !response.headers().contains_key(header::CONTENT_LENGTH) {
            return response;
        }
        let body = response.take_body().into_bytes_stream();
        let accompanied = body.inspect(move |_| {
            let _goes_with_it = &self;
        });
        response.set_body(poem::Body::from_bytes_stream(accompanied));
        response
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(place) = self.0.upgrade() {
            place.end();
        }
    }
}
