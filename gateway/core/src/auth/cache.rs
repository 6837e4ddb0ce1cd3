//! Verified tokens, so that a token's signature is checked once per worker.
//!
//! An entry is found by the whole token, never by a digest alone: a collision costs a
//! comparison and can authenticate nobody. It dies with the token's expiry, with the key
//! ring that verified it, and by displacement.

use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Caller;
use crate::words::time::UnixSeconds;

/// Default bound on entries of one worker's cache.
pub const ENTRIES_MAX: usize = 10_000;
/// Default bound on the bytes of the tokens kept by one worker's cache.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;
/// The end of a token is its signature: as good as random, and short to hash.
const HASHED_BYTES: usize = 32;

#[derive(Debug)]
struct Entry {
    policy_id: u32,
    generation: u64,
    token: Box<[u8]>,
    caller: Arc<Caller>,
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

    /// The caller of a token that was verified under this policy with this ring.
    pub fn get(
        &mut self,
        policy_id: u32,
        token: &[u8],
        generation: u64,
        now: UnixSeconds,
    ) -> Option<Arc<Caller>> {
        let hash = self.hash(policy_id, token);
        let is_it = |entry: &Entry| entry.policy_id == policy_id && *entry.token == *token;
        if let Some(entry) = self.young.find(hash, is_it) {
            return is_valid(entry, generation, now).then(|| Arc::clone(&entry.caller));
        }
        let entry = self.old.find_entry(hash, is_it).ok()?.remove().0;
        if !is_valid(&entry, generation, now) {
            return None;
        }
        let caller = Arc::clone(&entry.caller);
        self.insert_entry(hash, entry);
        Some(caller)
    }

    /// Keeps a verified token.
    pub fn insert(&mut self, policy_id: u32, token: &[u8], generation: u64, caller: Arc<Caller>) {
        if self.entries_max == 0 {
            return;
        }
        let hash = self.hash(policy_id, token);
        // A token that outlived its ring is verified again: its dead entry goes.
        let is_it = |entry: &Entry| entry.policy_id == policy_id && *entry.token == *token;
        if let Ok(stale) = self.young.find_entry(hash, is_it) {
            self.young_bytes -= stale.remove().0.token.len();
        }
        let entry = Entry {
            policy_id,
            generation,
            token: token.into(),
            caller,
        };
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

    fn hash(&self, policy_id: u32, token: &[u8]) -> u64 {
        hash_of(&self.hasher, policy_id, token)
    }
}

fn is_valid(entry: &Entry, generation: u64, now: UnixSeconds) -> bool {
    let caller = &entry.caller;
    entry.generation == generation && now < caller.valid_until && now >= caller.valid_from
}

fn hash_of(hasher: &RandomState, policy_id: u32, token: &[u8]) -> u64 {
    let tail = &token[token.len().saturating_sub(HASHED_BYTES)..];
    hasher.hash_one((policy_id, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(valid_until: UnixSeconds) -> Arc<Caller> {
        Arc::new(Caller {
            subject: None,
            scopes: "".into(),
            headers: Vec::new(),
            valid_until,
            valid_from: 10,
        })
    }

    #[test]
    fn an_entry_ends_with_its_token_its_ring_and_its_policy() {
        let mut cache = TokenCache::new(10, 1000);
        cache.insert(1, b"t", 5, caller(100));
        assert!(cache.get(1, b"t", 5, 99).is_some());
        assert!(cache.get(1, b"t", 5, 100).is_none(), "expired");
        assert!(cache.get(1, b"t", 5, 9).is_none(), "the clock went back");
        assert!(cache.get(1, b"t", 6, 99).is_none(), "keys changed");
        assert!(cache.get(2, b"t", 5, 99).is_none(), "other policy");
        assert!(cache.get(1, b"u", 5, 99).is_none(), "other token");
    }

    #[test]
    fn tokens_with_the_same_tail_are_told_apart() {
        let mut cache = TokenCache::new(10, 1000);
        let tail = "x".repeat(40);
        cache.insert(1, format!("good.{tail}").as_bytes(), 0, caller(100));
        assert!(
            cache
                .get(1, format!("evil.{tail}").as_bytes(), 0, 50)
                .is_none()
        );
        assert!(
            cache
                .get(1, format!("good.{tail}").as_bytes(), 0, 50)
                .is_some()
        );
    }

    #[test]
    fn bounds_hold_and_what_is_used_stays() {
        let mut cache = TokenCache::new(100, 1_000_000);
        cache.insert(1, b"used", 0, caller(100));
        for index in 0..10_000 {
            cache.insert(1, format!("token {index}").as_bytes(), 0, caller(100));
            assert!(cache.get(1, b"used", 0, 50).is_some(), "{index}");
            assert!(cache.len() <= 101, "{}", cache.len());
        }
        let mut cache = TokenCache::new(1000, 1000);
        for index in 0..100 {
            cache.insert(1, format!("{index:0>100}").as_bytes(), 0, caller(100));
            assert!(cache.len() <= 10, "{}", cache.len());
        }
    }

    #[test]
    fn a_bound_of_zero_turns_it_off() {
        let mut cache = TokenCache::new(0, 1000);
        cache.insert(1, b"t", 0, caller(100));
        assert!(cache.is_empty());
    }
}
