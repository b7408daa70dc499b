//! A decision on a purpose: the notice that it is made on, its command, and what its event says.

use std::sync::OnceLock;

use aws_lc_rs::digest;
use domain::rights::consent::{ConsentCommand, ConsentEvent, Decision, NOTICES, Notice, Purpose};
use event_log::Event;

use crate::app::AppError;

/// SHA-256 of a notice's text, hexadecimal.
pub fn notice_hash(notice: &Notice) -> &'static str {
    static HASHES: OnceLock<Vec<String>> = OnceLock::new();
    let hashes = HASHES.get_or_init(|| {
        NOTICES.iter().map(|notice| hex::encode(digest::digest(&digest::SHA256, notice.text.as_bytes()))).collect()
    });
    let at = NOTICES.iter().position(|known| known.purpose == notice.purpose && known.version == notice.version);
    &hashes[at.expect("every notice is one of the list")]
}

/// A decision on the current notice of a purpose.
pub(crate) fn current(purpose: Purpose) -> Decision {
    let notice = Notice::current(purpose);
    Decision { purpose, notice_version: notice.version.to_owned(), notice_hash: notice_hash(notice).to_owned() }
}

/// The command that gives or withdraws consent to a purpose. `version` is the notice that was shown; `None`: the
/// current one.
pub(crate) fn command(purpose: Purpose, granted: bool, version: Option<&str>) -> ConsentCommand {
    let decision = current(purpose);
    if granted {
        ConsentCommand::Grant { decision, shown: version.map(str::to_owned) }
    } else {
        ConsentCommand::Withdraw { decision }
    }
}

/// Reads an event of a consent's stream.
pub(crate) fn decided(event: &Event) -> Result<ConsentEvent, AppError> {
    serde_json::from_str(&event.payload).map_err(|_| AppError::Corrupt("a consent has another shape".to_owned()))
}

/// The title of a purpose: the heading of its notice.
pub(crate) fn title(notice: &Notice) -> &'static str {
    notice.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

/// Who receives the data that is kept for a purpose, in plain words; the empty list: nobody.
pub fn recipients(purpose: Option<Purpose>) -> &'static [&'static str] {
    match purpose {
        Some(Purpose::Statistics) => &["the public, as statistics over many people with noise added"],
        _ => &[],
    }
}
