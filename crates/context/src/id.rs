//! Ids are types, so that one is never taken for another. All are random (UUID version 4, from the operating system).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id that nothing can be read from.
            #[expect(clippy::disallowed_methods, reason = "ids are made here only")]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A data subject inside the log, the vault and the read models; never shown outside with the [`UserId`].
    SubjectId
}
id! {
    /// The same person towards clients: the `sub` of tokens and `user_id` of answers.
    UserId
}
id! {
    /// One thing a person gave us, and the stream of its events.
    RecordId
}
id! {
    /// One sign-in, until it is ended or runs out.
    SessionId
}
id! {
    /// One event of the log.
    EventId
}
id! {
    /// One request, as it appears in tracing output and answers.
    RequestId
}

id! {
    /// One request to delete.
    DeletionId
}
id! {
    /// One request to export.
    ExportId
}
id! {
    /// One piece of work that a server leases.
    JobId
}
id! {
    /// One running server, as the others see it.
    NodeId
}

impl SubjectId {
    /// The system itself: events that are about no person known to us.
    pub const NIL: Self = Self(Uuid::nil());
}
