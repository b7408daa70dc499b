//! A letter as a MIME message: ASCII only, with a checked address. Lines that people copy (codes, tokens, phrases) are
//! never broken.

use domain::kinds::normalise_address;
use lettre::{
    Address, Message,
    message::{
        Attachment as Part, Body, Mailbox, MultiPart, SinglePart,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue},
    },
};
use uuid::Uuid;

use crate::mail::{Letter, MailError, letter::Attachment};

impl Letter {
    /// The recipient. Refuses a text that is not exactly one address, so that nothing gets into a header.
    pub(super) fn recipient(&self) -> Result<Address, MailError> {
        let address: Address = self.to.parse().map_err(|_| MailError::Malformed)?;
        if address.domain().is_ascii() {
            return Ok(address);
        }
        // An account of an earlier version may have a domain that is not ASCII, which only some relays take.
        let normal = normalise_address(address.as_ref()).map_err(|_| MailError::Malformed)?;
        normal.parse().map_err(|_| MailError::Malformed)
    }

    /// The message of the letter `id`. A letter that is sent twice has the same Message-ID, so that mail programs
    /// recognise it.
    pub(super) fn message(&self, id: Uuid, from: &Mailbox) -> Result<Message, MailError> {
        let builder = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, self.recipient()?))
            .subject(&self.subject)
            .message_id(Some(format!("<{id}@{}>", from.email.domain())))
            // Tells machines not to answer (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        let message = match &self.attachment {
            None => builder.header(ContentType::TEXT_PLAIN).body(body(&self.text)),
            Some(attachment) => builder.multipart(
                MultiPart::mixed()
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(body(&self.text)))
                    .singlepart(attachment.part()?),
            ),
        };
        message.map_err(|_| MailError::Malformed)
    }
}

impl Attachment {
    /// The attachment in base64, because a signature covers each of its bytes.
    fn part(&self) -> Result<SinglePart, MailError> {
        let media_type = ContentType::parse(&self.media_type).map_err(|_| MailError::Malformed)?;
        let text = self.text.clone().into_bytes();
        let body = Body::new_with_encoding(text, ContentTransferEncoding::Base64).map_err(|_| MailError::Malformed)?;
        Ok(Part::new(self.name.clone()).body(body, media_type))
    }
}

