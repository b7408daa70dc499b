//! Connections from outside: how many there may be, and how long one may keep its place.
//!
//! Promises: half a request, an idle connection, and a client that takes no answer lose their place after a while; one client never has
//! more than its share; where the process has no descriptor left, accepting pauses instead of trying without end; when the server
//! stops, connections without a request end at once, and a request that would outlast the stop is answered before it. A download that
//! makes progress is never cut, however long it takes. Refuses nothing that was accepted: what a request says is others' business.

mod accept;
mod connections;
mod places;
mod stream;

pub use connections::{Connections, Limits, Work};

pub use accept::LimitedAcceptor;
pub use places::{Peer, most_connections};
pub use stream::LimitedStream;
