//! Reasons that a person must be able to read: why staff opened the person's data, and why a legal hold is in force.

use context::SubjectId;
use domain::text::Reason;
use projections::identity::account::SwitchesRow;
use vault::{Place, Sealed, SubjectKeys};

use crate::app::AppError;

/// Parses a reason that a person will read; an invalid text is a fault of the parameter `reason`.
pub(crate) fn parse(text: &str) -> Result<Reason, AppError> {
    Reason::parse(text).map_err(|fault| AppError::parameter("reason", &fault))
}

/// The place of the sealed reason of a hold, which binds the reason to one person.
pub(crate) fn hold_place(subject: SubjectId) -> Place {
    Place::of("hold").and(subject.0.as_bytes())
}

/// Opens the reason of the person's legal hold; `None` if no reason is stored.
pub(crate) fn hold_reason(
    keys: &SubjectKeys,
    subject: SubjectId,
    switches: &SwitchesRow,
) -> Result<Option<String>, AppError> {
    let Some(sealed) = &switches.hold_sealed else { return Ok(None) };
    let text = keys.open_trail(&hold_place(subject), &Sealed::from_base64(sealed)?)?;
    String::from_utf8(text.to_vec()).map(Some).map_err(|_| AppError::Corrupt("a reason does not load".to_owned()))
}
