//! The canonical form of an event. The hash of this form is the leaf.
//!
//! Twelve fields, each as its length in bytes (32 bits, big-endian) and its bytes: the name of the form,
//! `aggregate_type`, `aggregate_id`, `sequence`, `event_type`, `event_version`, `payload`, `metadata`, `event_id`,
//! `subject_id`, `kind`, `recorded_at`. Texts are UTF-8, payload and metadata exactly as stored; ids are their sixteen
//! bytes; `sequence`, and `recorded_at` in microseconds since 1970, are signed 64-bit integers, big-endian. The leaf's
//! hash is SHA-256 of a zero byte and these bytes (RFC 6962, section 2.1). Everything personal in it is sealed, so that
//! a leaf outlives every key.

/// The name of the form, with which every leaf begins.
pub const FORM: &str = "lethe-event/1";

/// The longest leaf that an entry bundle can hold (C2SP `tlog-tiles`).
pub const LARGEST: usize = u16::MAX as usize;

const FIELDS: usize = 12;

/// An event, as far as the tree commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    pub aggregate_type: &'a str,
    pub aggregate_id: &'a str,
    /// Number of the event in its stream, from 1.
    pub sequence: i64,
    pub event_type: &'a str,
    /// Version of the payload's shape.
    pub event_version: &'a str,
    /// The exact text of the payload.
    pub payload: &'a str,
    /// The exact text of the metadata.
    pub metadata: &'a str,
    pub event_id: [u8; 16],
    /// The person whom the event is about; nil for the system.
    pub subject_id: [u8; 16],
    /// The record's kind, or the aggregate's type.
    pub kind: &'a str,
    /// When the event was recorded, in microseconds since 1970.
    pub recorded_at_us: i64,
}

impl<'a> Leaf<'a> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let (sequence, recorded_at) = (self.sequence.to_be_bytes(), self.recorded_at_us.to_be_bytes());
        let fields: [&[u8]; FIELDS] = [
            FORM.as_bytes(),
            self.aggregate_type.as_bytes(),
            self.aggregate_id.as_bytes(),
            &sequence,
            self.event_type.as_bytes(),
            self.event_version.as_bytes(),
            self.payload.as_bytes(),
            self.metadata.as_bytes(),
            &self.event_id,
            &self.subject_id,
            self.kind.as_bytes(),
            &recorded_at,
        ];
        let mut bytes = Vec::with_capacity(fields.iter().map(|field| 4 + field.len()).sum());
        for field in fields {
            let length = u32::try_from(field.len()).expect("PostgreSQL holds no value of four gigabytes");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }

    /// Reads the canonical form; `None` if the bytes have another form.
    pub fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let mut field = || {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (field, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
            bytes = rest;
            Some(field)
        };
        let mut fields = [&[][..]; FIELDS];
        for place in &mut fields {
            *place = field()?;
        }
        let text = |at: usize| std::str::from_utf8(fields[at]).ok();
        let number = |at: usize| Some(i64::from_be_bytes(fields[at].try_into().ok()?));
        let id = |at: usize| fields[at].try_into().ok();
        let leaf = Self {
            aggregate_type: text(1)?,
            aggregate_id: text(2)?,
            sequence: number(3)?,
            event_type: text(4)?,
            event_version: text(5)?,
            payload: text(6)?,
            metadata: text(7)?,
            event_id: id(8)?,
            subject_id: id(9)?,
            kind: text(10)?,
            recorded_at_us: number(11)?,
        };
        (bytes.is_empty() && fields[0] == FORM.as_bytes()).then_some(leaf)
    }

    /// The columns in which two events differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let columns = [
            ("aggregate_type", self.aggregate_type == other.aggregate_type),
            ("aggregate_id", self.aggregate_id == other.aggregate_id),
            ("sequence", self.sequence == other.sequence),
            ("event_type", self.event_type == other.event_type),
            ("event_version", self.event_version == other.event_version),
            ("payload", self.payload == other.payload),
            ("metadata", self.metadata == other.metadata),
            ("event_id", self.event_id == other.event_id),
            ("subject_id", self.subject_id == other.subject_id),
            ("kind", self.kind == other.kind),
            ("recorded_at", self.recorded_at_us == other.recorded_at_us),
        ];
        columns.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// An entry bundle: leaves, each after its length (16 bits, big-endian). `None` if a leaf is too long.
pub fn bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        bytes.extend_from_slice(&u16::try_from(leaf.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(leaf);
    }
    Some(bytes)
}

/// The leaves of an entry bundle; `None` if the bundle is cut off.
pub fn entries(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf);
        bytes = rest;
    }
    bytes.is_empty().then_some(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaf<'a>(payload: &'a str, aggregate_id: &'a str, sequence: i64) -> Leaf<'a> {
        Leaf {
            aggregate_type: "record",
            aggregate_id,
            sequence,
            event_type: "record.submitted",
            event_version: "1.0",
            payload,
            metadata: "{}",
            event_id: [1; 16],
            subject_id: [2; 16],
            kind: "work_day",
            recorded_at_us: -1,
        }
    }

    /// The form never changes, because old proofs depend on it.
    #[test]
    fn the_form_is_written_down() {
        let bytes = leaf("{}", "a", 7).to_bytes();
        let start =
            b"\0\0\0\x0dlethe-event/1\0\0\0\x06record\0\0\0\x01a\0\0\0\x08\0\0\0\0\0\0\0\x07\0\0\0\x10record.submitted";
        assert!(bytes.starts_with(start), "{bytes:?}");
        assert!(bytes.ends_with(b"\0\0\0\x08work_day\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff"));
        let hash = "kVBYXq6pWnRJ4F+LTC/qn65lhB6fSCrJ3PsYuDW94kA=";
        assert_eq!(crate::record_hash(&bytes).to_string(), hash);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in ".{0,200}", id in ".{0,40}", sequence: i64) {
            let leaf = leaf(&payload, &id, sequence);
            let bytes = leaf.to_bytes();
            prop_assert_eq!(Leaf::parse(&bytes), Some(leaf));
            prop_assert_eq!(Leaf::parse(&bytes[..bytes.len() - 1]), None);
            let longer = [bytes.as_slice(), b"x"].concat();
            prop_assert_eq!(Leaf::parse(&longer), None);
        }

        #[test]
        fn a_bundle_gives_its_leaves(leaves in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let bytes = bundle(leaves.iter().map(Vec::as_slice)).expect("short leaves");
            prop_assert_eq!(entries(&bytes).expect("whole"), leaves.iter().map(Vec::as_slice).collect::<Vec<_>>());
            if !bytes.is_empty() {
                prop_assert_eq!(entries(&bytes[..bytes.len() - 1]), None);
            }
        }
    }

    #[test]
    fn a_leaf_too_long_for_a_bundle_is_refused() {
        assert!(bundle([vec![0; LARGEST].as_slice()]).is_some());
        assert!(bundle([vec![0; LARGEST + 1].as_slice()]).is_none());
    }

    #[test]
    fn differences_name_the_columns() {
        let (one, other) = (leaf("{}", "a", 1), leaf("{ }", "a", 2));
        assert_eq!(one.differences(&other), ["sequence", "payload"]);
        assert!(one.differences(&one).is_empty());
    }
}