/// The body, never in base64, so that people can read a letter in a folder. ASCII text is sent as it is; other text is
/// quoted-printable, which leaves ASCII lines of up to 75 characters as they are.
fn body(text: &str) -> Body {
    Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::SevenBit)
        .or_else(|_| Body::new_with_encoding(text.to_owned(), ContentTransferEncoding::QuotedPrintable))
        .expect("every text has a quoted-printable form")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use base64::{Engine, engine::general_purpose::STANDARD};
    use chrono::{DateTime, TimeDelta, Utc};
    use domain::kinds::normalise_address;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{Letter, MailError};

    const TO: &str = "anna@klinik.example";
    const TOKEN: &str = "f3Qe_0-hUqYdP1cT7mZx2sWb9KvLr4nJgA6EoXiB5Dk";
    const JSON: &str = "{\n  \"@type\": \"Bescheinigung für Anna\",\r\n  \"n\": 1\n}";

    fn time() -> DateTime<Utc> {
        "2026-11-27T08:15:59Z".parse().expect("a time")
    }

    fn all() -> Vec<(&'static str, Letter)> {
        vec![
            ("code", Letter::code(TO, "012345")),
            ("deletion_requested", Letter::deletion_requested(TO, TOKEN, "delete everything about me", time())),
            ("deletion_confirmed", Letter::deletion_confirmed(TO, time())),
            ("deletion_cancelled", Letter::deletion_cancelled(TO)),
            ("deletion_deferred", Letter::deletion_deferred(TO, "Streit über eine Rechnung", time())),
            ("erased", Letter::erased(TO, JSON)),
            ("records_deleted", Letter::records_deleted(TO, 17, JSON)),
            ("deletion_requested_anew", Letter::deletion_requested_anew(TO, TOKEN, "delete these records", time())),
            ("deletion_paused", Letter::deletion_paused(TO, time(), time())),
            ("retention_shortened", Letter::retention_shortened(TO, "Working days", None, Some(1), time())),
            ("records_removed", Letter::records_removed(TO, "Working days", 17, time())),
            ("export_ready", Letter::export_ready(TO, time())),
            ("export_failed", Letter::export_failed(TO)),
            ("consent_granted", Letter::receipt(TO, true, "Working hours", JSON)),
            ("consent_withdrawn", Letter::receipt(TO, false, "Working hours", JSON)),
            ("notice_changed", Letter::notice_changed(TO, "Working hours", "# Working hours\n\nÜber Stunden.\n")),
            ("alert", Letter::alert(TO, "mass_reading", "critical", "server", "31", "2026-11-27T08:15:59Z")),
            ("request_extended", Letter::request_extended(TO, "Three systems have to be asked.", time())),
        ]
    }

    fn formatted(letter: &Letter) -> String {
        let from = "Lethe <lethe@localhost.example>".parse().expect("a sender");
        String::from_utf8(letter.message(Uuid::nil(), &from).expect("well formed").formatted()).expect("text")
    }

    #[test]
    fn every_letter_is_filled_in_and_speaks_both_languages() {
        let templates =
            std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/mail/templates")).expect("a folder");
        let templates = templates.map(|entry| entry.expect("an entry").path());
        let templates: BTreeSet<String> =
            templates.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
        assert_eq!(templates, all().iter().map(|(name, _)| (*name).to_owned()).collect(), "left: the templates");
        for (name, letter) in all() {
            assert!(!letter.text.contains(['{', '}']) && !letter.subject.contains(['{', '}']), "{name}");
            let text = letter.text.to_lowercase();
            let ways = ["you", "sie "].map(|word| text.matches(word).count());
            // A code and an alert speak to nobody.
            let speaks = ways.iter().all(|count| *count > 0);
            assert!(speaks || ["code", "alert"].contains(&name), "{name}: {ways:?}");
            assert!(letter.subject.contains(" / "), "{name}: {}", letter.subject);
        }
    }

    #[test]
    fn what_a_letter_is_given_stands_in_both_languages() {
        let count = |letter: Letter, wanted: &str| letter.text.matches(wanted).count();
        assert_eq!(count(Letter::code(TO, "012345"), "012345"), 2);
        let requested = || Letter::deletion_requested(TO, TOKEN, "delete everything", time());
        assert_eq!(
            [TOKEN, "\ndelete everything\n", "2026-11-27 08:15 UTC"].map(|wanted| count(requested(), wanted)),
            [2; 3]
        );
        assert_eq!(count(Letter::deletion_confirmed(TO, time()), "2026-11-27 08:15 UTC"), 2);
        let deferred = || Letter::deletion_deferred(TO, "a law suit", time());
        assert_eq!(["a law suit", "2026-11-27 08:15 UTC"].map(|wanted| count(deferred(), wanted)), [2; 2]);
        assert_eq!(count(Letter::records_deleted(TO, 17, JSON), ": 17\n"), 2);
        let anew = || Letter::deletion_requested_anew(TO, TOKEN, "delete everything", time());
        assert_eq!(
            [TOKEN, "\ndelete everything\n", "2026-11-27 08:15 UTC"].map(|wanted| count(anew(), wanted)),
            [2; 3]
        );
        let end = time() + TimeDelta::hours(9);
        let paused = || Letter::deletion_paused(TO, time(), end);
        assert_eq!(["2026-11-27 08:15 UTC", "2026-11-27 17:15 UTC"].map(|wanted| count(paused(), wanted)), [2; 2]);
        let shortened = || Letter::retention_shortened(TO, "Working days", None, Some(1), time());
        assert_eq!(["Working days", "2026-11-27 08:15 UTC"].map(|wanted| count(shortened(), wanted)), [2; 2]);
        let days = ["as long as the account", "so lange wie das Konto", "1 day\n", "1 Tag\n"];
        assert_eq!(days.map(|wanted| count(shortened(), wanted)), [1; 4]);
        let removed = || Letter::records_removed(TO, "Working days", 17, time());
        assert_eq!(["Working days", ": 17\n", "2026-11-27 08:15 UTC"].map(|wanted| count(removed(), wanted)), [2; 3]);
        assert_eq!(count(Letter::export_ready(TO, time()), "2026-11-27 08:15 UTC"), 2);
        assert_eq!(count(Letter::receipt(TO, true, "Working hours", JSON), "\nWorking hours\n"), 2);
        assert_eq!(count(Letter::receipt(TO, false, "Working hours", JSON), "\nWorking hours\n"), 2);
        assert_eq!(count(Letter::notice_changed(TO, "Working hours", "# Text"), "\nWorking hours\n"), 2);
    }

    #[test]
    fn what_is_copied_from_a_letter_stays_whole() {
        let letter = formatted(&Letter::deletion_requested(TO, TOKEN, "delete everything about me", time()));
        assert_eq!(letter.matches(&format!("\r\n{TOKEN}\r\n")).count(), 2, "{letter}");
        assert_eq!(letter.matches("\r\ndelete everything about me\r\n").count(), 2, "{letter}");
        let code = formatted(&Letter::code(TO, "012345"));
        assert!(
            code.contains("\r\nYour code: 012345\r\n") && code.contains("\r\nTo: anna@klinik.example\r\n"),
            "{code}"
        );
        for (name, letter) in all() {
            assert!(formatted(&letter).is_ascii(), "{name} needs no relay that takes 8 bits");
        }
    }

    #[test]
    fn an_attachment_keeps_each_byte() {
        for letter in [Letter::erased(TO, JSON), Letter::receipt(TO, true, "Working hours", JSON)] {
            let letter = formatted(&letter);
            let (_, part) = letter.split_once("Content-Disposition: attachment; filename=\"").expect("an attachment");
            let (head, rest) = part.split_once("\r\n\r\n").expect("a body");
            assert!(head.contains(".jsonld\"") && head.contains("Content-Type: application/ld+json"), "{head}");
            let (body, _) = rest.split_once("\r\n--").expect("it ends");
            assert_eq!(STANDARD.decode(body.replace("\r\n", "")).expect("base64"), JSON.as_bytes());
        }
    }

    #[test]
    fn no_value_and_no_address_adds_a_header() {
        let letter = formatted(&Letter::deletion_deferred(TO, "x\r\n\r\nBcc: eve@evil.example\r\n", time()));
        assert!(!letter.contains("\nBcc:"), "{letter}");
        let letter = formatted(&Letter::code(TO, "1\r\nBcc: eve@evil.example\r\n\r\n"));
        assert!(!letter.contains("\nBcc:"), "{letter}");
        for address in [
            "anna@klinik.example\r\nBcc: eve@evil.example",
            "anna@klinik.example\n",
            "anna@klinik.example, eve@evil.example",
            "Anna <anna@klinik.example>",
            "<anna@klinik.example>",
            "anna\r\n@klinik.example",
            "\"anna\r\nBcc: eve\"@klinik.example",
            "",
        ] {
            let refused = Letter::code(address, "012345").recipient();
            assert!(matches!(refused, Err(MailError::Malformed)), "{address:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn what_is_accepted_as_an_address_can_be_sent_a_letter(
            local in "[a-zäöüßéłøñ0-9+._'-]{1,12}|\\PC{1,6}",
            mark in proptest::option::of(proptest::sample::select(vec!['\u{308}', '\u{301}', '\u{200b}', '\u{5b0}'])),
            domain in "[a-zäöüß0-9-]{1,8}\\.[a-zäöü]{1,6}|\\PC{1,6}\\.\\PC{1,4}",
        ) {
            let written = format!("{local}{}@{domain}", mark.map(String::from).unwrap_or_default());
            let Ok(address) = normalise_address(&written) else { return Ok(()) };
            let letter = Letter::code(&address, "012345");
            let from = "Lethe <lethe@localhost.example>".parse().expect("a sender");
            let message = letter.message(Uuid::nil(), &from);
            prop_assert!(message.is_ok(), "{written:?} is kept as {address:?}");
            let text = String::from_utf8(message.expect("checked").formatted()).expect("text");
            let to = format!("\r\nTo: {address}\r\n");
            prop_assert!(text.contains(&to), "{text}");
            prop_assert_eq!(normalise_address(&address), Ok(address.clone()), "normal stays as it is");
        }
    }

    #[test]
    fn a_domain_in_letters_of_its_own_is_sent_to_in_ascii() {
        let letter = Letter::code("anna@bücher.example", "012345");
        assert_eq!(letter.recipient().expect("an address").to_string(), "anna@xn--bcher-kva.example");
    }

    #[test]
    fn a_letter_of_an_earlier_version_is_still_read() {
        let stored = r#"{"to":"anna@klinik.example","subject":"Hello","text":"Hello"}"#;
        let letter: Letter = serde_json::from_str(stored).expect("read");
        assert!(formatted(&letter).contains("Subject: Hello\r\n"));
    }
}
