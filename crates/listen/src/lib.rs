//! Connections from outside: how many there may be, and how long one may keep its slot.
//!
//! Promises: half a request, an idle connection, and a client that takes no answer lose their slot after a while. One
//! client never has more than its share. If the process has no descriptor left, accepting pauses instead of trying
//! without end. When the server stops, connections without a request end at once, and a request that would outlast the
//! stop is answered before it. A download that makes progress is never cut, however long it takes. Refuses no request:
//! the content of a request is checked elsewhere.

mod accept;
mod connections;
mod slots;
mod stream;

pub use connections::{Connections, Limits, Work};

pub use accept::LimitedAcceptor;
pub use slots::{Peer, most_connections};
pub use stream::LimitedStream;
