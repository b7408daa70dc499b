//! Reasons that people must read: why staff opened a person's data, why a legal hold stands.

use context::SubjectId;
use domain::text::Reason;
use projections::identity::account::SwitchesRow;
use vault::{Aad, Sealed, SubjectKeys};

use crate::app::AppError;

/// A reason that a person is to read, or the fault of it.
pub(crate) fn parse(text: &str) -> Result<Reason, AppError> {
    Reason::parse(text).map_err(|fault| AppError::parameter("reason", &fault))
}

/// The place that the sealed reason of a hold belongs to.
pub(crate) fn hold_place(subject: SubjectId) -> Aad {
    Aad::of("hold").and(subject.0.as_bytes())
}

/// The reason of the hold that stands, if one was placed.
pub(crate) fn hold_reason(
    keys: &SubjectKeys,
    subject: SubjectId,
    switches: &SwitchesRow,
) -> Result<Option<String>, AppError> {
    let Some(sealed) = &switches.hold_sealed else { return Ok(None) };
    let text = keys.open_trail(&hold_place(subject), &Sealed::from_base64(sealed)?)?;
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| AppError::Corrupt("a reason does not load".to_owned()))
}
