//! Slots of connections: how many there are in all and for each client, and what each connection is doing.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use poem::{Request, web::RemoteAddr};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The client's end.
    pub theirs: SocketAddr,
    /// Our end.
    pub ours: SocketAddr,
}

impl Peer {
    /// The connection on which a request came; `None` if it came on none, as in tests.
    pub fn of(request: &Request) -> Option<Self> {
        let RemoteAddr(theirs) = request.remote_addr();
        let ours = &request.local_addr().0;
        Some(Self { theirs: *theirs.as_socket_addr()?, ours: *ours.as_socket_addr()? })
    }
}

/// What counts as one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4([u8; 4]),
    /// A network of 64 bits, because one client may have all of its addresses.
    V6([u8; 8]),
}

impl Client {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// How many descriptors a process keeps for files and its database.
const RESERVED: u64 = 64;
/// The most connections that are ever held, whatever the operating system allows.
const MOST: u64 = 4096;

/// How many connections this process may hold: half of its descriptors, because requests need some too.
pub fn most_connections() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(2 * MOST);
    let most = (descriptors / 2).min(descriptors.saturating_sub(RESERVED)).clamp(8, MOST);
    usize::try_from(most).expect("a small number")
}

/// The slot of one connection: what the connection is doing.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Requests that are being worked on. A connection of HTTP/2 may have several.
    working: AtomicUsize,
    /// How many requests have begun so far.
    begun: AtomicUsize,
    /// When the connection last opened, ended a request, or sent something.
    moved: Mutex<Instant>,
    /// The task that reads from the connection. It is woken when no request is worked on any more, because only then
    /// the time limits run.
    reader: Mutex<Option<Waker>>,
}

impl Slot {
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
        self.working.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn end(&self) {
        self.touch();
        if self.working.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(reader) = self.reader.lock().expect("no one panics with the lock").take()
        {
            reader.wake();
        }
    }

    /// Wakes a reader when the last request ends. The reader must check afterwards whether that has happened already.
    pub(crate) fn wake_at_end(&self, reader: &Waker) {
        *self.reader.lock().expect("no one panics with the lock") = Some(reader.clone());
    }

    pub(crate) fn is_working(&self) -> bool {
        self.working.load(Ordering::Acquire) > 0
    }

    pub(crate) fn touch(&self) {
        *self.moved.lock().expect("no one panics with the lock") = Instant::now();
    }

    /// The time at which the connection will have done nothing for `time`.
    pub(crate) fn after(&self, time: Duration) -> Instant {
        *self.moved.lock().expect("no one panics with the lock") + time
    }
}

#[derive(Debug, Default)]
struct Held {
    by_client: HashMap<Client, usize>,
    by_peer: HashMap<Peer, Weak<Slot>>,
}

#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    share: usize,
    exempt: Vec<IpAddr>,
    held: Arc<Mutex<Held>>,
}

impl Slots {
    pub(crate) fn new(most: usize, share: usize, exempt: Vec<IpAddr>) -> Self {
        let exempt = exempt.into_iter().map(|address| address.to_canonical()).collect();
        Self { free: Arc::new(Semaphore::new(most)), share, exempt, held: Arc::default() }
    }

    /// Whether all slots are taken.
    pub(crate) fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Waits for a free slot.
    pub(crate) async fn free(&self) -> OwnedSemaphorePermit {
        self.free.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Gives a slot to a connection; `None` if its client has its share already.
    pub(crate) fn take(&self, peer: Peer, permit: OwnedSemaphorePermit) -> Option<HeldSlot> {
        let client = Client::of(peer.theirs.ip());
        let mut held = self.held.lock().expect("no one panics with the lock");
        let count = held.by_client.entry(client).or_default();
        if *count >= self.share && !self.exempt.contains(&peer.theirs.ip().to_canonical()) {
            return None;
        }
        *count += 1;
        let slot = Arc::new(Slot {
            working: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            moved: Mutex::new(Instant::now()),
            reader: Mutex::default(),
        });
        held.by_peer.insert(peer, Arc::downgrade(&slot));
        Some(HeldSlot { slot, peer, client, held: self.held.clone(), _permit: permit })
    }

    pub(crate) fn find(&self, peer: &Peer) -> Option<Weak<Slot>> {
        self.held.lock().expect("no one panics with the lock").by_peer.get(peer).cloned()
    }
}

/// A connection's slot. It is given back when this value is dropped.
#[derive(Debug)]
pub(crate) struct HeldSlot {
    pub(crate) slot: Arc<Slot>,
    peer: Peer,
    client: Client,
    held: Arc<Mutex<Held>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        let mut held = self.held.lock().expect("no one panics with the lock");
        held.by_peer.remove(&self.peer);
        if let Some(count) = held.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                held.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(theirs: &str) -> Peer {
        let ours = "192.0.2.80:8080".parse().expect("an address");
        Peer { theirs: theirs.parse().expect("an address"), ours }
    }

    #[tokio::test]
    async fn a_client_has_its_share_and_gives_places_back() {
        let slots = Slots::new(4, 2, vec!["192.0.2.9".parse().expect("an address")]);
        let mut taken = Vec::new();
        for theirs in ["198.51.100.7:1", "[::ffff:198.51.100.7]:2"] {
            taken.push(slots.take(peer(theirs), slots.free().await).expect("a slot"));
        }
        assert!(slots.take(peer("198.51.100.7:3"), slots.free().await).is_none(), "its share is used up");
        assert!(!slots.is_full(), "what was refused gave its slot back");
        taken.push(slots.take(peer("198.51.100.8:3"), slots.free().await).expect("another client"));
        taken.push(slots.take(peer("[2001:db8::1]:1"), slots.free().await).expect("another client"));
        assert!(slots.is_full());
        assert!(slots.find(&peer("198.51.100.7:1")).is_some_and(|slot| slot.upgrade().is_some()));
        taken.clear();
        assert!(slots.find(&peer("198.51.100.7:1")).is_none());
        assert_eq!(slots.free.available_permits(), 4);
        assert!(slots.held.lock().expect("no one panics").by_client.is_empty());
    }

    #[tokio::test]
    async fn a_network_is_one_client_and_a_proxy_is_none() {
        let slots = Slots::new(9, 1, vec!["192.0.2.9".parse().expect("an address")]);
        let first = slots.take(peer("[2001:db8::1]:1"), slots.free().await);
        assert!(first.is_some());
        assert!(slots.take(peer("[2001:db8::ffff:1]:1"), slots.free().await).is_none(), "the same network");
        let other = slots.take(peer("[2001:db8:0:1::1]:1"), slots.free().await);
        assert!(other.is_some(), "another network");
        let proxied: Vec<_> = ["192.0.2.9:1", "192.0.2.9:2", "[::ffff:192.0.2.9]:3"].map(peer).into();
        for peer in proxied {
            let taken = slots.take(peer, slots.free().await).expect("a proxy speaks for many");
            std::mem::forget(taken);
        }
    }

    #[test]
    fn descriptors_are_left_for_files_and_the_database() {
        let most = most_connections();
        assert!((8..=4096).contains(&most), "{most}");
    }
}
