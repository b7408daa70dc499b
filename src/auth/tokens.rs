//! Access tokens: JWTs (RFC 9068's `at+jwt`) signed with Ed25519, good for 15 minutes.
//!
//! `sub` is the public user id. Subject, session, role and time zone are sealed inside the claim `ctx`, so that a token which
//! leaks into somebody's log does not link the public id to the log's. Refused: any other algorithm, type, issuer or
//! audience, an unknown key id, a missing or past expiry. Signing keys are the ring's: the first signs, all are accepted.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SessionId, SubjectId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use vault::{Aad, Sealed, Vault};

const ISSUER: &str = "lethe";
const AUDIENCE: &str = "lethe-api";
const TYPE: &str = "at+jwt";
const REMEMBERED: usize = 10_000;
const LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// What an access token says to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The person inside the log.
    pub subject: SubjectId,
    /// The sign-in.
    pub session: SessionId,
    /// The person towards clients.
    pub user: UserId,
    /// In which capacity the person signed in.
    pub role: Role,
    /// Where the person is.
    pub time_zone: String,
}

#[derive(Serialize, Deserialize)]
struct Jwt {
    iss: String,
    aud: String,
    sub: UserId,
    iat: i64,
    exp: i64,
    ctx: String,
}

#[derive(Serialize, Deserialize)]
struct Context {
    subject: SubjectId,
    session: SessionId,
    role: String,
    time_zone: String,
}

/// Issues and verifies access tokens.
pub struct Tokens {
    vault: Arc<Vault>,
    signing: (String, EncodingKey),
    verifying: Vec<(String, DecodingKey)>,
    validation: Validation,
    /// Tokens whose signature was found good, with their expiry in seconds since 1970.
    remembered: Cache<String, (Claims, i64)>,
    lifetime: TimeDelta,
}

impl Tokens {
    /// Tokens signed with the ring's keys; `lifetime` other than the usual quarter of an hour for demonstrations only.
    pub fn new(vault: Arc<Vault>, lifetime: Option<TimeDelta>) -> Self {
        let keys = vault.ring().signing_keys();
        let signing = (keys[0].kid.clone(), EncodingKey::from_ed_der(&keys[0].pkcs8));
        let verifying = keys.iter().map(|key| (key.kid.clone(), DecodingKey::from_ed_der(&key.public))).collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The expiry is compared below, with the clock that everything else here asks.
        validation.validate_exp = false;
        Self {
            signing,
            verifying,
            validation,
            remembered: Cache::new(REMEMBERED),
            lifetime: lifetime.unwrap_or(LIFETIME),
            vault,
        }
    }

    /// A token, and when it runs out.
    pub fn issue(&self, claims: &Claims, now: DateTime<Utc>) -> (String, DateTime<Utc>) {
        let expires_at = now + self.lifetime;
        let context = Context {
            subject: claims.subject,
            session: claims.session,
            role: claims.role.as_str().to_owned(),
            time_zone: claims.time_zone.clone(),
        };
        let context = serde_json::to_vec(&context).expect("a context can be written as JSON");
        let sealed = self.vault.ring().token_sealer().seal(&place(claims.user), &context);
        let jwt = Jwt {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: claims.user,
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
            ctx: URL_SAFE_NO_PAD.encode(sealed.0),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(self.signing.0.clone());
        (encode(&header, &jwt, &self.signing.1).expect("a token can be signed"), expires_at)
    }

    /// What a token says, or nothing where it is not ours, altered, or past its time.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let (claims, expiry) = match self.remembered.get(token) {
            Some(known) => known,
            None => {
                let found = self.check(token)?;
                self.remembered.insert(token.to_owned(), found.clone());
                found
            }
        };
        (now.timestamp() < expiry).then_some(claims)
    }

    /// What a token of ours says, past its time or not, and when it runs out.
    fn check(&self, token: &str) -> Option<(Claims, i64)> {
        let header = decode_header(token).ok()?;
        if header.typ.as_deref() != Some(TYPE) {
            return None;
        }
        let kid = header.kid?;
        let (_, key) = self.verifying.iter().find(|(known, _)| *known == kid)?;
        let jwt = decode::<Jwt>(token, key, &self.validation).ok()?.claims;
        let sealed = Sealed(URL_SAFE_NO_PAD.decode(&jwt.ctx).ok()?);
        let context = self.vault.ring().token_sealer().open(&place(jwt.sub), &sealed).ok()?;
        let context: Context = serde_json::from_slice(&context).ok()?;
        let claims = Claims {
            subject: context.subject,
            session: context.session,
            user: jwt.sub,
            role: Role::parse(&context.role)?,
            time_zone: context.time_zone,
        };
        Some((claims, jwt.exp))
    }

    /// The public keys, as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = (self.vault.ring().signing_keys().iter())
            .map(|key| {
                serde_json::json!({
                    "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                    "kid": key.kid, "x": URL_SAFE_NO_PAD.encode(&key.public),
                })
            })
            .collect();
        serde_json::json!({ "keys": keys })
    }
}

