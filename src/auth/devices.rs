//! Devices: clients on which a person signed in before, each known by a secret that it keeps. What a device tries and has mailed is
//! counted apart from what everybody else does with the same address, so that strangers keep nobody out.
//!
//! A secret opens nothing: whoever holds one still needs a mailed code. The database holds a keyed hash of it; a row that was moved to
//! another person, or prolonged, makes nobody known.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, Personal};
use db::{Lookup, Query, Row, Tx};
use vault::Ring;

use crate::data::random::random_text;

/// How long a device is known after the sign-in that made it so.
const LIFETIME: TimeDelta = TimeDelta::days(400);
/// So many devices of one person are known; the oldest goes.
const DEVICES: i64 = 10;

/// Who asks for codes and shows them.
pub enum Asker {
    /// A device of the person whose address it is.
    Device(Device),
    /// A client that is not known there, by its key of `auth/limits.rs`.
    Client(String),
}

/// A device that is known.
#[derive(Clone)]
pub struct Device {
    /// Its secret, as it was shown.
    pub secret: Personal<String>,
    /// The keyed hash of it, by which its row is found.
    pub lookup: Lookup,
}

impl Device {
    /// The device whose secret is `secret`, known or not.
    pub fn shown(ring: &Ring, secret: &str) -> Self {
        Self { secret: Personal::new(secret.to_owned()), lookup: ring.lookup("device", secret.as_bytes()) }
    }

    /// By what its tries and letters are counted.
    pub fn key(&self) -> String {
        format!("device {}", hex::encode(self.lookup.0))
    }
}

impl Asker {
    /// By what its codes and tries are told from those of others.
    pub fn key(&self) -> String {
        match self {
            Self::Device(device) => device.key(),
            Self::Client(client) => format!("client {client}"),
        }
    }

    /// The device, if it is one.
    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            Self::Client(_) => None,
        }
    }
}

/// Queues that a new device is known from now on; gives its secret.
pub fn add(ring: &Ring, ctx: &Ctx, tx: &Tx) -> Personal<String> {
    let device = Device::shown(ring, &random_text(32));
    tx.queue(devices_trim(ctx));
    tx.queue(device_insert(ring, ctx, device.lookup));
    device.secret
}

fn device_mac(ring: &Ring, ctx: &Ctx, lookup: Lookup, expires_at: DateTime<Utc>) -> [u8; 32] {
    let expiry = expires_at.timestamp_micros().to_be_bytes();
    ring.row_mac("devices", &[ctx.subject.0.as_bytes(), &lookup.0, &expiry])
}

/// Whether a row of [`device_get`] is as we wrote it, and its time is not over.
pub fn is_ours(ring: &Ring, ctx: &Ctx, lookup: Lookup, row: &Row) -> bool {
    let (expires_at, mac): (DateTime<Utc>, Vec<u8>) = (row.get(0), row.get(1));
    let expiry = expires_at.timestamp_micros().to_be_bytes();
    let ours = ring.check_row("devices", &[ctx.subject.0.as_bytes(), &lookup.0, &expiry], &mac);
    ours && ctx.now() < expires_at
}

/// The row of a device of the context's subject.
pub fn device_get(ctx: &Ctx, lookup: Lookup) -> Query {
    Query::new("-- device_get\nSELECT expires_at, mac FROM auth.devices WHERE subject_id = $1 AND device_hash = $2")
        .bind(ctx.subject.0)
        .bind(lookup.0.to_vec())
}

/// Forgets all of a person's devices.
pub fn devices_forget(ctx: &Ctx) -> Query {
    Query::new("-- devices_forget\nDELETE FROM auth.devices WHERE subject_id = $1").bind(ctx.subject.0)
}

/// Makes room for one more.
fn devices_trim(ctx: &Ctx) -> Query {
    Query::new(
        "-- devices_trim
        DELETE FROM auth.devices
        WHERE subject_id = $1
          AND device_hash IN (SELECT device_hash FROM auth.devices WHERE subject_id = $1
                              ORDER BY known_at DESC, device_hash OFFSET $2)",
    )
    .bind(ctx.subject.0)
    .bind(DEVICES - 1)
}

fn device_insert(ring: &Ring, ctx: &Ctx, lookup: Lookup) -> Query {
    let expires_at = ctx.now() + LIFETIME;
    Query::new(
        "-- device_insert
        INSERT INTO auth.devices (subject_id, device_hash, known_at, expires_at, mac) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(ctx.subject.0)
    .bind(lookup.0.to_vec())
    .bind(ctx.now())
    .bind(expires_at)
    .bind(device_mac(ring, ctx, lookup, expires_at).to_vec())
}
