//! The texts of letters: one constructor for each purpose, in plain English and German. Refuses to know how a letter
//! travels.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::mail::template::fill;

/// A letter to one person. It has no `Debug` on purpose, because it names somebody and carries secrets.
#[derive(Serialize, Deserialize)]
pub struct Letter {
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) attachment: Option<Attachment>,
    /// How long the letter is worth sending. It is not stored in the letter, because the queue's row holds the time
    /// until when.
    #[serde(skip)]
    pub(super) lifetime: TimeDelta,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Attachment {
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) text: String,
}

/// A letter must not outlive the key that seals it: a transit key lives for at least 48 hours after its last use.
const LIFETIME: TimeDelta = TimeDelta::hours(47);
/// A code is of no use once it has expired.
const LIFETIME_OF_A_CODE: TimeDelta = TimeDelta::minutes(10);

impl Letter {
    pub fn code(to: &str, code: &str) -> Self {
        let letter = Self::new(to, include_str!("templates/code.txt"), &[("code", code)]);
        Self { lifetime: LIFETIME_OF_A_CODE, ..letter }
    }

    /// Asks for the confirmation of a deletion. Holds the one-time token, the phrase to type, and until when they
    /// count.
    pub fn deletion_requested(to: &str, token: &str, phrase: &str, expires_at: DateTime<Utc>) -> Self {
        let template = include_str!("templates/deletion_requested.txt");
        Self::new(to, template, &[("token", token), ("phrase", phrase), ("expires_at", &minute(expires_at))])
    }

    /// The same for a request that replaces an earlier one, whose token no longer works.
    pub fn deletion_requested_anew(to: &str, token: &str, phrase: &str, expires_at: DateTime<Utc>) -> Self {
        let template = include_str!("templates/deletion_requested_anew.txt");
        Self::new(to, template, &[("token", token), ("phrase", phrase), ("expires_at", &minute(expires_at))])
    }

    /// Says when a confirmed deletion happens, and how to cancel it until then.
    pub fn deletion_confirmed(to: &str, grace_ends_at: DateTime<Utc>) -> Self {
        let template = include_str!("templates/deletion_confirmed.txt");
        Self::new(to, template, &[("grace_ends_at", &minute(grace_ends_at))])
    }

    /// Says that a confirmed deletion pauses because the account is suspended: until when, when the deletion happens
    /// now, and how to cancel it.
    pub fn deletion_paused(to: &str, until: DateTime<Utc>, grace_ends_at: DateTime<Utc>) -> Self {
        let template = include_str!("templates/deletion_paused.txt");
        Self::new(to, template, &[("until", &minute(until)), ("grace_ends_at", &minute(grace_ends_at))])
    }

    pub fn deletion_cancelled(to: &str) -> Self {
        Self::new(to, include_str!("templates/deletion_cancelled.txt"), &[])
    }

    /// Says that a legal hold defers a deletion, with the reason and the end (GDPR Art. 12(4), 17(3)).
    pub fn deletion_deferred(to: &str, reason: &str, until: DateTime<Utc>) -> Self {
        let template = include_str!("templates/deletion_deferred.txt");
        Self::new(to, template, &[("reason", reason), ("until", &minute(until))])
    }

    /// The last letter: says that everything is erased, what remains and why. Carries the signed certificate of
    /// erasure.
    pub fn erased(to: &str, certificate_json: &str) -> Self {
        Self::new(to, include_str!("templates/erased.txt"), &[])
            .with_json_ld("certificate-of-erasure", certificate_json)
    }

    /// Says that chosen records were deleted, and how many. Carries the signed certificate of erasure.
    pub fn records_deleted(to: &str, count: usize, certificate_json: &str) -> Self {
        let template = include_str!("templates/records_deleted.txt");
        Self::new(to, template, &[("count", &count.to_string())])
            .with_json_ld("certificate-of-erasure", certificate_json)
    }

