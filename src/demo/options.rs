//! The options of a demonstration, and the notes of an earlier run.

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::data::home::{Folder, HomeError, read_secret};

#[derive(Clone, Debug)]
pub struct Demo {
    pub people: usize,
    /// The seed that people are made from; it never makes anything secret.
    pub seed: u64,
    /// A CSV file with the columns `name` and `state`; `None` means the built-in list.
    pub hospitals: Option<std::path::PathBuf>,
    /// The TCP port on loopback; 0 means any free port.
    pub port: u16,
    pub grace: TimeDelta,
    pub sender: String,
}

/// The notes that an earlier run left in `progress.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) seed: u64,
    pub(crate) first_day: NaiveDate,
    pub(crate) people: usize,
}

pub(crate) fn progress_of(folder: &Folder) -> Result<Option<Progress>, HomeError> {
    let path = folder.join("progress.json");
    let Some(text) = read_secret(&path)? else { return Ok(None) };
    let foreign = || {
        let advice =
            "another version of the demonstration wrote it: name another folder with --data, or remove this one";
        HomeError::Malformed(path, advice.to_owned())
    };
    serde_json::from_str(&text).map(Some).map_err(|_| foreign())
}
