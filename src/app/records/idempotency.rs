//! Repeated requests: for 24 hours, a request with an `Idempotency-Key` gets the answer of the first request with that
//! key.

use aws_lc_rs::constant_time;
use context::Ctx;
use db::Query;
use projections::records::answer::{AnswerRow, answer_forget, answer_get, answer_store};
use serde::{Serialize, de::DeserializeOwned};
use vault::{IndexKey, Place, Ring, Sealed, SubjectKeys, TransitId};

use crate::app::AppError;

/// An idempotency key, and the body that came with it.
pub struct IdempotentRequest<'a> {
    /// The value of the `Idempotency-Key` header field.
    pub key: &'a str,
    /// The request's content, which must be the same when the key is used again.
    pub body: Vec<u8>,
}

/// The claim of one person's request on an idempotency key, for one operation.
pub(crate) struct Claim<'a> {
    operation: &'static str,
    request: &'a IdempotentRequest<'a>,
    hash: [u8; 32],
}

impl<'a> Claim<'a> {
    pub(crate) fn new(operation: &'static str, request: &'a IdempotentRequest<'a>, index: &IndexKey) -> Self {
        Self { operation, request, hash: index.answer_hash(operation, request.key) }
    }

    /// The number of the lock that lets one request at a time claim the key.
    pub(crate) fn lock_key(&self) -> i64 {
        i64::from_be_bytes(self.hash[..8].try_into().expect("a hash has 32 bytes"))
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

    /// Opens the answer that the first request got; refuses if its body was another.
    pub(crate) fn replay<T: DeserializeOwned>(
        &self,
        ring: &Ring,
        keys: &SubjectKeys,
        row: &AnswerRow,
    ) -> Result<T, AppError> {
        let fingerprint = self.fingerprint(ring, row.ring_key)?;
        if constant_time::verify_slices_are_equal(&fingerprint, &row.fingerprint).is_err() {
            return Err(AppError::KeyReused);
        }
        let text = keys.open_trail(&self.place(), &Sealed::from_base64(&row.sealed)?)?;
        serde_json::from_slice(&text).map_err(|_| AppError::Corrupt("a stored answer does not load".to_owned()))
    }

    /// Reads the stored answer to an earlier request with the key.
    pub(crate) fn query(&self, ctx: &Ctx) -> Query {
        answer_get(ctx.subject, self.hash)
    }

    /// Deletes a stored answer that has run out.
    pub(crate) fn forget(&self, ctx: &Ctx) -> Query {
        answer_forget(ctx.subject, self.hash)
    }

    /// Stores an answer, sealed under the person's trail key.
    pub(crate) fn store<T: Serialize>(
        &self,
        ctx: &Ctx,
        ring: &Ring,
        keys: &SubjectKeys,
        answer: &T,
    ) -> Result<Query, AppError> {
        let text = serde_json::to_vec(answer).expect("an answer can be written as JSON");
        let sealed = keys.seal_trail(&self.place(), &text).to_base64();
        let (ring_key, _) = ring.transit(ctx.now())?;
        let fingerprint = self.fingerprint(ring, ring_key)?;
        Ok(answer_store(ctx.subject, self.hash, ring_key, fingerprint, sealed, ctx.now()))
    }
}
