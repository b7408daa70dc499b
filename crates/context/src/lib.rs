//! Who acts, for whom, from where and when: the ids, the clock and the [`Ctx`] that every command and query takes
//! first.
//!
//! Promises: an id of one kind is never taken for another; nothing here prints an address or a user agent. Refuses
//! ambient time: the clock is read through [`Ctx::now`] only, so that tests can hold it still.

mod clock;
mod crash;
mod id;
mod personal;

pub use clock::Clock;
pub use crash::crash_point;
pub use id::{DeletionId, EventId, ExportId, JobId, NodeId, RecordId, RequestId, SessionId, SubjectId, UserId};
pub use personal::Personal;

use chrono::{DateTime, Utc};

/// The role in which somebody acts. It is part of the ticket, the token and every event's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A data subject, acting on their own data.
    Subject,
    /// Staff of the compliance desk.
    Compliance,
    /// Staff who audit the log.
    Auditor,
    /// Somebody who is not signed in.
    Anonymous,
    /// A job on one person's data, leased by a server.
    Job,
    /// The release of statistics, on the data of people who consent to it.
    Statistics,
    /// The server itself.
    System,
}

impl Role {
    pub const ALL: [Self; 7] =
        [Self::Subject, Self::Compliance, Self::Auditor, Self::Anonymous, Self::Job, Self::Statistics, Self::System];

    pub const NAMES: [&str; 7] = {
        let mut names = [""; 7];
        let mut number = 0;
        while number < names.len() {
            names[number] = Self::ALL[number].as_str();
            number += 1;
        }
        names
    };

    /// The name used in tickets, tokens, events and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Compliance => "compliance",
            Self::Auditor => "auditor",
            Self::Anonymous => "anonymous",
            Self::Job => "job",
            Self::Statistics => "statistics",
            Self::System => "system",
        }
    }

    /// The role with this name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// Where a request came from. Personal: it reaches the log only sealed under the actor's trail key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The address as text, IPv4 or IPv6, without a port.
    pub address: Personal<String>,
    /// The `User-Agent` header, shortened to 256 bytes.
    pub agent: Personal<String>,
}

/// The circumstances of one command or query: who acts, for whom, and from where.
#[derive(Clone, Debug)]
pub struct Ctx {
    pub role: Role,
    /// The person whose data is touched; the nil id stands for the system itself.
    pub subject: SubjectId,
    /// The session of the caller; `None` without a sign-in.
    pub session: Option<SessionId>,
    /// One id for this request in tracing output, answers and events.
    pub request: RequestId,
    pub client: Client,
    clock: Clock,
}

impl Ctx {
    /// A context of the server itself, for no particular person.
    pub fn system(clock: Clock) -> Self {
        Self {
            role: Role::System,
            subject: SubjectId::NIL,
            session: None,
            request: RequestId::random(),
            client: Client::default(),
            clock,
        }
    }

    /// The context of a request by a client of whom nothing more is known yet.
    pub fn anonymous(clock: Clock, client: Client, request: RequestId) -> Self {
        Self { role: Role::Anonymous, client, request, ..Self::system(clock) }
    }

    /// The same circumstances for the data of `subject`, in the role of a data subject.
    pub fn for_subject(&self, subject: SubjectId, session: Option<SessionId>) -> Self {
        Self { role: Role::Subject, subject, session, ..self.clone() }
    }

    /// The context of a job on the data of `subject`: the server does what the person or the law asked for earlier.
    pub fn job(clock: Clock, subject: SubjectId) -> Self {
        Self { role: Role::Job, subject, ..Self::system(clock) }
    }

    /// The same circumstances in another role.
    pub fn acting_as(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// The present time in whole microseconds, the resolution of the log.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The clock itself, for work that outlives the request.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
