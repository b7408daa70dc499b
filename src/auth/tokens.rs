//! Access tokens: JWTs (RFC 9068's `at+jwt`) signed with Ed25519, valid for 15 minutes.
//!
//! `sub` is the public user id. Subject, session, role and time zone are sealed inside the claim `ctx`, so that a token
//! in somebody's log does not link the public id to the subject id. Refused: any other algorithm, type, issuer or
//! audience, an unknown key id, a missing or past expiry. The signing keys come from the ring: the first one signs, all
//! are accepted, and an unknown key id is looked for in the ring's file before it is refused.
//!
//! A guest's token (`guest+jwt`, valid for an hour) names nobody and is stored nowhere. A guest's token is not accepted
//! as an access token, nor an access token as a guest's.

use std::sync::{Arc, RwLock};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use context::{Role, SessionId, SubjectId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use vault::{Place, Sealed, Signing, Vault};

const ISSUER: &str = "lethe";
const AUDIENCE: &str = "lethe-api";
const TYPE: &str = "at+jwt";
const GUEST_AUDIENCE: &str = "lethe-guests";
const GUEST_TYPE: &str = "guest+jwt";
const REMEMBERED: usize = 10_000;
const LIFETIME: TimeDelta = TimeDelta::minutes(15);
const GUEST_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The content of an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The person inside the log.
    pub subject: SubjectId,
    pub session: SessionId,
    /// The person as clients see them.
    pub user: UserId,
    pub role: Role,
    /// The person's time zone, such as `Europe/Berlin`.
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
struct GuestJwt {
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
}

#[derive(Serialize, Deserialize)]
struct Context {
    subject: SubjectId,
    session: SessionId,
    role: String,
    time_zone: String,
}

/// The ring's signing keys as they were at one moment, parsed for use.
struct Keys {
    source: Arc<Signing>,
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
    /// Claims and expiry (seconds since 1970) of tokens whose signature was checked. The cache lives as long as this
    /// set of keys, so a token of a dropped key is forgotten with it.
    remembered: Cache<String, (Claims, i64)>,
}

impl Keys {
    fn of(source: Arc<Signing>) -> Self {
        Self {
            signing: EncodingKey::from_ed_der(&source.signer().pkcs8),
            verifying: source.keys.iter().map(|key| DecodingKey::from_ed_der(&key.public)).collect(),
            remembered: Cache::new(REMEMBERED),
            source,
        }
    }

    fn kid(&self) -> &str {
        &self.source.signer().kid
    }

    fn sign(&self, kind: &str, claims: &impl Serialize) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.kid().to_owned());
        encode(&header, claims, &self.signing).expect("a token can be signed")
    }

    fn verifying(&self, kid: &str) -> Option<&DecodingKey> {
        self.source.keys.iter().position(|key| key.kid == kid).map(|place| &self.verifying[place])
    }
}

pub struct Tokens {
    vault: Arc<Vault>,
    keys: RwLock<Arc<Keys>>,
    validation: Validation,
    lifetime: TimeDelta,
}

