//! A granted key lets an auditor read the records of one person, and nothing else. The controller grants it by
//! `lethe keys grant`, for a reason that the person can read.
//!
//! Record payloads are sealed with AES-256-GCM under a key of their own: a format byte (1), a nonce of twelve bytes,
//! ciphertext and tag, in base64. The plaintext is padded by a byte 0x80 and zeros. The associated data is the place of
//! the event: its parts in this order, each after its length in 32 bits, big-endian: `event`, subject (16 bytes),
//! stream type, stream, sequence (64 bits), event type, version.

use std::{collections::BTreeMap, path::Path};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{connection::read_secret, error::AuditError, stream::AnyEvent};

const FORMAT: &str = "lethe-grant/1";

#[derive(Deserialize)]
struct File {
    format: String,
    subject_id: String,
    records: BTreeMap<String, String>,
}

/// The keys of one person's records.
pub struct Grant {
    subject: [u8; 16],
    keys: BTreeMap<String, LessSafeKey>,
}

/// The content of a sealed event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    pub record: String,
    /// The number of the event in its stream, from 1.
    pub sequence: usize,
    pub event_type: String,
    /// `None` if the key does not open the event.
    pub body: Option<Value>,
}

impl Grant {
    /// Reads a grant from a file, which must have mode 0600.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let malformed = || AuditError::Grant(path.into());
        let file: File = serde_json::from_str(&read_secret(path)?).map_err(|_| malformed())?;
        let subject = hex(&file.subject_id.replace('-', "")).filter(|_| file.format == FORMAT).ok_or_else(malformed)?;
        let key = |text: &String| {
            let secret = STANDARD.decode(text).ok()?;
            Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).ok()?))
        };
        let keys = file.records.iter().map(|(record, text)| Some((record.clone(), key(text)?)));
        Ok(Self { subject, keys: keys.collect::<Option<_>>().ok_or_else(malformed)? })
    }

    /// The content of an event of a record; `None` if the grant has no key of that record.
    pub fn show(&self, record: &str, sequence: usize, event: &AnyEvent) -> Option<Shown> {
        let key = self.keys.get(record)?;
        let body = event.payload.get("sealed").and_then(Value::as_str).and_then(|sealed| {
            let place = self.place(record, i64::try_from(sequence).ok()?, event);
            open(key, place, &STANDARD.decode(sealed).ok()?)
        });
        Some(Shown { record: record.to_owned(), sequence, event_type: event.event_type.clone(), body })
    }

    fn place(&self, record: &str, sequence: i64, event: &AnyEvent) -> Vec<u8> {
        let sequence = sequence.to_be_bytes();
        let parts: [&[u8]; 7] = [
            b"event",
            &self.subject,
            b"record",
            record.as_bytes(),
            &sequence,
            event.event_type.as_bytes(),
            event.event_version.as_bytes(),
        ];
        let mut place = Vec::new();
        for part in parts {
            place.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            place.extend_from_slice(part);
        }
        place
    }
}

fn hex(text: &str) -> Option<[u8; 16]> {
    let bytes: Option<Vec<u8>> =
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

fn open(key: &LessSafeKey, place: Vec<u8>, sealed: &[u8]) -> Option<Value> {
    let (nonce, body) = sealed.strip_prefix(&[1])?.split_at_checked(NONCE_LEN)?;
    let (nonce, mut body) = (Nonce::try_assume_unique_for_key(nonce).ok()?, body.to_vec());
    let plain = key.open_in_place(nonce, Aad::from(place), &mut body).ok()?;
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    serde_json::from_slice(plain.get(..end).filter(|_| plain[end] == 0x80)?).ok()
}
