//! The contact kind: how to reach a person. A person has one contact record, and signs in with the address in it.

use chrono::NaiveDate;
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::{
    Fault,
    kinds::{Shape, kind::Kind},
};

pub const CONTACT: &Kind = &Kind::of_shape::<Contact>();

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The e-mail address, as [`normalise_address`] returns it.
    pub email: String,
}

impl Shape for Contact {
    const NAME: &'static str = "contact";
    const TITLE: &'static str = "How to reach you";
    const OPEN_TO_CLIENTS: bool = false;

    fn example() -> Self {
        Self { email: "anna@klinik.example".to_owned() }
    }

    fn faults(&self, _: NaiveDate) -> Vec<Fault> {
        normalise_address(&self.email).err().into_iter().collect()
    }

    fn natural_key(&self) -> String {
        Self::NAME.to_owned()
    }
}

/// The most bytes in an address (RFC 5321 with its erratum 1690).
const ADDRESS_BYTES: usize = 254;
/// The most bytes before the `@` (RFC 5321, 4.5.3.1.1).
const LOCAL_BYTES: usize = 64;

/// Turns an e-mail address into the form in which it is stored and looked up. All addresses go through this function,
/// so that two spellings that mail systems deliver to the same mailbox become the same text.
///
/// The domain becomes its ASCII form by UTS 46 (`xn--…`). The part before the `@` is composed (NFC) and put in lower
/// case (requirement 339). Addresses that letters cannot be sent to are refused: quoted parts, address literals, and
/// characters that no mail program takes.
pub fn normalise_address(text: &str) -> Result<String, Fault> {
    let fault = |message: &str| Err(Fault::new("email", message));
    let text = text.trim();
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault("must not hold white space or control characters");
    }
    let Some((local, domain)) = text.rsplit_once('@') else { return fault("must be an e-mail address") };
    let local: String = local.nfc().collect::<String>().to_lowercase().nfc().collect();
    if local.len() > LOCAL_BYTES {
        return fault("must have at most 64 bytes before the @");
    }
    if !local.split('.').all(is_atom) {
        return fault("must be an e-mail address of letters, digits and .!#$%&'*+-/=?^_`{|}~ before the @");
    }
    let Some(domain) = ascii_domain(domain) else {
        return fault("must be an e-mail address whose domain is a name such as klinik.example");
    };
    let address = format!("{local}@{domain}");
    if address.len() > ADDRESS_BYTES {
        return fault("must have at most 254 bytes");
    }
    Ok(address)
}

/// The form in which an earlier version stored a normalised address, if that form differs: it kept the domain's own
/// letters instead of `xn--…`. Accounts from that time are filed under the earlier form.
pub fn former_spelling(address: &str) -> Option<String> {
    let (local, domain) = address.split_once('@')?;
    let (domain, sound) = idna::domain_to_unicode(domain);
    let former = format!("{local}@{domain}");
    (sound.is_ok() && former != address).then_some(former)
}

/// The mailbox that a normalised address leads to: the address without the `+tag` that many mail systems let people
/// add.
pub fn mailbox_of(address: &str) -> String {
    let Some((local, domain)) = address.split_once('@') else { return address.to_owned() };
    let name = local.split('+').next().unwrap_or_default();
    // An address that begins with `+` has no name before the sign, so the sign is kept.
    format!("{}@{domain}", if name.is_empty() { local } else { name })
}

/// Whether a text between two dots is an atom (RFC 5322's `atext`, and letters and digits of any script by RFC 6531).
fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
}

/// The ASCII form of a domain; `None` if the domain is not valid or has only one label.
fn ascii_domain(domain: &str) -> Option<String> {
    let (hyphens, length) = (Hyphens::CheckFirstLast, DnsLength::Verify);
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, hyphens, length).ok()?;
    let (_, last) = ascii.rsplit_once('.')?;
    // A last label of digits only would make the domain an address literal without its brackets.
    let named = last.chars().any(|c| !c.is_ascii_digit());
    named.then(|| ascii.into_owned())
}

#[cfg(test)]
mod tests {
    use super::{former_spelling, mailbox_of, normalise_address};

    fn normal(text: &str) -> String {
        normalise_address(text).unwrap_or_else(|fault| panic!("{text:?} {}", fault.message))
    }

    #[test]
    fn addresses_are_normalised_or_refused() {
        assert_eq!(normal(" Anna@Klinik.Example "), "anna@klinik.example");
        for wrong in [
            "",
            "anna",
            "@klinik.example",
            "anna@",
            "anna@klinik",
            "a b@klinik.example",
            "a@b@c.d",
            "a@b..c",
            "a@.b.c",
            "a@b.c.",
            "a\n@b.c",
            "<a@b.c>",
            "a@b.c\u{0}",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b-.c",
            "a@b_c.d",
            "a@b.c>",
            "\"a\"@b.c",
            "a@[192.0.2.1]",
            "a@192.0.2.1",
            "a,b@c.d",
            "a:b@c.d",
            // A combining mark that composes with nothing, a joiner, a direction mark.
            "x\u{308}q\u{308}@b.c",
            "a\u{200b}@b.c",
            "a\u{200d}b@c.d",
            "a\u{202e}b@c.d",
            "a@b\u{202e}.c",
            "a@xn--a.c",
        ] {
            assert_eq!(normalise_address(wrong).expect_err(wrong).field, "email");
        }
        assert!(normalise_address(&format!("{}@b.c", "a".repeat(65))).is_err());
        assert!(normalise_address(&format!("a@{}.c", "b".repeat(64))).is_err(), "a label of 64");
        assert!(normalise_address(&format!("a@{}", "b.".repeat(126) + "c")).is_err(), "255 bytes");
    }

    #[test]
    fn one_mailbox_has_one_spelling() {
        let spellings = [
            ("anna@bücher.example", "anna@xn--bcher-kva.example"),
            ("anna@bu\u{308}cher.example", "anna@xn--bcher-kva.example"),
            ("anna@BÜCHER.Example", "anna@xn--bcher-kva.example"),
            ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
            ("anna@bücher。example", "anna@xn--bcher-kva.example"),
            ("jürgen@klinik.example", "jürgen@klinik.example"),
            ("ju\u{308}rgen@klinik.example", "jürgen@klinik.example"),
            ("JU\u{308}RGEN@klinik.example", "jürgen@klinik.example"),
            // The sharp s is a letter of its own (UTS 46, nontransitional). A domain written with `ss` is another
            // domain.
            ("a@straße.example", "a@xn--strae-oqa.example"),
            ("a@strasse.example", "a@strasse.example"),
        ];
        for (spelling, kept) in spellings {
            assert_eq!(normal(spelling), kept, "{spelling:?}");
            assert_eq!(normal(kept), kept, "normal stays as it is");
        }
    }

    #[test]
    fn accounts_of_earlier_spellings_are_found() {
        assert_eq!(former_spelling("anna@xn--bcher-kva.example").as_deref(), Some("anna@bücher.example"));
        assert_eq!(former_spelling("jürgen@klinik.example"), None);
    }

    #[test]
    fn tags_are_part_of_the_address_and_not_of_the_mailbox() {
        assert_eq!(mailbox_of("anna+1@klinik.example"), "anna@klinik.example");
        assert_eq!(mailbox_of("anna+a+b@klinik.example"), "anna@klinik.example");
        assert_eq!(mailbox_of("+anna@klinik.example"), "+anna@klinik.example");
        assert_eq!(mailbox_of("anna@klinik.example"), "anna@klinik.example");
    }
}
