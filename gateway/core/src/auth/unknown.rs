//! Key ids that a provider was asked for in vain: one bounded memory a worker.
//!
//! Without it each request with an invented `kid` would wait for a reading of its own.

use std::hash::BuildHasher;
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::WantedKey;
use crate::words::time::Millis;

/// Ids that one worker remembers.
pub const ENTRIES_MAX: usize = 1_000;
/// For how long an id is remembered.
pub const MEMORY: Millis = 10_000;

#[derive(Debug)]
struct Entry {
    key: WantedKey,
    forgotten_at: Millis,
}

/// Two generations of entries: when the young one is half the bound, it becomes the old one and
/// the old one is dropped. An entry is found by its whole id, never by a digest alone.
#[derive(Debug, Default)]
pub struct UnknownKeys {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    hasher: RandomState,
}

impl UnknownKeys {
    /// Whether this key was asked for in vain a short time ago.
    #[must_use]
    pub fn contains(&self, key: &WantedKey, now: Millis) -> bool {
        let hash = self.hasher.hash_one(key);
        let is_it = |entry: &Entry| entry.key == *key && now < entry.forgotten_at;
        self.young.find(hash, is_it).is_some() || self.old.find(hash, is_it).is_some()
    }

    /// This key was asked for in vain.
    pub fn remember(&mut self, key: WantedKey, now: Millis) {
        let hash = self.hasher.hash_one(&key);
        let forgotten_at = now + MEMORY;
        if let Some(entry) = self.young.find_mut(hash, |entry| entry.key == key) {
            entry.forgotten_at = forgotten_at;
            return;
        }
        if self.young.len() >= ENTRIES_MAX / 2 {
            self.old = mem::take(&mut self.young);
        }
        let hasher = &self.hasher;
        self.young
            .insert_unique(hash, Entry { key, forgotten_at }, |entry| {
                hasher.hash_one(&entry.key)
            });
    }

    /// Ids held now, those included whose time is over.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(provider: usize, id: &str) -> WantedKey {
        WantedKey {
            provider,
            number: 7,
            id: Some(id.into()),
        }
    }

    #[test]
    fn an_id_is_remembered_for_its_time_and_for_its_provider() {
        let mut unknown = UnknownKeys::default();
        unknown.remember(key(0, "a"), 100);
        let nameless = WantedKey {
            provider: 1,
            number: 7,
            id: None,
        };
        unknown.remember(nameless.clone(), 100);
        let another_plans = WantedKey {
            number: 8,
            ..key(0, "a")
        };
        for (wanted, now, is_there) in [
            (key(0, "a"), 100, true),
            (key(0, "a"), 100 + MEMORY - 1, true),
            (key(0, "a"), 100 + MEMORY, false),
            (key(1, "a"), 100, false),
            (another_plans, 100, false),
            (key(0, "b"), 100, false),
            (key(0, ""), 100, false),
            (nameless, 100, true),
        ] {
            assert_eq!(unknown.contains(&wanted, now), is_there, "{wanted:?} {now}");
        }
        unknown.remember(key(0, "a"), 100 + MEMORY);
        assert!(unknown.contains(&key(0, "a"), 99 + 2 * MEMORY));
        assert_eq!(unknown.len(), 2);
    }

    #[test]
    fn the_bound_holds_and_the_latest_stay() {
        let mut unknown = UnknownKeys::default();
        for index in 0..10_000 {
            unknown.remember(key(0, &index.to_string()), 0);
            assert!(unknown.len() <= ENTRIES_MAX, "{}", unknown.len());
        }
        for index in 10_000 - ENTRIES_MAX / 2..10_000 {
            assert!(unknown.contains(&key(0, &index.to_string()), 0), "{index}");
        }
    }
}
