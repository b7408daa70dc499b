//! Accepting connections: each connection takes a slot first, and accepting pauses while the process has no descriptors
//! left.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use poem::{
    http::uri::Scheme,
    listener::Acceptor,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{net::TcpListener, time::Instant};

use crate::{LimitedStream, Peer, connections::Connections};

/// How long accepting pauses if the operating system has nothing left to give.
const PAUSE: Duration = Duration::from_millis(200);
/// The shortest time between two warnings that there is no room.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// The answer to a client that has its share of connections already.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Accepts connections within limits.
pub struct LimitedAcceptor {
    listener: TcpListener,
    connections: Arc<Connections>,
    said: Option<Instant>,
}

impl LimitedAcceptor {
    pub fn new(listener: TcpListener, connections: Arc<Connections>) -> Self {
        Self { listener, connections, said: None }
    }

    /// Warns that there is no room, at most once in [`SAY_EVERY`].
    fn say(&mut self, why: &str) {
        if self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(most = self.connections.limits().connections, "{why}");
        }
    }

    async fn next(&mut self) -> (LimitedStream, Peer) {
        loop {
            if self.connections.slots.is_full() {
                self.say("all connections are taken; others wait");
            }
            let permit = self.connections.slots.free().await;
            let accepted = self.listener.accept().await;
            let accepted = accepted.and_then(|(stream, theirs)| {
                let ours = stream.local_addr()?;
                Ok((stream, Peer { theirs, ours }))
            });
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(pause) = pause_after(&error) {
                        self.say(&format!("no connection can be accepted: {error}"));
                        tokio::time::sleep(pause).await;
                    }
                    continue;
                }
            };
            let Some(taken) = self.connections.slots.take(peer, permit) else {
                self.say("a client has its share of connections already; more are refused");
                // A client that does not read the answer is refused all the same.
                let _ = stream.try_write(TOO_MANY);
                continue;
            };
            return (LimitedStream::new(stream, taken, &self.connections), peer);
        }
    }
}

/// How long accepting pauses after an error; `None` if only the one connection failed.
fn pause_after(error: &io::Error) -> Option<Duration> {
    let of_the_connection = matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::NotConnected
    );
    (!of_the_connection).then_some(PAUSE)
}

impl Acceptor for LimitedAcceptor {
    type Io = LimitedStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.listener.local_addr().map(|address| LocalAddr(address.into())).into_iter().collect()
    }

    async fn accept(&mut self) -> io::Result<(LimitedStream, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.next().await;
        Ok((stream, LocalAddr(peer.ours.into()), RemoteAddr(peer.theirs.into()), Scheme::HTTP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_waited_out_and_a_broken_connection_is_not() {
        // EMFILE, ENFILE, ENOBUFS and ENOMEM on Linux.
        for number in [24, 23, 105, 12] {
            assert_eq!(pause_after(&io::Error::from_raw_os_error(number)), Some(PAUSE), "{number}");
        }
        // ECONNABORTED and ECONNRESET.
        for number in [103, 104] {
            assert_eq!(pause_after(&io::Error::from_raw_os_error(number)), None, "{number}");
        }
    }
}