    /// Says that records of a kind will be kept for a shorter time: before and after in days (`None`: as long as the
    /// account), from when on, and how to take it back.
    pub fn retention_shortened(
        to: &str,
        kind: &str,
        before: Option<u32>,
        after: Option<u32>,
        counts_from: DateTime<Utc>,
    ) -> Self {
        let english = |days: Option<u32>| match days {
            None => "as long as the account".to_owned(),
            Some(1) => "1 day".to_owned(),
            Some(days) => format!("{days} days"),
        };
        let german = |days: Option<u32>| match days {
            None => "so lange wie das Konto".to_owned(),
            Some(1) => "1 Tag".to_owned(),
            Some(days) => format!("{days} Tage"),
        };
        let values = [
            ("kind", kind),
            ("counts_from", &minute(counts_from)),
            ("before", &english(before)),
            ("after", &english(after)),
            ("vorher", &german(before)),
            ("nachher", &german(after)),
        ];
        Self::new(to, include_str!("templates/retention_shortened.txt"), &values)
    }

    /// Says that many records were removed at once at the request of a signed-in client: of which kind, how many, and
    /// when.
    pub fn records_removed(to: &str, kind: &str, count: usize, at: DateTime<Utc>) -> Self {
        let values = [("kind", kind), ("count", &count.to_string()), ("at", &minute(at))];
        Self::new(to, include_str!("templates/records_removed.txt"), &values)
    }

    /// Says that an export can be downloaded, and until when.
    pub fn export_ready(to: &str, expires_at: DateTime<Utc>) -> Self {
        Self::new(to, include_str!("templates/export_ready.txt"), &[("expires_at", &minute(expires_at))])
    }

    /// Says that an export failed, and that it can be asked for again.
    pub fn export_failed(to: &str) -> Self {
        Self::new(to, include_str!("templates/export_failed.txt"), &[])
    }

    /// Confirms that a consent was given or withdrawn. Carries the signed receipt.
    pub fn receipt(to: &str, granted: bool, purpose_title: &str, receipt_json: &str) -> Self {
        let template = if granted {
            include_str!("templates/consent_granted.txt")
        } else {
            include_str!("templates/consent_withdrawn.txt")
        };
        Self::new(to, template, &[("purpose", purpose_title)]).with_json_ld("consent-receipt", receipt_json)
    }

    /// Says that a notice has changed, so that consent to the purpose no longer counts and is asked for again. Carries
    /// the new text.
    pub fn notice_changed(to: &str, purpose_title: &str, notice_text: &str) -> Self {
        let letter = Self::new(to, include_str!("templates/notice_changed.txt"), &[("purpose", purpose_title)]);
        letter.with_file("notice.md", "text/markdown", notice_text)
    }

    /// Tells the operator's address of an alert. Names random ids only, never the content of data.
    pub fn alert(to: &str, rule: &str, severity: &str, actor: &str, count: &str, since: &str) -> Self {
        let values = [("rule", rule), ("severity", severity), ("actor", actor), ("count", count), ("since", since)];
        Self::new(to, include_str!("templates/alert.txt"), &values)
    }

    /// Says that a request takes longer, with the reason and the new date (GDPR Art. 12(3)).
    pub fn request_extended(to: &str, reason: &str, due_at: DateTime<Utc>) -> Self {
        let template = include_str!("templates/request_extended.txt");
        Self::new(to, template, &[("reason", reason), ("due_at", &minute(due_at))])
    }

    fn new(to: &str, template: &str, values: &[(&str, &str)]) -> Self {
        let (subject, text) = fill(template, values);
        Self { to: to.to_owned(), subject, text, attachment: None, lifetime: LIFETIME }
    }

    fn with_json_ld(self, name: &str, text: &str) -> Self {
        self.with_file(&format!("{name}.jsonld"), "application/ld+json", text)
    }

    fn with_file(self, name: &str, media_type: &str, text: &str) -> Self {
        let (name, media_type) = (name.to_owned(), media_type.to_owned());
        Self { attachment: Some(Attachment { name, media_type, text: text.to_owned() }), ..self }
    }
}

/// A time as letters print it: UTC, to the minute.
fn minute(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}