fn place(user: UserId) -> Aad {
    Aad::of("token").and(user.0.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vault::Ring;

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().expect("a folder");
        let ring = Ring::open_or_create(&folder.path().join("ring.json"), None).expect("a ring");
        (folder, Tokens::new(Arc::new(Vault::new(ring)), None))
    }

    fn claims() -> Claims {
        Claims {
            subject: SubjectId::random(),
            session: SessionId::random(),
            user: UserId::random(),
            role: Role::Subject,
            time_zone: "Europe/Berlin".to_owned(),
        }
    }

    /// A token of ours with header and claims changed and signed again with the right key.
    fn forge(tokens: &Tokens, header: impl Fn(&mut Header), change: impl Fn(&mut serde_json::Value)) -> String {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let (token, _) = tokens.issue(&claims(), now);
        let mut body: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64"))
                .expect("JSON");
        change(&mut body);
        let mut head = decode_header(&token).expect("a header");
        header(&mut head);
        encode(&head, &body, &tokens.signing.1).expect("signed")
    }

    #[test]
    fn a_token_says_what_it_was_issued_for_until_it_runs_out() {
        let (_folder, tokens) = tokens();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let claims = claims();
        let (token, expires_at) = tokens.issue(&claims, now);
        assert_eq!(expires_at - now, TimeDelta::minutes(15));
        assert_eq!(tokens.verify(&token, now).as_ref(), Some(&claims));
        assert_eq!(tokens.verify(&token, expires_at), None);
        assert!(!token.contains(&claims.subject.to_string()));
    }

    #[test]
    fn while_a_new_key_signs_the_one_before_is_accepted() {
        let (folder, before) = tokens();
        let path = folder.path().join("ring.json");
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let (old, _) = before.issue(&claims(), now);
        // What a rotation leaves in the ring: a fresh key first, the one before behind it.
        let mut ring: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        let seed = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        ring["signing"].as_array_mut().expect("a list").insert(0, json!({ "kid": "new", "seed": seed }));
        std::fs::write(&path, ring.to_string()).expect("written");
        let after = Tokens::new(Arc::new(Vault::new(Ring::open(&path, None).expect("opens"))), None);
        let (new, _) = after.issue(&claims(), now);
        assert_eq!(decode_header(&new).expect("a header").kid.as_deref(), Some("new"));
        assert!(after.verify(&old, now).is_some() && after.verify(&new, now).is_some());
        assert_eq!(before.verify(&new, now), None, "who does not know the new key yet");
        assert_eq!(after.jwks()["keys"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let (_folder, tokens) = tokens();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let verify = |token: &str| tokens.verify(token, now);
        assert!(verify(&forge(&tokens, |_| {}, |_| {})).is_some(), "unchanged");
        let wrong = [
            forge(&tokens, |head| head.typ = Some("JWT".to_owned()), |_| {}),
            forge(&tokens, |head| head.typ = None, |_| {}),
            forge(&tokens, |head| head.kid = Some("other".to_owned()), |_| {}),
            forge(&tokens, |head| head.kid = None, |_| {}),
            forge(&tokens, |_| {}, |body| body["iss"] = json!("other")),
            forge(&tokens, |_| {}, |body| body["aud"] = json!("other")),
            forge(&tokens, |_| {}, |body| drop(body.as_object_mut().expect("claims").remove("exp"))),
            forge(&tokens, |_| {}, |body| body["sub"] = json!(UserId::random())),
        ];
        for (number, token) in wrong.iter().enumerate() {
            assert_eq!(verify(token), None, "{number}");
        }
        let (token, _) = tokens.issue(&claims(), now);
        let parts: Vec<&str> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": TYPE, "kid": tokens.signing.0}).to_string());
        assert_eq!(verify(&format!("{none}.{}.", parts[1])), None, "alg none");
        assert_eq!(verify(&format!("{none}.{}.{}", parts[1], parts[2])), None, "alg none, signed");
        let (_other_folder, other) = super::tests::tokens();
        assert_eq!(other.verify(&token, now), None, "another ring");
    }
}
