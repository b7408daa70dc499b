//! Cursors, which say where the next page begins and are opaque to clients.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{app::AppError, http::request::number::Whole};

/// The page that a request asks for.
pub struct Page {
    /// The value behind which the page begins; `None`: the first page.
    pub after: Option<String>,
    /// The most entries of the page.
    pub limit: usize,
}

impl Page {
    /// Reads the parameters `cursor` and `limit`. `usual` is the limit if none is given; the document has its bounds.
    pub fn read<const MOST: u64>(
        cursor: Option<&str>,
        limit: Option<Whole<1, MOST>>,
        usual: usize,
    ) -> Result<Self, AppError> {
        let limit = limit.map_or(usual, Whole::fit);
        let after = cursor.map(|text| {
            URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)
        });
        Ok(Self { after: after.transpose()?, limit })
    }
}

fn wrong() -> AppError {
    AppError::parameter("cursor", "is not one that we gave")
}

/// Reads a part of a cursor; refuses a cursor that we never gave.
pub fn part<T: FromStr>(text: &str) -> Result<T, AppError> {
    text.parse().map_err(|_| wrong())
}

/// The cursor of the page behind a value.
pub fn make(value: &str) -> String {
    URL_SAFE_NO_PAD.encode(value)
}
