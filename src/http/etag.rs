//! Entity tags: a stream's version in quotes, for `ETag` and `If-Match` (RFC 9110).

use crate::app::AppError;

/// The tag of a version.
pub fn tag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The version that `If-Match` names; none where the header is absent or `*`.
pub fn wanted(if_match: Option<&str>) -> Result<Option<i64>, AppError> {
    match if_match.map(str::trim) {
        None | Some("*") => Ok(None),
        Some(text) => {
            let version =
                text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
            version.map(Some).ok_or_else(|| AppError::parameter("If-Match", "must be a tag that an ETag header gave"))
        }
    }
}
