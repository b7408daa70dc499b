//! Webhooks: the endpoints to which alerts are sent, and how each message is signed (Standard Webhooks 1.0:
//! `webhook-id`, `webhook-timestamp`, `webhook-signature`). A message says what the log says about the alert; it names
//! nobody.

use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::json;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::data::home::{HomeError, read_secret};

/// An endpoint as the file holds it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    url: String,
    secret_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    endpoints: Vec<Line>,
}

/// An endpoint to which alerts are sent.
#[derive(Clone)]
pub struct Endpoint {
    /// The name by which deliveries are listed: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// The URL: https, or http on loopback.
    pub url: String,
    secret: Zeroizing<Vec<u8>>,
}

impl Endpoint {
    /// Makes an endpoint; `secret` is `whsec_` and base64 of 24 to 64 bytes.
    pub fn new(name: &str, url: &str, secret: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err("a name is lower-case letters, digits, - and _".to_owned());
        }
        if name == "mail" {
            return Err("`mail` is the name under which letters are delivered".to_owned());
        }
        let parsed = reqwest::Url::parse(url).map_err(|error| format!("{name}: {error}"))?;
        let local = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if parsed.scheme() != "https" && !(parsed.scheme() == "http" && local) {
            return Err(format!("{name}: the URL must be https, or http on loopback"));
        }
        let bytes = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
        let secret = bytes.filter(|bytes| (24..=64).contains(&bytes.len()));
        let secret = secret.ok_or(format!("{name}: the secret must be whsec_ and base64 of 24 to 64 bytes"))?;
        Ok(Self { name: name.to_owned(), url: url.to_owned(), secret: Zeroizing::new(secret) })
    }

    /// Reads the endpoints of a file; refuses a file that is malformed or names an endpoint twice.
    pub fn read(path: &Path) -> Result<Vec<Self>, HomeError> {
        let malformed = |fault: String| HomeError::Malformed(path.into(), fault);
        let text = std::fs::read_to_string(path).map_err(|error| HomeError::Io(path.into(), error))?;
        json::check(&text).map_err(malformed)?;
        let file: File = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let mut endpoints: Vec<Self> = Vec::new();
        for line in file.endpoints {
            let secret = read_secret(&line.secret_file)?;
            let missing = || malformed(format!("{}: there is no file {}", line.name, line.secret_file.display()));
            let secret = Zeroizing::new(secret.ok_or_else(missing)?);
            if endpoints.iter().any(|known| known.name == line.name) {
                return Err(malformed(format!("{}: the name stands there twice", line.name)));
            }
            endpoints.push(Self::new(&line.name, &line.url, &secret).map_err(malformed)?);
        }
        Ok(endpoints)
    }

    /// The value of `webhook-signature` for a message.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mac = hmac::sign(&key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn a_message_is_signed_as_the_standard_says() {
        let endpoint =
            Endpoint::new("siem", "https://siem.example", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("sound");
        let body = r#"{"test": 2432232314}"#;
        let signature = endpoint.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn an_endpoint_without_tls_or_with_a_weak_secret_is_refused() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert!(Endpoint::new("a", "http://127.0.0.1:9/x", good).is_ok());
        for (name, url, secret) in [
            ("a", "http://siem.example", good),
            ("a", "ftp://siem.example", good),
            ("a", "nonsense", good),
            ("A b", "https://siem.example", good),
            ("a", "https://siem.example", "whsec_AAAA"),
            ("a", "https://siem.example", "secret"),
        ] {
            assert!(Endpoint::new(name, url, secret).is_err(), "{name} {url} {secret}");
        }
    }

    #[test]
    fn a_file_says_each_thing_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("webhooks.json");
        let line = r#""name":"siem","url":"https://siem.example","secret_file":"none""#;
        let text = format!(r#"{{"endpoints":[{{{line},"url":"https://other.example"}}]}}"#);
        std::fs::write(&path, text).expect("written");
        let Err(error) = Endpoint::read(&path) else { panic!("the second URL was taken, or the first") };
        assert!(error.to_string().contains("`endpoints[0].url` stands there twice"), "{error}");
    }
}
