//! The relay that takes our letters, and how we sign in to it: read at the start, from the command line and from files.
//!
//! Promises that letters and the password leave this machine under TLS only, to a host that proves its name. Refuses a
//! password in the URL, and plain text to any address but a loopback one.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use lettre::transport::smtp::{
    authentication::Credentials,
    client::{Certificate, CertificateStore, TlsParameters},
};

use crate::mail::SetupError;

#[derive(Clone)]
pub struct Relay {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
}

#[derive(Clone)]
pub(super) enum Security {
    /// STARTTLS before anything else; nothing is sent without it (RFC 3207).
    StartTls(TlsParameters),
    /// TLS from the first byte (RFC 8314).
    Tls(TlsParameters),
    /// No TLS; for loopback addresses only.
    Plain,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({}:{})", self.host, self.port)
    }
}

impl Relay {
    /// The relay of `url`: `smtp://` asks for STARTTLS, `smtps://` for TLS from the start, `smtp+plain://` for neither.
    /// `password` belongs to the URL's user, and stays in memory. `ca` is a file of PEM certificates that are trusted
    /// instead of the operating system's.
    pub fn new(url: &str, password: Option<&str>, ca: Option<&Path>) -> Result<Self, SetupError> {
        let url = Url::parse(url)?;
        let security = match (url.scheme, ca) {
            (Scheme::Smtp, _) => Security::StartTls(tls(url.host, ca)?),
            (Scheme::Smtps, _) => Security::Tls(tls(url.host, ca)?),
            (Scheme::Plain, _) if !is_loopback(url.host) => return Err(SetupError::PlainElsewhere),
            (Scheme::Plain, Some(_)) => return Err(SetupError::CaWithoutTls),
            (Scheme::Plain, None) => Security::Plain,
        };
        let credentials = match (url.user, password) {
            (Some(user), Some(password)) => Some(Credentials::new(user, password.to_owned())),
            (None, None) => None,
            (Some(_), None) => return Err(SetupError::NoPassword),
            (None, Some(_)) => return Err(SetupError::NoUser),
        };
        Ok(Self { host: url.host.to_owned(), port: url.port, security, credentials })
    }
}

/// TLS to `host`. If `ca` is given, only its certificates are trusted.
fn tls(host: &str, ca: Option<&Path>) -> Result<TlsParameters, SetupError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca {
        let fault = |text: String| SetupError::Ca(path.into(), text);
        let pem = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            return Err(fault("no certificate in PEM".to_owned()));
        }
        let certificates = Certificate::from_pem(&pem).map_err(|error| fault(error.to_string()))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificates);
    }
    builder.build().map_err(|error| SetupError::Tls(error.to_string()))
}

/// Whether the host is a loopback address. A name such as `localhost` is refused, because the resolver decides where it
/// leads.
fn is_loopback(host: &str) -> bool {
    host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Smtp,
    Smtps,
    Plain,
}

/// The parts of a relay's URL.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    scheme: Scheme,
    user: Option<String>,
    host: &'a str,
    port: u16,
}

impl<'a> Url<'a> {
    fn parse(url: &'a str) -> Result<Self, SetupError> {
        let (scheme, rest) = url.split_once("://").ok_or(SetupError::Url("no scheme"))?;
        let (scheme, usual_port) = match scheme {
            "smtp" => (Scheme::Smtp, 587),
            "smtps" => (Scheme::Smtps, 465),
            "smtp+plain" => (Scheme::Plain, 25),
            _ => return Err(SetupError::Url("an unknown scheme")),
        };
        // The last `@` counts, because users are often addresses themselves.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(SetupError::PasswordInArgument),
            Some((user, place)) => (Some(decoded(user).ok_or(SetupError::Url("the user is not well formed"))?), place),
            None => (None, rest),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(SetupError::Url("a bracket is not closed"))?;
                host.parse::<Ipv6Addr>().map_err(|_| SetupError::Url("brackets hold an IPv6 address"))?;
                (host, port)
            }
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
        if host.is_empty() || !host.chars().all(of_a_host) {
            return Err(SetupError::Url("no host, or more than a host and a port"));
        }
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| SetupError::Url("the port is no number up to 65535"))?,
            None if port.is_empty() => usual_port,
            None => return Err(SetupError::Url("no host, or more than a host and a port")),
        };
        Ok(Self { scheme, user, host, port })
    }
}

