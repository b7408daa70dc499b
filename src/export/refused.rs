//! Why a document is not read.

use std::io;

use domain::Fault;
use vault::RingError;

use crate::export::store::StoreError;

pub enum Refused {
    /// The document is not as we made it.
    Changed(Vec<Fault>),
    Ring(RingError),
    /// The document can't be read from the disk.
    Store(StoreError),
}

impl Refused {
    pub(crate) fn fault(field: &str, message: &str) -> Self {
        vec![Fault::new(field, message)].into()
    }
}

impl From<Vec<Fault>> for Refused {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Changed(faults)
    }
}

impl From<RingError> for Refused {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The fault of a document whose proof does not hold.
pub(crate) fn unproven() -> Fault {
    Fault::new("proof", "does not fit the file: it was changed, or was not exported here")
}

/// A name from the file, reduced to 64 harmless characters, so that an error message can hold it.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || ['_', '.', '/'].contains(c)).take(64).collect()
}
