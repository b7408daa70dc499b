//! The contact kind: how to reach a person. One a person; the address in it is what a sign-in is compared with.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::{Kind, Shape, Shaped};
use crate::Fault;

/// The kind.
pub const CONTACT: &dyn Kind = &Shaped::<Contact>::new();

/// How to reach a person.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// The e-mail address, normalised.
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

/// An e-mail address as we keep it: trimmed, in lower case, of the form `local@domain` (requirement 339), at most 254 bytes.
pub fn normalise_address(text: &str) -> Result<String, Fault> {
    let address = text.trim().to_lowercase();
    let fault = |message: &str| Err(Fault::new("email", message));
    if address.len() > 254 {
        return fault("must have at most 254 bytes");
    }
    if address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault("must not hold white space or control characters");
    }
    let Some((local, domain)) = address.split_once('@') else { return fault("must be an e-mail address") };
    let is_atom =
        |atom: &str| !atom.is_empty() && !atom.contains(['@', '<', '>', ',', ';', '"', '(', ')', '[', ']', '\\', ':']);
    let is_label = |label: &str| {
        let inner = |c: char| c.is_alphanumeric() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let well_formed =
        local.len() <= 64 && local.split('.').all(is_atom) && domain.contains('.') && domain.split('.').all(is_label);
    if well_formed { Ok(address) } else { fault("must be an e-mail address") }
}

#[cfg(test)]
mod tests {
    use super::normalise_address;

    #[test]
    fn addresses_are_normalised_or_refused() {
        assert_eq!(normalise_address(" Anna@Klinik.Example ").expect("an address"), "anna@klinik.example");
        for wrong in [
            "",
            "anna",
            "@klinik.example",
            "anna@",
            "anna@klinik",
            "a b@klinik.example",
            "a@b@c.d",
            "a@b..c",
            "a\n@b.c",
            "<a@b.c>",
            "a@b.c\u{0}",
            ".a@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b_c.d",
        ] {
            assert_eq!(normalise_address(wrong).expect_err(wrong).field, "email");
        }
    }
}
