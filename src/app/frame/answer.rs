//! Repeated requests: for 24 hours, a request with an `Idempotency-Key` gets the answer of the first request with that
//! key.
//!
//! The answer is stored in the transaction that did what it says, or not at all. Whoever asked owns it: its hash is made,
//! and its text is sealed, with keys of the owner. A person acts under a ticket of their own, which opens all their
//! answers. A member of staff acts under a ticket of somebody else or of nobody; such a ticket names the hash of one
//! answer, and opens that one besides.

use std::sync::Arc;

use aws_lc_rs::constant_time;
use chrono::{DateTime, Utc};
use context::{Ctx, SubjectId};
use db::{FromRow, Gate, Lookup, Query, Row};
use projections::answer::{AnswerRow, NewAnswer, answer_forget, answer_get, answer_store};
use serde::{Serialize, de::DeserializeOwned};
use vault::{IndexKey, Place, Ring, Sealed, SubjectKeys, TransitId};

use crate::app::{AppError, frame::work::Work};

/// An idempotency key, and the body that came with it.
pub struct IdempotentRequest<'a> {
    /// The value of the `Idempotency-Key` header field.
    pub key: &'a str,
    /// The request's content, which must be the same when the key is used again.
    pub body: Vec<u8>,
}

/// The answer to a request that may have been sent before.
#[derive(Clone, Debug)]
pub struct Once<T> {
    pub value: T,
    /// When the answer was given first.
    pub at: DateTime<Utc>,
    /// Whether an earlier request with the same key got the answer.
    pub replayed: bool,
}

impl<T> Once<T> {
    /// An answer that is given now.
    pub(crate) fn now(ctx: &Ctx, value: T) -> Self {
        Self { value, at: ctx.now(), replayed: false }
    }
}

/// The claim of a request on an idempotency key of who asks, for one operation.
pub(crate) struct Claim<'a> {
    pub(super) operation: &'static str,
    request: &'a IdempotentRequest<'a>,
    owner: SubjectId,
    hash: [u8; 32],
    /// The keys of a member of staff. `None` if a person asks in a transaction of their own, which knows their keys.
    staff: Option<Arc<SubjectKeys>>,
}

impl<'a> Claim<'a> {
    /// The claim of a person, in a transaction of their own.
    pub(super) fn of_person(
        operation: &'static str,
        ctx: &Ctx,
        request: &'a IdempotentRequest<'a>,
        index: &IndexKey,
    ) -> Self {
        Self { operation, request, owner: ctx.subject, hash: index.answer_hash(operation, request.key), staff: None }
    }

    /// The claim of a member of staff, in a transaction of somebody else or of nobody.
    pub(super) fn of_staff(
        operation: &'static str,
        staff: &Ctx,
        request: &'a IdempotentRequest<'a>,
        keys: Arc<SubjectKeys>,
    ) -> Self {
        Self { staff: Some(keys.clone()), ..Self::of_person(operation, staff, request, keys.index()) }
    }

    /// Lets one transaction at a time claim the key, and opens the answer to staff.
    pub(super) fn gate(&self, gate: Gate) -> Gate {
        let lock = i64::from_be_bytes(self.hash[..8].try_into().expect("a hash has 32 bytes"));
        self.open(gate.claim(Some(lock)))
    }

    /// Opens the answer to staff. For a login that may not take locks: of two transactions that store an answer under
    /// one key the database lets one through, and the other one begins again and finds the answer.
    pub(super) fn open(&self, gate: Gate) -> Gate {
        if self.staff.is_some() { gate.and_lookup(Lookup(self.hash)) } else { gate }
    }

    /// Reads the stored answer to an earlier request with the key.
    pub(super) fn query(&self) -> Query {
        answer_get(self.owner, self.hash)
    }

    /// Gives the stored answer if `stored` holds it. Otherwise does what is asked, and stores its answer with the last
    /// flight. `own` are the keys of the transaction's person, if it has one.
    pub(super) async fn settle<T, Fut>(
        &self,
        work: &Work<'_>,
        stored: &[Row],
        own: Option<&SubjectKeys>,
        decide: impl FnOnce() -> Fut,
    ) -> Result<Once<T>, AppError>
    where
        T: Serialize + DeserializeOwned,
        Fut: Future<Output = Result<T, AppError>>,
    {
        let ring = work.app.vault.ring();
        let keys = self
            .staff
            .as_deref()
            .or(own)
            .expect("a transaction without keys of a person is a member of staff's, whose claim has keys");
        if let Some(answer) = self.replay(work.ctx, ring, keys, stored)? {
            return Ok(answer);
        }
        if !stored.is_empty() {
            work.queue(answer_forget(self.owner, self.hash, work.ctx.now()));
        }
        let answer = Once::now(work.ctx, decide().await?);
        work.flush();
        work.queue(answer_store(self.owner, self.new_answer(ring, keys, &answer)?));
        Ok(answer)
    }

    /// Opens the answer that the first request got; refuses if its body was another. `None` if there is no answer, or
    /// none that has not run out.
    pub(super) fn replay<T: DeserializeOwned>(
        &self,
        ctx: &Ctx,
        ring: &Ring,
        keys: &SubjectKeys,
        stored: &[Row],
    ) -> Result<Option<Once<T>>, AppError> {
        let row = stored.first().map(AnswerRow::from_row).filter(|row| row.expires_at > ctx.now());
        let Some(row) = row else { return Ok(None) };
        if row.subject_id != self.owner {
            return Err(AppError::Corrupt("a stored answer is another person's".to_owned()));
        }
        let fingerprint = self.fingerprint(ring, row.ring_key)?;
        if constant_time::verify_slices_are_equal(&fingerprint, &row.fingerprint).is_err() {
            return Err(AppError::KeyReused);
        }
        let text = keys.open_trail(&self.place(), &Sealed::from_base64(&row.sealed)?)?;
        let value = serde_json::from_slice(&text);
        let value = value.map_err(|_| AppError::Corrupt("a stored answer does not load".to_owned()))?;
        Ok(Some(Once { value, at: row.given_at(), replayed: true }))
    }

    /// The answer as it is stored, sealed under the trail key of who asked.
    pub(super) fn new_answer<T: Serialize>(
        &self,
        ring: &Ring,
        keys: &SubjectKeys,
        answer: &Once<T>,
    ) -> Result<NewAnswer, AppError> {
        let text = serde_json::to_vec(&answer.value).expect("an answer can be written as JSON");
        let sealed = keys.seal_trail(&self.place(), &text).to_base64();
        let (ring_key, _) = ring.transit(answer.at)?;
        let fingerprint = self.fingerprint(ring, ring_key)?;
        Ok(NewAnswer::new(self.hash, ring_key, fingerprint, sealed, answer.at))
    }

    fn place(&self) -> Place {
        Place::of("answer").and(self.operation.as_bytes()).and(&self.hash)
    }

    /// Tells this body from another. It is a hash under a transit key, which is destroyed: a day has few possible
    /// bodies, so a hash that could be computed for ever would give away a deleted one.
    fn fingerprint(&self, ring: &Ring, key: TransitId) -> Result<[u8; 32], AppError> {
        ring.transit_hash(key, &[b"fingerprint", &self.hash, &self.request.body])
            .ok_or_else(|| AppError::Corrupt("a stored answer is older than its key".to_owned()))
    }
}
