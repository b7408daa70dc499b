//! The parameters `cursor` and `limit` of lists. A cursor says behind which place of a list a page begins, and is opaque
//! to clients.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem_openapi::param::Query;
use projections::page::Page;
use serde::{Serialize, de::DeserializeOwned};

use crate::{app::AppError, http::request::number::Whole};

/// The page that a request asks for, of `usual` entries if the request gives no limit. Refuses a cursor that we never
/// gave.
pub fn page<P: DeserializeOwned, const MOST: u64>(
    cursor: &Query<Option<String>>,
    limit: &Query<Option<Whole<1, MOST>>>,
    usual: usize,
) -> Result<Page<P>, AppError> {
    let place = |text: &String| place(text).ok_or_else(|| AppError::parameter("cursor", "is not one that we gave"));
    Ok(Page { after: cursor.0.as_ref().map(place).transpose()?, limit: Some(limit.0.map_or(usual, Whole::fit)) })
}

/// Reads a cursor. No place of ours is written with an escape, by which U+0000 could get into a text, and the database
/// takes no such text.
fn place<P: DeserializeOwned>(cursor: &str) -> Option<P> {
    let place = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|place| !place.contains(&b'\\'))?;
    serde_json::from_slice(&place).ok()
}

/// The cursor of the page behind a place.
pub fn make(place: impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&place).expect("a place can be written as JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_gives_back_its_place_and_nothing_else_is_one() {
        let cursor = make((7_u64, "webhook"));
        assert_eq!(place(&cursor), Some((7_u64, "webhook".to_owned())));
        assert_eq!(place::<u64>(&cursor), None, "the place of another list");
        let escaped = URL_SAFE_NO_PAD.encode(r#"[7,"web\u0000hook"]"#);
        for wrong in ["", "!!!", "Zm9v", "_w", &escaped] {
            assert_eq!(place::<(u64, String)>(wrong), None, "{wrong}");
        }
    }
}
