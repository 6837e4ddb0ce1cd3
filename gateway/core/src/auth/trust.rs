//! What is believed of a provider at one moment, and what an earlier verdict is worth then.

use std::sync::Arc;

use super::keys::KeyRing;

/// A provider's keys as one snapshot, with a number that grows with every change.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Arc<KeyRing>,
    generation: u64,
}

/// What the verdict on a token rests on beside the time.
#[derive(Debug)]
pub struct Proof {
    /// The serial of the key that made the signature.
    key: u64,
}

impl Trust {
    /// The same with other keys. Keys that stay keep their serials; where nothing changed, the
    /// generation stays too.
    #[must_use]
    pub fn with_keys(&self, keys: KeyRing) -> Self {
        let keys = keys.succeeding(&self.keys);
        let is_changed = keys.generation() != self.keys.generation();
        Self {
            keys: Arc::new(keys),
            generation: self.generation + u64::from(is_changed),
        }
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Grows with every change: as long as it is the same, an earlier verdict holds.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether an earlier verdict would be the same now, but for the time.
    #[must_use]
    pub fn confirms(&self, proof: &Proof) -> bool {
        self.keys.holds(proof.key)
    }
}

impl AsRef<Trust> for Trust {
    fn as_ref(&self) -> &Trust {
        self
    }
}

impl Proof {
    /// A proof by the key of this serial.
    #[must_use]
    pub fn of_key(key: u64) -> Self {
        Self { key }
    }
}
