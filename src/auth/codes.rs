//! Mailed codes: six digits, ten minutes, five tries, bound to their address, used once.
//!
//! An attempt is counted, and the count committed, before the code is compared. The code is kept as a keyed hash under a
//! transit key of the ring; known and unknown addresses take the same path.

use aws_lc_rs::{constant_time, rand};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, Personal};
use db::{Gate, Lookup, Query, Tx};
use vault::{Ring, TransitId};

use crate::{
    app::{App, AppError},
    mail::{Letter, letter_insert},
};

const LIFETIME: TimeDelta = TimeDelta::minutes(10);
const TRIES: i32 = 5;

/// A code that was shown and found right: its stored hash, by which it is used up.
pub struct Shown {
    code_hash: Vec<u8>,
}

/// Six digits of the operating system's generator, each of the million equally likely.
fn random_code() -> Personal<String> {
    const FAIR: u32 = u32::MAX - u32::MAX % 1_000_000;
    loop {
        let mut bytes = [0; 4];
        rand::fill(&mut bytes).expect("the operating system gives random bytes");
        let number = u32::from_be_bytes(bytes);
        if number < FAIR {
            return Personal::new(format!("{:06}", number % 1_000_000));
        }
    }
}

impl App {
    /// Mails a fresh code to an address; it replaces an earlier one. Nothing tells whether the address is known.
    pub async fn code_send(&self, ctx: &Ctx, email: &str) -> Result<(), AppError> {
        let ring = self.vault.ring();
        let (address, _) = ring.address_hash(email);
        let (key, sealer) = ring.transit(ctx.now())?;
        let code = random_code();
        let expires_at = ctx.now() + LIFETIME;
        let hash = code_hash(ring, key, address, expires_at, code.reveal()).expect("today's transit key is there");
        let sealer = &sealer;
        let letter = &Letter::code(email, code.reveal());
        self.db
            .api
            .run_tx("auth_code", ctx, Gate::lookup(address), move |tx| async move {
                tx.queue(code_store(expires_at, address, key, hash));
                tx.queue(letter_insert(ctx, letter, key, sealer));
                Ok(())
            })
            .await
    }

    /// Compares a code with the newest one mailed to the address.
    pub async fn code_show(&self, ctx: &Ctx, email: &str, code: &str) -> Result<Shown, AppError> {
        let ring = self.vault.ring();
        let (address, _) = ring.address_hash(email);
        let rows = self
            .db
            .api
            .run_tx("code_show", ctx, Gate::lookup(address), move |tx| async move {
                let [rows] = tx.finish([code_try(ctx, address)]).await?;
                Ok::<_, AppError>(rows)
            })
            .await?;
        let row = rows.first().ok_or(AppError::CodeRefused)?;
        let (key, stored, expires_at): (TransitId, Vec<u8>, DateTime<Utc>) = (row.get(0), row.get(1), row.get(2));
        let shown = code_hash(ring, key, address, expires_at, code).ok_or(AppError::CodeRefused)?;
        match constant_time::verify_slices_are_equal(&shown, &stored) {
            Ok(()) => Ok(Shown { code_hash: stored }),
            Err(_) => Err(AppError::CodeRefused),
        }
    }
}

/// The keyed hash of a code: it holds for its address and until its expiry only.
fn code_hash(ring: &Ring, key: TransitId, address: Lookup, expires_at: DateTime<Utc>, code: &str) -> Option<[u8; 32]> {
    ring.transit_hash(key, &[b"code", &address.0, &expires_at.timestamp_micros().to_be_bytes(), code.as_bytes()])
}

fn code_store(expires_at: DateTime<Utc>, address: Lookup, key: TransitId, hash: [u8; 32]) -> Query {
    Query::new(
        "-- code_store
        INSERT INTO auth.codes (address_hash, ring_key, code_hash, attempts, expires_at, used_at)
        VALUES ($1, $2, $3, 0, $4, NULL)
        ON CONFLICT (address_hash) DO UPDATE
        SET ring_key = excluded.ring_key, code_hash = excluded.code_hash, attempts = 0, expires_at = excluded.expires_at,
            used_at = NULL",
    )
    .bind(address.0.to_vec())
    .bind(key)
    .bind(hash.to_vec())
    .bind(expires_at)
}

/// Counts an attempt and gives what to compare with; nothing where there is no code, or no attempt left.
fn code_try(ctx: &Ctx, address: Lookup) -> Query {
    Query::new(
        "-- code_try
        UPDATE auth.codes SET attempts = attempts + 1
        WHERE address_hash = $1 AND used_at IS NULL AND expires_at > $2 AND attempts < $3
        RETURNING ring_key, code_hash, expires_at",
    )
    .bind(address.0.to_vec())
    .bind(ctx.now())
    .bind(TRIES)
}

/// Uses a code up; no row where somebody else was faster.
fn code_use(ctx: &Ctx, address: Lookup, shown: &Shown) -> Query {
    Query::new(
        "-- code_use
        UPDATE auth.codes SET used_at = $3
        WHERE address_hash = $1 AND code_hash = $2 AND used_at IS NULL AND expires_at > $3
        RETURNING true",
    )
    .bind(address.0.to_vec())
    .bind(shown.code_hash.clone())
    .bind(ctx.now())
}

/// How somebody shows that an address is theirs.
pub enum Proof {
    /// A code that was mailed to it, by its stored hash.
    Code(Shown),
    /// The command line, which needs none.
    Operator,
}

/// Uses a code up; of several that show it at once, one gets through.
pub async fn use_up(tx: &Tx, ctx: &Ctx, address: Lookup, proof: &Proof) -> Result<(), AppError> {
    let Proof::Code(shown) = proof else { return Ok(()) };
    let [used] = tx.flight([code_use(ctx, address, shown)]).await?;
    if used.is_empty() { Err(AppError::CodeRefused) } else { Ok(()) }
}
