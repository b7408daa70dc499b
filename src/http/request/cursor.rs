//! Cursors: where the next page begins, opaque to clients.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::app::AppError;

/// Which page is asked for.
pub struct Page {
    /// Behind what it begins.
    pub after: Option<String>,
    /// How many at most.
    pub limit: usize,
}

impl Page {
    /// Reads the parameters `cursor` and `limit`.
    pub fn read(cursor: Option<&str>, limit: Option<u32>, usual: u32, most: u32) -> Result<Self, AppError> {
        let limit = limit.unwrap_or(usual);
        if limit == 0 || limit > most {
            return Err(AppError::parameter("limit", &format!("must be 1 to {most}")));
        }
        let after = cursor.map(|text| {
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)
        });
        Ok(Self { after: after.transpose()?, limit: limit as usize })
    }
}

fn wrong() -> AppError {
    AppError::parameter("cursor", "is not one that we gave")
}

/// What a cursor says.
pub fn part<T: FromStr>(text: &str) -> Result<T, AppError> {
    text.parse().map_err(|_| wrong())
}

/// The cursor behind a value.
pub fn make(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(value)
}
