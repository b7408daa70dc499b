//! The connections of one server: their limits, their slots, and the requests in progress on them.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::StreamExt;
use poem::{Request, Response, http::header};
use tokio::sync::watch;

use crate::slots::{Peer, Slot, Slots, most_connections};

/// How long things may take, and how many connections there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections at once.
    pub connections: usize,
    /// The most connections of one client at once. A client is an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_client: usize,
    /// How long a connection may last without a byte of a request.
    pub idle: Duration,
    /// How long the head of a request may take, from its first byte on.
    pub head: Duration,
    /// How long a client may take nothing of an answer.
    pub stall: Duration,
    /// How long a request, including its body, may take until its answer begins. An import has limits of its own.
    pub request: Duration,
    /// The same once the server stops. It is below [`Limits::stop`], so that the answer can still be sent.
    pub last_call: Duration,
    /// How long the stop of the server may take. What goes on for longer is cut off.
    pub stop: Duration,
}

impl Limits {
    /// The usual limits for a process that may have so many connections.
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

#[derive(Debug)]
pub struct Connections {
    limits: Limits,
    pub(crate) slots: Slots,
    stopping: watch::Sender<bool>,
}

impl Connections {
    /// No connection yet. Peers in `exempt` are not limited per client: they are proxies, which speak for many clients.
    pub fn new(limits: Limits, exempt: Vec<std::net::IpAddr>) -> Arc<Self> {
        let slots = Slots::new(limits.connections, limits.connections_per_client, exempt);
        Arc::new(Self { limits, slots, stopping: watch::Sender::new(false) })
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Begins the stop: connections without a request end, and requests may go on until the last call.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Resolves when the stop begins.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            // An error says that there are no connections any more, which means the same as a stop.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    }

    /// Marks the connection of a request as at work, until the returned value is dropped.
    pub fn begin(&self, request: &Request) -> Work {
        let peer = Peer::of(request);
        let slot = peer.and_then(|peer| self.slots.find(&peer)).unwrap_or_default();
        if let Some(slot) = slot.upgrade() {
            slot.begin();
        }
        Work(slot)
    }

    /// Waits for an answer as long as a request may take, or until the last call of the stop; `None` if the answer came
    /// too late.
    pub async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            answer = self.before_stop(answer) => answer,
            () = tokio::time::sleep(self.limits.request) => None,
        }
    }

    /// Waits for an answer until the last call of the stop; `None` if the answer came too late.
    pub async fn before_stop<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let last_call = async {
            self.stopped().await;
            tokio::time::sleep(self.limits.last_call).await;
        };
        tokio::select! {
            answer = answer => Some(answer),
            () = last_call => None,
        }
    }
}

/// A request that is being worked on. Its connection keeps its slot meanwhile.
#[derive(Debug)]
pub struct Work(Weak<Slot>);

impl Work {
    /// Keeps the mark until the body of an answer is sent, if the body is written piece by piece. Such an answer
    /// declares its length; other answers are complete before their first byte is sent.
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
        if let Some(slot) = self.0.upgrade() {
            slot.end();
        }
    }
}
