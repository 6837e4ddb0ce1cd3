//! Verified tokens, so that a token's signature is checked once per worker.
//!
//! An entry is found by the whole token, never by a digest alone: a collision costs a
//! comparison and can authenticate nobody. It dies with the token's expiry, with the key that
//! vouched for it, and by displacement. Only verified tokens are kept: a flood of bad ones
//! displaces nothing.

use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Caller;
use super::trust::{Proof, Trust};
use crate::words::time::UnixSeconds;

/// Default bound on entries of one worker's cache.
pub const ENTRIES_MAX: usize = 10_000;
/// Default bound on the bytes of the tokens kept by one worker's cache.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The end of a token is its signature: as good as random, and short to hash.
const HASHED_BYTES: usize = 32;

/// A verified token.
#[derive(Debug)]
pub struct Entry {
    /// The policy under which it was verified.
    pub policy_id: u64,
    /// The number of the provider whose token it is.
    pub provider: u64,
    /// The generation of the provider's trust under which the verdict last held.
    pub generation: u64,
    /// What the verdict rests on.
    pub proof: Proof,
    /// The whole token.
    pub token: Box<[u8]>,
    /// Whose it is.
    pub caller: Arc<Caller>,
}

/// Two generations of entries: when the young one is half the bound, it becomes the old one
/// and the old one is dropped. What is used moves back to the young one, so that the tokens
/// in use stay; no list, no clock.
#[derive(Debug)]
pub struct TokenCache {
    young: HashTable<Entry>,
    young_bytes: usize,
    old: HashTable<Entry>,
    entries_max: usize,
    bytes_max: usize,
    hasher: RandomState,
}

impl TokenCache {
    /// An empty cache with the given bounds; a bound of 0 entries turns it off.
    #[must_use]
    pub fn new(entries_max: usize, bytes_max: usize) -> Self {
        Self {
            young: HashTable::new(),
            young_bytes: 0,
            old: HashTable::new(),
            entries_max,
            bytes_max,
            hasher: RandomState::default(),
        }
    }

    /// Entries held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The caller of a token that was verified under this policy, by this provider's keys.
    ///
    /// Where the provider's trust has changed since, the entry is held against it anew, which
    /// costs no signature.
    pub fn get(
        &mut self,
        policy_id: u64,
        provider: u64,
        token: &[u8],
        trust: &Trust,
        now: UnixSeconds,
    ) -> Option<Arc<Caller>> {
        let hash = self.hash(policy_id, token);
        let is_it = |entry: &Entry| {
            entry.policy_id == policy_id && entry.provider == provider && *entry.token == *token
        };
        if let Some(entry) = self.young.find_mut(hash, is_it) {
            return entry.holds(trust, now).then(|| Arc::clone(&entry.caller));
        }
        let mut entry = self.old.find_entry(hash, is_it).ok()?.remove().0;
        if !entry.holds(trust, now) {
            return None;
        }
        let caller = Arc::clone(&entry.caller);
        self.insert_entry(hash, entry);
        Some(caller)
    }

    /// Keeps a verified token.
    pub fn insert(&mut self, entry: Entry) {
        if self.entries_max == 0 {
            return;
        }
        let hash = self.hash(entry.policy_id, &entry.token);
        // A token that outlived its key and was verified again: its dead entry goes.
        let is_it =
            |other: &Entry| other.policy_id == entry.policy_id && other.token == entry.token;
        if let Ok(stale) = self.young.find_entry(hash, is_it) {
            self.young_bytes -= stale.remove().0.token.len();
        }
        self.insert_entry(hash, entry);
    }

