//! Mailed codes: valid for ten minutes, for one use, for one address. `app/identity/code.rs` mails codes and checks
//! them.
//!
//! A code has six digits. When strangers have tried too often on the address, it has twelve letters and digits, which
//! nobody can guess. The database holds a keyed hash under a transit key of the ring. Each client that asks gets a code
//! of its own, so that nobody's request replaces a code that was mailed to somebody else.

use aws_lc_rs::{constant_time, rand};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Ctx, Personal};
use db::{FromRow, Lookup, Query, sql};
use vault::{Ring, TransitId};

use crate::auth::devices::{Asker, Device};

pub const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Crockford's alphabet, in which no letter looks like a digit. It has 32 characters, so twelve of them hold 60 bits.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS: usize = 6;
const LONG: usize = 12;

/// A code that was shown and is right.
pub struct Shown {
    code_hash: Vec<u8>,
    /// The device that showed the code, if the person signed in on it before.
    pub device: Option<Device>,
}

/// Six random digits; each of the million codes is equally likely.
pub fn short_code() -> Personal<String> {
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

/// Twelve random letters and digits.
pub fn long_code() -> Personal<String> {
    let mut bytes = [0; LONG];
    rand::fill(&mut bytes).expect("the operating system gives random bytes");
    Personal::new(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// The code as a letter shows it: a long code in groups of four.
pub fn code_shown(code: &str) -> String {
    if code.len() == DIGITS {
        return code.to_owned();
    }
    let groups: Vec<String> =
        code.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join("-")
}

/// Brings a typed code into the form that was hashed. In a long code, blanks, hyphens and case do not matter, and
/// letters that look like digits count as these digits. `None` when the text can't be a code.
pub fn code_typed(text: &str) -> Option<String> {
    if text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.to_owned());
    }
    let bare = text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    });
    let code: String = bare.collect();
    let sound = code.len() == LONG && code.bytes().all(|byte| LETTERS.contains(&byte));
    sound.then_some(code)
}

/// A stored code that was not used yet.
#[derive(FromRow)]
pub struct Waiting {
    #[row(sql = "ring_key")]
    key: TransitId,
    code_hash: Vec<u8>,
    expires_at: DateTime<Utc>,
    /// Whether the code has twelve letters and digits.
    pub is_long: bool,
}

impl Waiting {
    /// The name under which tries of this code are counted.
    pub fn key(&self) -> String {
        hex::encode(&self.code_hash)
    }

    /// Compares a shown code with the stored one, in constant time. `None` when they differ or the transit key is gone.
    pub fn compare(&self, ring: &Ring, address: Lookup, code: &str, asker: &Asker) -> Option<Shown> {
        let shown = code_hash(ring, self.key, address, self.expires_at, code)?;
        constant_time::verify_slices_are_equal(&shown, &self.code_hash).ok()?;
        Some(Shown { code_hash: self.code_hash.clone(), device: asker.device().cloned() })
    }
}

/// The keyed hash of a code. It covers the address and the expiry, so that a moved or prolonged row matches no code.
fn code_hash(ring: &Ring, key: TransitId, address: Lookup, expires_at: DateTime<Utc>, code: &str) -> Option<[u8; 32]> {
    ring.transit_hash(key, &[b"code", &address.0, &expires_at.timestamp_micros().to_be_bytes(), code.as_bytes()])
}

/// Tells the code of one asker from the codes of others.
fn asker_hash(ring: &Ring, key: TransitId, address: Lookup, asker: &Asker) -> Vec<u8> {
    let hash = ring.transit_hash(key, &[b"asker of a code", &address.0, asker.key().as_bytes()]);
    hash.expect("today's transit key is there").to_vec()
}

/// Stores a code; it replaces the code that the same asker was mailed before.
pub fn code_store(ring: &Ring, ctx: &Ctx, key: TransitId, address: Lookup, asker: &Asker, code: &str) -> Query {
    let expires_at = ctx.now() + LIFETIME;
    let hash = code_hash(ring, key, address, expires_at, code).expect("today's transit key is there");
    Query::new(
        "-- code_store
        INSERT INTO auth.codes (address_hash, asker_hash, ring_key, code_hash, is_long, expires_at, used_at)
        VALUES ($1, $2, $3, $4, $5, $6, NULL)
        ON CONFLICT (address_hash, asker_hash) DO UPDATE
        SET ring_key = excluded.ring_key, code_hash = excluded.code_hash, is_long = excluded.is_long,
            expires_at = excluded.expires_at, used_at = NULL",
    )
    .bind(address.0.to_vec())
    .bind(asker_hash(ring, key, address, asker))
    .bind(key)
    .bind(hash.to_vec())
    .bind(code.len() == LONG)
    .bind(expires_at)
}

/// Up to two codes that an asker may show: its own, and the newest of the others.
pub fn codes_get(ring: &Ring, ctx: &Ctx, key: TransitId, address: Lookup, asker: &Asker) -> Query {
    Query::new(sql!(
        "-- codes_get
        SELECT ",
        Waiting::COLUMNS,
        " FROM auth.codes
        WHERE address_hash = $1 AND used_at IS NULL AND expires_at > $2
        ORDER BY asker_hash = $3 DESC, expires_at DESC LIMIT 2"
    ))
    .bind(address.0.to_vec())
    .bind(ctx.now())
    .bind(asker_hash(ring, key, address, asker))
}

/// Marks a code as used. Returns no row when another request used it first.
pub fn code_use(ctx: &Ctx, address: Lookup, shown: &Shown) -> Query {
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

/// How somebody proves that an address is theirs.
pub enum Proof {
    /// A mailed code that was shown and is right.
    Code(Shown),
    /// The command line, whose operator needs no code.
    Operator,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for (typed, code) in [
            ("012345", Some("012345")),
            ("0123-4567-89AB", Some("0123456789AB")),
            ("0123 4567 89ab", Some("0123456789AB")),
            ("oil3456789xz", Some("0113456789XZ")),
            ("01234", None),
            ("0123456", None),
            ("12345a", None),
            ("012 345", None),
            ("0123456789AU", None),
            ("0123456789AÄ", None),
            ("٠١٢٣٤٥", None),
            ("", None),
        ] {
            assert_eq!(code_typed(typed).as_deref(), code, "{typed:?}");
        }
    }

    #[test]
    fn what_a_letter_shows_is_read_back() {
        for _ in 0..100 {
            for code in [short_code(), long_code()] {
                assert_eq!(code_typed(&code_shown(code.reveal())).as_deref(), Some(code.reveal().as_str()));
            }
        }
        assert_eq!(code_shown("0123456789AB"), "0123-4567-89AB");
    }
}