/// Decodes percent-encoding (RFC 3986). `None` when the text is empty or not well formed.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty() && !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::{Relay, Scheme, Security, SetupError, Url};

    #[test]
    fn urls_are_read() {
        let read = |url| Url::parse(url).expect(url);
        let url = |scheme, user: Option<&str>, host, port| Url { scheme, user: user.map(str::to_owned), host, port };
        assert_eq!(read("smtp://u@mail.example:25"), url(Scheme::Smtp, Some("u"), "mail.example", 25));
        assert_eq!(read("smtp://mail.example"), url(Scheme::Smtp, None, "mail.example", 587));
        assert_eq!(
            read("smtps://a@b.example@mail.example"),
            url(Scheme::Smtps, Some("a@b.example"), "mail.example", 465)
        );
        assert_eq!(read("smtps://a%40b%3ac@m"), url(Scheme::Smtps, Some("a@b:c"), "m", 465));
        assert_eq!(read("smtp+plain://[::1]:26"), url(Scheme::Plain, None, "::1", 26));
        assert_eq!(read("smtp+plain://127.0.0.1"), url(Scheme::Plain, None, "127.0.0.1", 25));
    }

    #[test]
    fn what_is_no_url_of_a_relay_is_refused() {
        for wrong in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://@mail.example",
            "smtp://u@",
            "smtp://m:",
            "smtp://m:x",
            "smtp://m:70000",
            "smtp://m/inbox",
            "smtp://m?tls=none",
            "smtp://[::1",
            "smtp://[m]:25",
            "smtp://[::1]25",
            "smtp://%zz@m",
            "smtp://u%0d@m",
            "smtp://::1:25",
        ] {
            assert!(matches!(Url::parse(wrong), Err(SetupError::Url(_))), "{wrong}");
        }
        assert!(matches!(Url::parse("smtp://user:geheim@mail.example"), Err(SetupError::PasswordInArgument)));
    }

    #[test]
    fn user_and_password_come_together() {
        let wanted = |url, password| Relay::new(url, password, None).expect_err("refused");
        assert!(matches!(wanted("smtp://u@mail.example", None), SetupError::NoPassword));
        assert!(matches!(wanted("smtp://mail.example", Some("geheim")), SetupError::NoUser));
    }

    #[test]
    fn plain_text_stays_on_this_machine() {
        for there in ["10.0.0.1", "localhost", "mail.example", "[fe80::1]", "0.0.0.0"] {
            let refused = Relay::new(&format!("smtp+plain://{there}"), None, None).expect_err("refused");
            assert!(matches!(refused, SetupError::PlainElsewhere), "{there}");
        }
        for here in ["127.0.0.1", "127.8.0.1:2525", "[::1]"] {
            let relay = Relay::new(&format!("smtp+plain://{here}"), None, None).expect("taken");
            assert!(matches!(relay.security, Security::Plain), "{here}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let relay = Relay::new("smtp+plain://u@127.0.0.1", Some("geheim"), None).expect("a relay");
        assert_eq!(format!("{relay:?}"), "Relay(127.0.0.1:25)");
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = |path| Relay::new("smtp://mail.example", None, Some(path)).expect_err("refused");
        assert!(matches!(refused(file.path()), SetupError::Ca(..)), "empty");
        assert!(matches!(refused(&file.path().with_extension("none")), SetupError::Ca(..)), "missing");
    }
}
