//! What a demonstration is asked to be.

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::data::place::{Folder, PlaceError, read_secret};

/// What the demonstration is made of.
#[derive(Clone, Debug)]
pub struct Demo {
    /// How many people.
    pub people: usize,
    /// From what they are made; never anything secret.
    pub seed: u64,
    /// The hospitals they work at, a CSV with `name` and `state`.
    pub hospitals: Option<std::path::PathBuf>,
    /// The TCP port on loopback; 0 for any.
    pub port: u16,
    /// How long a confirmed deletion can be cancelled.
    pub grace: TimeDelta,
    /// The sender of letters.
    pub sender: String,
}

/// What an earlier run left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) seed: u64,
    pub(crate) first_day: NaiveDate,
    pub(crate) people: usize,
}

pub(crate) fn progress_of(folder: &Folder) -> Result<Option<Progress>, PlaceError> {
    let path = folder.join("progress.json");
    let Some(text) = read_secret(&path)? else { return Ok(None) };
    let foreign = || {
        let advice =
            "another version of the demonstration wrote it: name another folder with --data, or remove this one";
        PlaceError::Malformed(path, advice.to_owned())
    };
    serde_json::from_str(&text).map(Some).map_err(|_| foreign())
}