    fn insert_entry(&mut self, hash: u64, entry: Entry) {
        let is_full = self.young.len() >= self.entries_max.div_ceil(2)
            || self.young_bytes + entry.token.len() > self.bytes_max / 2;
        if is_full {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += entry.token.len();
        let hasher = &self.hasher;
        self.young.insert_unique(hash, entry, |entry| {
            hash_of(hasher, entry.policy_id, &entry.token)
        });
    }

    fn hash(&self, policy_id: u64, token: &[u8]) -> u64 {
        hash_of(&self.hasher, policy_id, token)
    }
}

impl Entry {
    /// Whether the verdict holds now; notes that it does.
    fn holds(&mut self, trust: &Trust, now: UnixSeconds) -> bool {
        if self.generation != trust.generation() {
            if !trust.confirms(&self.proof, now) {
                return false;
            }
            self.generation = trust.generation();
        }
        now < self.caller.valid_until && now >= self.caller.valid_from
    }
}

fn hash_of(hasher: &RandomState, policy_id: u64, token: &[u8]) -> u64 {
    let tail = &token[token.len().saturating_sub(HASHED_BYTES)..];
    hasher.hash_one((policy_id, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::KeyRing;

    /// The token of an entry that holds from second 10 to 100, vouched for by the first key.
    fn entry(policy_id: u64, token: &str) -> Entry {
        Entry {
            policy_id,
            provider: 0,
            generation: trust().generation(),
            proof: Proof::of_key(0),
            token: token.as_bytes().into(),
            caller: Arc::new(Caller {
                subject: None,
                issuer: None,
                scopes: Box::default(),
                headers: Vec::new(),
                withheld: Arc::new([]),
                valid_until: 100,
                valid_from: 10,
            }),
        }
    }

    /// Of one key.
    fn trust() -> Trust {
        Trust::default().with_keys(ring("one"))
    }

    fn ring(kid: &str) -> KeyRing {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let set =
            format!(r#"{{"keys": [{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}]}}"#);
        KeyRing::from_jwk_set(set.as_bytes()).unwrap()
    }

    #[test]
    fn an_entry_ends_with_its_token_its_key_and_its_policy() {
        let mut cache = TokenCache::new(10, 1000);
        cache.insert(entry(1, "t"));
        let before = trust();
        let same = before.with_keys(ring("one"));
        let rotated = before.with_keys(ring("two"));
        let back = rotated.with_keys(ring("one"));
        let table = [
            (1, 0, "t", &before, 99, true, "as inserted"),
            (1, 0, "t", &before, 100, false, "expired"),
            (1, 0, "t", &before, 9, false, "the clock went back"),
            (2, 0, "t", &before, 99, false, "another policy"),
            (1, 1, "t", &before, 99, false, "another provider"),
            (1, 0, "u", &before, 99, false, "another token"),
            (1, 0, "t", &same, 99, true, "the same keys, read again"),
            (1, 0, "t", &rotated, 99, false, "its key is gone"),
            (
                1,
                0,
                "t",
                &back,
                99,
                false,
                "a key that comes back is a new one",
            ),
        ];
        for (policy, provider, token, trust, now, is_held, what) in table {
            let got = cache.get(policy, provider, token.as_bytes(), trust, now);
            assert_eq!(got.is_some(), is_held, "{what}");
        }
    }

    #[test]
    fn an_entry_outlives_a_change_that_does_not_concern_it() {
        let mut cache = TokenCache::new(10, 1000);
        cache.insert(entry(1, "t"));
        let more = format!(
            r#"{{"keys": [{{"kty":"oct"}}, {},"kid":"two"}}, {},"kid":"one"}}]}}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
        );
        let first = trust();
        let grown = first.with_keys(KeyRing::from_jwk_set(more.as_bytes()).unwrap());
        assert_ne!(grown.generation(), first.generation());
        for round in 0..2 {
            let got = cache.get(1, 0, b"t", &grown, 99);
            assert_eq!(got.is_some(), grown.keys().holds(0), "{round}");
        }
    }

    #[test]
    fn tokens_with_the_same_tail_are_told_apart() {
        let mut cache = TokenCache::new(10, 1000);
        let tail = "x".repeat(40);
        let (good, evil) = (format!("good.{tail}"), format!("evil.{tail}"));
        cache.insert(entry(1, &good));
        assert!(cache.get(1, 0, evil.as_bytes(), &trust(), 50).is_none());
        assert!(cache.get(1, 0, good.as_bytes(), &trust(), 50).is_some());
    }

    #[test]
    fn bounds_hold_and_what_is_used_stays() {
        let trust = trust();
        let mut cache = TokenCache::new(100, 1_000_000);
        cache.insert(entry(1, "used"));
        for index in 0..10_000 {
            cache.insert(entry(1, &format!("token {index}")));
            assert!(cache.get(1, 0, b"used", &trust, 50).is_some(), "{index}");
            assert!(cache.len() <= 101, "{}", cache.len());
        }
        let mut cache = TokenCache::new(1000, 1000);
        for index in 0..100 {
            cache.insert(entry(1, &format!("{index:0>100}")));
            assert!(cache.len() <= 10, "{}", cache.len());
        }
    }

    #[test]
    fn a_bound_of_zero_turns_it_off() {
        let mut cache = TokenCache::new(0, 1000);
        cache.insert(entry(1, "t"));
        assert!(cache.is_empty());
    }
}
