//! The keys that sign access tokens. The first key signs; tokens of all keys are accepted.
//!
//! A rotation takes two steps, so that no token meets a server that does not know its key: a fresh key is published,
//! and once every server has read it, it signs. The key before it is accepted until the last token that it signed has
//! expired. For this, each key notes the longest life of its tokens before the first such token is signed.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Ring, RingError,
    ring_file::{RingFile, SigningSecret},
    signing_key::{self, Signing, SigningKey},
};

/// How much longer a key is accepted than its tokens live, because servers read the ring a moment after it was written.
const MARGIN: TimeDelta = TimeDelta::minutes(1);

/// The index of the key that is published and does not sign yet.
fn waiting(file: &RingFile) -> Option<usize> {
    file.signing.iter().skip(1).position(|key| key.accepted_until.is_none()).map(|place| place + 1)
}

fn drop_retired(file: &mut RingFile, now: DateTime<Utc>) {
    file.signing.retain(|key| key.accepted_until.is_none_or(|until| now < until));
}

impl Ring {
    /// The signing keys. Returns the same `Arc` as before if none of them changed.
    pub fn signing(&self) -> Arc<Signing> {
        self.opened().signing.clone()
    }

    /// Publishes a fresh key, which is accepted and does not sign yet, and drops keys whose tokens have expired. If a
    /// rotation was not finished, takes the key that it published. Returns the id of the key.
    pub fn publish_signing(&self, now: DateTime<Utc>) -> Result<String, RingError> {
        self.change(true, |file| {
            drop_retired(file, now);
            let place = waiting(file).unwrap_or_else(|| {
                file.signing.push(SigningSecret::generate(""));
                file.signing.len() - 1
            });
            Ok(file.signing[place].kid.clone())
        })
    }

    /// Makes the published key sign, if there is one. The key before it is accepted until its tokens have expired.
    pub fn use_published_signing(&self, now: DateTime<Utc>) -> Result<(), RingError> {
        self.change(false, |file| {
            if let Some(place) = waiting(file) {
                let fresh = file.signing.remove(place);
                let before = &mut file.signing[0];
                before.accepted_until = Some(now + signing_key::longest(before) + MARGIN);
                file.signing.insert(0, fresh);
            }
            Ok(())
        })
    }

    /// Notes, durably, that the key which signs now may sign tokens that live for `lifetime`.
    pub fn promise_token_lifetime(&self, lifetime: TimeDelta) -> Result<(), RingError> {
        self.change(false, |file| {
            let signer = &mut file.signing[0];
            if signing_key::longest(signer) < lifetime {
                signer.longest_token_s = Some(lifetime.num_seconds());
            }
            Ok(())
        })
    }

    /// Destroys keys whose tokens have expired. Returns their number.
    pub fn destroy_old_signing(&self, now: DateTime<Utc>) -> Result<usize, RingError> {
        let old = |key: &&SigningKey| key.accepted_until.is_some_and(|until| until <= now);
        let destroyed = self.signing().keys.iter().filter(old).count();
        if destroyed > 0 {
            self.change(true, |file| {
                drop_retired(file, now);
                Ok(())
            })?;
        }
        Ok(destroyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LONGEST_TOKEN;
    use crate::ring::tests::Folder;

    fn kids(ring: &Ring) -> Vec<String> {
        ring.signing().keys.iter().map(|key| key.kid.clone()).collect()
    }

    #[test]
    fn a_key_is_published_then_signs_and_the_one_before_goes_with_its_last_token() {
        let folder = Folder::new();
        let ring = folder.open();
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let first = ring.signing().signer().kid.clone();
        let second = ring.publish_signing(now).expect("written");
        assert_eq!(kids(&ring), [first.clone(), second.clone()]);
        assert_eq!(ring.publish_signing(now).expect("written"), second, "a rotation that was broken off goes on");
        ring.use_published_signing(now).expect("written");
        ring.use_published_signing(now).expect("written");
        assert_eq!(kids(&ring), [second.clone(), first.clone()]);
        let until = now + LONGEST_TOKEN + MARGIN;
        assert_eq!(ring.destroy_old_signing(until - TimeDelta::seconds(1)).expect("read"), 0);
        assert_eq!(folder.open().signing().keys.len(), 2);
        assert_eq!(ring.destroy_old_signing(until).expect("written"), 1);
        assert_eq!(kids(&folder.open()), std::slice::from_ref(&second));
        assert!(!folder.text().contains(&first));
        let third = ring.publish_signing(now).expect("written");
        ring.use_published_signing(now).expect("written");
        let fourth = ring.publish_signing(until).expect("the next rotation drops what has run out");
        assert_eq!(kids(&ring), [third, fourth]);
    }

    #[test]
    fn a_key_is_kept_as_long_as_it_promised_its_tokens_would_live() {
        let folder = Folder::new();
        let (ring, other) = (folder.open(), folder.open());
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        let half_a_day = TimeDelta::hours(12);
        ring.promise_token_lifetime(half_a_day).expect("written");
        ring.promise_token_lifetime(TimeDelta::minutes(1)).expect("written");
        assert_eq!(ring.signing().signer().longest_token, half_a_day);
        other.publish_signing(now).expect("written");
        other.use_published_signing(now).expect("written");
        assert_eq!(other.signing().signer().longest_token, LONGEST_TOKEN, "a new key has promised nothing");
        assert_eq!(other.destroy_old_signing(now + half_a_day).expect("read"), 0);
        assert_eq!(other.destroy_old_signing(now + half_a_day + MARGIN).expect("written"), 1);
    }

    #[test]
    fn a_change_elsewhere_in_the_ring_leaves_the_signing_keys_as_they_are() {
        let folder = Folder::new();
        let ring = folder.open();
        let before = ring.signing();
        ring.transit(DateTime::from_timestamp(1_000_000, 0).expect("a time")).expect("written");
        assert!(Arc::ptr_eq(&before, &ring.signing()));
    }
}
