//! What a transaction says before it begins: whose rows it may touch, and which locks it takes first.

use context::{Ctx, SubjectId};

use crate::Lookup;

pub(crate) const SHARED: i32 = 1;
const ALONE: i32 = 2;

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(crate) const BEGIN_LONG: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = '15min'";

/// Which rows a transaction may touch, and which locks it takes first.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// The person whose rows the transaction may touch.
    pub(crate) subject: SubjectId,
    pub(crate) lookup: Option<Lookup>,
    pub(crate) lock: i32,
    pub(crate) claim: Option<i64>,
    snapshot: bool,
    pub(crate) long_statements: bool,
}

impl Gate {
    /// The rows of the context's subject, without a lock. For reads that stay readable whatever happens to keys.
    pub fn read(ctx: &Ctx) -> Self {
        Self { subject: ctx.subject, lookup: None, lock: 0, claim: None, snapshot: false, long_statements: false }
    }

    /// Like [`Gate::read`], and all statements see the database as the first one sees it, because keys and the values
    /// that they open must belong together.
    pub fn snapshot(ctx: &Ctx) -> Self {
        Self { snapshot: true, ..Self::read(ctx) }
    }

    /// The rows of the context's subject, with the subject's lock shared. For writing, and for opening values that must
    /// not be rewrapped meanwhile.
    pub fn shared(ctx: &Ctx) -> Self {
        Self { lock: SHARED, ..Self::read(ctx) }
    }

    /// The rows of the context's subject, with the subject's lock held alone. For replacing or destroying keys.
    pub fn alone(ctx: &Ctx) -> Self {
        Self { lock: ALONE, ..Self::read(ctx) }
    }

    /// Rows found by a keyed hash, before a subject is known.
    pub fn lookup(lookup: Lookup) -> Self {
        Self {
            subject: SubjectId::NIL,
            lookup: Some(lookup),
            lock: 0,
            claim: None,
            snapshot: false,
            long_statements: false,
        }
    }

    /// The same gate, with the subject's lock shared.
    pub fn and_shared(self) -> Self {
        Self { lock: SHARED, ..self }
    }

    /// The same gate, with the subject's lock held alone.
    pub fn and_alone(self) -> Self {
        Self { lock: ALONE, ..self }
    }

    /// The same gate, which also opens the rows found by a keyed hash.
    pub fn and_lookup(self, lookup: Lookup) -> Self {
        Self { lookup: Some(lookup), ..self }
    }

    /// The same gate, which also claims a key for the length of the transaction; see [`crate::Tx::claimed`].
    pub fn claim(self, key: Option<i64>) -> Self {
        Self { claim: key, ..self }
    }

    /// The same gate, with 15 minutes for each statement, because very many rows may take longer than a request may.
    pub fn with_long_statements(self) -> Self {
        Self { long_statements: true, ..self }
    }

    pub(crate) fn begin(&self) -> &'static str {
        match (self.snapshot, self.long_statements) {
            (true, _) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (false, false) => BEGIN,
            (false, true) => BEGIN_LONG,
        }
    }

    /// Whether a transaction behind this gate may be a part of a group's: it is about a person, holds no lock alone, and
    /// asks for nothing special.
    pub(crate) fn is_common(&self) -> bool {
        self.subject != SubjectId::NIL
            && self.lookup.is_none()
            && self.lock != ALONE
            && !self.snapshot
            && !self.long_statements
    }

    pub(crate) fn lock_key(&self) -> i64 {
        lock_key(self.subject)
    }
}

/// The key of a person's lock.
pub(crate) fn lock_key(subject: SubjectId) -> i64 {
    let bytes = subject.0.into_bytes();
    i64::from_be_bytes(bytes[..8].try_into().expect("a UUID has sixteen bytes"))
}
