//! Ids are types, so that an id of one kind is never taken for an id of another kind. All ids are random (UUID version
//! 4, from the operating system).

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
            /// A fresh id, which says nothing about its owner.
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
    /// A data subject inside the log, the vault and the read models. It is never shown outside together with the
    /// [`UserId`].
    SubjectId
}
id! {
    /// The same person towards clients: the `sub` of tokens and the `user_id` of answers.
    UserId
}
id! {
    /// One thing that a person gave us, and the stream of its events.
    RecordId
}
id! {
    /// One sign-in, until the session is ended or expires.
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
    /// One job, which a server leases.
    JobId
}
id! {
    /// One running server, as the other servers see it.
    NodeId
}

impl SubjectId {
    /// The system itself, for events that are about no person.
    pub const NIL: Self = Self(Uuid::nil());
}
