//! Devices: clients on which a person signed in before, each known by a secret that the client keeps. Tries and letters
//! of a device are counted apart from everybody else's on the same address, so that strangers can't lock the person
//! out.
//!
//! A secret opens nothing: its holder still needs a mailed code. The database holds a keyed hash of the secret and a
//! MAC of the row, so that a row that was moved to another person, or prolonged, is not accepted.

use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, Personal};
use db::{FromRow, Lookup, Query, Row, Tx, sql};
use vault::Ring;

use crate::data::random::random_text;

const LIFETIME: TimeDelta = TimeDelta::days(400);
/// The most devices that one person has; a new one replaces the oldest.
const DEVICES: i64 = 10;

/// The client that asks for codes and shows them.
pub enum Asker {
    /// A device that is known for the person with this address.
    Device(Device),
    /// Any other client, by its [`client_key`](crate::auth::limits::client_key).
    Client(String),
}

#[derive(Clone)]
pub struct Device {
    /// The secret as the client showed it.
    pub secret: Personal<String>,
    /// The keyed hash of the secret, by which the row is found.
    pub lookup: Lookup,
}

impl Device {
    /// The device of a shown secret. Does not check that it is known.
    pub fn shown(ring: &Ring, secret: &str) -> Self {
        Self { secret: Personal::new(secret.to_owned()), lookup: ring.lookup("device", secret.as_bytes()) }
    }

    /// The name under which the device's tries and letters are counted.
    pub fn key(&self) -> String {
        format!("device {}", hex::encode(self.lookup.0))
    }
}

impl Asker {
    /// The name that tells the asker's codes and tries from those of others.
    pub fn key(&self) -> String {
        match self {
            Self::Device(device) => device.key(),
            Self::Client(client) => format!("client {client}"),
        }
    }

    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            Self::Client(_) => None,
        }
    }
}

/// Queues the row of a new device, and returns the secret that its client must keep.
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

#[derive(FromRow)]
struct DeviceRow {
    expires_at: DateTime<Utc>,
    mac: Vec<u8>,
}

/// Whether a row of [`device_get`] carries our MAC and has not expired.
pub fn is_ours(ring: &Ring, ctx: &Ctx, lookup: Lookup, row: &Row) -> bool {
    let DeviceRow { expires_at, mac } = DeviceRow::from_row(row);
    let expiry = expires_at.timestamp_micros().to_be_bytes();
    let ours = ring.check_row("devices", &[ctx.subject.0.as_bytes(), &lookup.0, &expiry], &mac);
    ours && ctx.now() < expires_at
}

/// Finds a device of the context's subject.
pub fn device_get(ctx: &Ctx, lookup: Lookup) -> Query {
    Query::new(sql!(
        "-- device_get\nSELECT ",
        DeviceRow::COLUMNS,
        " FROM auth.devices WHERE subject_id = $1 AND device_hash = $2"
    ))
    .bind(ctx.subject.0)
    .bind(lookup.0.to_vec())
}

pub fn devices_forget(ctx: &Ctx) -> Query {
    Query::new("-- devices_forget\nDELETE FROM auth.devices WHERE subject_id = $1").bind(ctx.subject.0)
}

/// Deletes the oldest devices, so that one more fits.
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