impl Tokens {
    /// Signs with the ring's keys. `lifetime` replaces the usual 15 minutes; only demonstrations and tests set it.
    pub fn new(vault: Arc<Vault>, lifetime: Option<TimeDelta>) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The expiry is compared below, because it must follow the application's clock.
        validation.validate_exp = false;
        let keys = RwLock::new(Arc::new(Keys::of(vault.ring().signing())));
        Self { keys, validation, lifetime: lifetime.unwrap_or(LIFETIME), vault }
    }

    /// The keys as this server's ring has them now.
    fn keys(&self) -> Arc<Keys> {
        let signing = self.vault.ring().signing();
        let known = self.keys.read().expect("no one panics while swapping keys").clone();
        if Arc::ptr_eq(&known.source, &signing) {
            return known;
        }
        let keys = Arc::new(Keys::of(signing));
        *self.keys.write().expect("no one panics while swapping keys") = keys.clone();
        keys
    }

    /// The keys to sign with, after a look at the ring's file, and how long a token may live. A key notes the longest
    /// lifetime of its tokens, because it is accepted for that long after a rotation; a token never lives longer than
    /// noted.
    fn keys_to_sign(&self, lifetime: TimeDelta) -> (Arc<Keys>, TimeDelta) {
        let ring = self.vault.ring();
        ring.look_again();
        if ring.signing().signer().longest_token < lifetime
            && let Err(error) = ring.promise_token_lifetime(lifetime)
        {
            tracing::error!(%error, "tokens live shorter, since the ring can't note how long they would");
        }
        let keys = self.keys();
        let lifetime = lifetime.min(keys.source.signer().longest_token);
        (keys, lifetime)
    }

    /// Issues a token; also returns when it expires.
    pub fn issue(&self, claims: &Claims, now: DateTime<Utc>) -> (String, DateTime<Utc>) {
        let (keys, lifetime) = self.keys_to_sign(self.lifetime);
        let expires_at = now + lifetime;
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
        (keys.sign(TYPE, &jwt), expires_at)
    }

    /// Issues a guest's token; also returns when it expires.
    pub fn issue_guest(&self, now: DateTime<Utc>) -> (String, DateTime<Utc>) {
        let (keys, lifetime) = self.keys_to_sign(GUEST_LIFETIME);
        let expires_at = now + lifetime;
        let jwt = GuestJwt {
            iss: ISSUER.to_owned(),
            aud: GUEST_AUDIENCE.to_owned(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        (keys.sign(GUEST_TYPE, &jwt), expires_at)
    }

    /// Whether a token is a guest's, signed by us and not expired. The result is not cached.
    pub fn verify_guest(&self, token: &str, now: DateTime<Utc>) -> bool {
        let mut validation = self.validation.clone();
        validation.set_audience(&[GUEST_AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let jwt: Option<GuestJwt> = self.claims_of(token, GUEST_TYPE, &validation);
        jwt.is_some_and(|jwt| now.timestamp() < jwt.exp)
    }

    /// The claims of a token that one of our keys signed, if it has the type `kind`.
    fn claims_of<T: DeserializeOwned>(&self, token: &str, kind: &str, validation: &Validation) -> Option<T> {
        let header = decode_header(token).ok().filter(|header| header.typ.as_deref() == Some(kind))?;
        let kid = header.kid?;
        let mut keys = self.keys();
        if keys.verifying(&kid).is_none() {
            self.vault.ring().look_again();
            keys = self.keys();
        }
        Some(decode::<T>(token, keys.verifying(&kid)?, validation).ok()?.claims)
    }

    /// The claims of an access token; `None` when it is not ours, was altered, or has expired.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let keys = self.keys();
        let (claims, expiry) = match keys.remembered.get(token) {
            Some(known) => known,
            None => {
                let found = self.check(token)?;
                keys.remembered.insert(token.to_owned(), found.clone());
                found
            }
        };
        (now.timestamp() < expiry).then_some(claims)
    }

    /// Checks the signature and opens the sealed part, without looking at the expiry, which is returned in seconds
    /// since 1970.
    fn check(&self, token: &str) -> Option<(Claims, i64)> {
        let jwt: Jwt = self.claims_of(token, TYPE, &self.validation)?;
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

    /// The public keys as a JSON Web Key Set (RFC 7517, RFC 8037).
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = (self.vault.ring().signing().keys.iter())
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

fn place(user: UserId) -> Place {
    Place::of("token").and(user.0.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vault::{LONGEST_TOKEN, Ring};

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

    /// A token with a changed header and changed claims, signed again with the right key.
    fn forge(tokens: &Tokens, header: impl Fn(&mut Header), change: impl Fn(&mut serde_json::Value)) -> String {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let (token, _) = tokens.issue(&claims(), now);
        let mut body: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64"))
                .expect("JSON");
        change(&mut body);
        let mut head = decode_header(&token).expect("a header");
        header(&mut head);
        encode(&head, &body, &tokens.keys().signing).expect("signed")
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

    /// A second server on the same ring.
    fn second(folder: &tempfile::TempDir, lifetime: Option<TimeDelta>) -> Tokens {
        let ring = Ring::open(&folder.path().join("ring.json"), None).expect("opens");
        Tokens::new(Arc::new(Vault::new(ring)), lifetime)
    }

    fn signer(token: &str) -> String {
        decode_header(token).expect("a header").kid.expect("a key id")
    }

    #[test]
    fn no_token_is_refused_while_the_signing_key_is_rotated() {
        let (folder, one) = tokens();
        let other = second(&folder, None);
        let ring = one.vault.ring();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let both = |token: &str, now| one.verify(token, now).is_some() && other.verify(token, now).is_some();
        let (old, runs_out) = other.issue(&claims(), now);
        let fresh = ring.publish_signing(now).expect("written");
        let (still_old, _) = other.issue(&claims(), now);
        assert!(signer(&still_old) == signer(&old) && both(&old, now) && both(&still_old, now));
        assert_eq!(one.jwks()["keys"].as_array().map(Vec::len), Some(2), "published before it signs");
        ring.use_published_signing(now).expect("written");
        let (new, _) = other.issue(&claims(), now);
        assert_eq!(signer(&new), fresh, "the other server signs with the key that the file names");
        assert!(both(&old, now) && both(&new, now));
        assert_eq!(ring.destroy_old_signing(runs_out).expect("read"), 0, "guests' tokens live longer");
        ring.destroy_old_signing(now + TimeDelta::hours(2)).expect("written");
        other.vault.ring().reload().expect("read");
        assert!(!both(&old, now), "a key that is gone takes what was remembered along");
        assert!(both(&new, now));
    }

    #[test]
    fn a_key_that_another_server_made_is_looked_for_in_the_file() {
        let (folder, one) = tokens();
        let other = second(&folder, None);
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        one.vault.ring().publish_signing(now).expect("written");
        one.vault.ring().use_published_signing(now).expect("written");
        let (new, _) = one.issue(&claims(), now);
        assert!(other.verify(&new, now).is_some());
    }

    #[test]
    fn a_key_is_accepted_as_long_as_the_longest_token_that_it_may_have_signed() {
        let (folder, usual) = tokens();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let ring = usual.vault.ring();
        let long = second(&folder, Some(TimeDelta::hours(12)));
        let (token, runs_out) = long.issue(&claims(), now);
        assert_eq!(runs_out, now + TimeDelta::hours(12));
        ring.publish_signing(now).expect("written");
        ring.use_published_signing(now).expect("written");
        assert_eq!(ring.destroy_old_signing(runs_out - TimeDelta::seconds(1)).expect("read"), 0);
        assert!(usual.verify(&token, runs_out - TimeDelta::seconds(1)).is_some());
        // The next key has to note the long lifetime again. When it can't, a token lives only as long as its key is
        // accepted.
        long.vault.ring().reload().expect("read");
        let (path, aside) = (folder.path().join("ring.json"), folder.path().join("aside"));
        std::fs::rename(&path, &aside).expect("the ring is out of reach");
        let (_, short) = long.issue(&claims(), now);
        std::fs::rename(&aside, &path).expect("the ring is back");
        assert_eq!(short, now + LONGEST_TOKEN);
        assert_eq!(long.issue(&claims(), now).1, now + TimeDelta::hours(12));
        assert_eq!(usual.issue(&claims(), now).1, now + LIFETIME);
    }

    #[test]
    fn a_guests_token_is_no_access_token_and_no_access_token_is_a_guests() {
        let (_folder, tokens) = tokens();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let (guest, expires_at) = tokens.issue_guest(now);
        assert_eq!(expires_at - now, TimeDelta::hours(1));
        assert!(tokens.verify_guest(&guest, now) && !tokens.verify_guest(&guest, expires_at));
        assert_eq!(tokens.verify(&guest, now), None);
        let (access, _) = tokens.issue(&claims(), now);
        assert!(!tokens.verify_guest(&access, now));
        // Neither the type alone nor the audience alone makes an access token a guest's.
        let typed = forge(&tokens, |head| head.typ = Some(GUEST_TYPE.to_owned()), |_| {});
        let addressed = forge(&tokens, |_| {}, |body| body["aud"] = json!(GUEST_AUDIENCE));
        assert!(!tokens.verify_guest(&typed, now) && !tokens.verify_guest(&addressed, now));
        let (_other_folder, other) = super::tests::tokens();
        assert!(!other.verify_guest(&guest, now), "another ring");
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
        let none = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": TYPE, "kid": tokens.keys().kid()}).to_string());
        assert_eq!(verify(&format!("{none}.{}.", parts[1])), None, "alg none");
        assert_eq!(verify(&format!("{none}.{}.{}", parts[1], parts[2])), None, "alg none, signed");
        let (_other_folder, other) = super::tests::tokens();
        assert_eq!(other.verify(&token, now), None, "another ring");
    }
}
