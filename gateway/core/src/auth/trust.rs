//! What is believed of a provider at one moment, and what an earlier verdict is worth then.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::keys::KeyRing;
use super::revocation::{Revocations, TokenIds};
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;

/// A provider's keys and its deny list as one snapshot, with a number that grows with every
/// change of either.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Arc<KeyRing>,
    /// There only where the provider has a list.
    revoked: Option<Arc<Revocations>>,
    generation: u64,
}

/// What the verdict on a token rests on beside the time.
#[derive(Debug)]
pub struct Proof {
    /// The serial of the key that made the signature.
    key: u64,
    /// What a deny list would name; kept only where there is one.
    ids: Option<Box<Ids>>,
}

#[derive(Debug)]
struct Ids {
    jti: Option<Box<str>>,
    sub: Option<Box<str>>,
    sid: Option<Box<str>>,
    issued_at: Option<UnixSeconds>,
}

impl Ids {
    fn borrow(&self) -> TokenIds<'_> {
        TokenIds {
            jti: self.jti.as_deref(),
            sub: self.sub.as_deref(),
            sid: self.sid.as_deref(),
            issued_at: self.issued_at,
        }
    }
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
            revoked: self.revoked.clone(),
            generation: self.generation + u64::from(is_changed),
        }
    }

    /// The same with another deny list.
    #[must_use]
    pub fn with_revocations(&self, revoked: Revocations) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            revoked: Some(Arc::new(revoked)),
            generation: self.generation + 1,
        }
    }

    /// The same with no deny list.
    #[must_use]
    pub fn without_revocations(&self) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            revoked: None,
            generation: self.generation + 1,
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

    /// Whether there is a deny list, an empty one included.
    #[must_use]
    pub fn has_revocations(&self) -> bool {
        self.revoked.is_some()
    }

    /// Entries of the deny list.
    #[must_use]
    pub fn revocations(&self) -> usize {
        self.revoked.as_ref().map_or(0, |revoked| revoked.len())
    }

    /// Whether an earlier verdict would be the same now, but for the token's dates.
    #[must_use]
    pub fn confirms(&self, proof: &Proof, now: UnixSeconds) -> bool {
        let is_revoked = match (&self.revoked, &proof.ids) {
            (None, _) => false,
            (Some(revoked), Some(ids)) => revoked.check(&ids.borrow(), now).is_err(),
            // It is from before there was a list: it has to be looked at whole.
            (Some(_), None) => true,
        };
        self.keys.holds(proof.key) && !is_revoked
    }

    /// Proves a token that was signed by the key of this serial.
    ///
    /// # Errors
    /// [`Reason::JwtRevoked`](crate::words::reason::Reason::JwtRevoked).
    pub(super) fn prove(
        &self,
        key: u64,
        claims: &Map<String, Value>,
        issued_at: Option<UnixSeconds>,
        now: UnixSeconds,
    ) -> Result<Proof, Rejection> {
        let Some(revoked) = &self.revoked else {
            return Ok(Proof::of_key(key));
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(Into::into);
        let ids = Ids {
            jti: text("jti"),
            sub: text("sub"),
            sid: text("sid"),
            issued_at,
        };
        revoked.check(&ids.borrow(), now)?;
        Ok(Proof {
            key,
            ids: Some(Box::new(ids)),
        })
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
        Self { key, ids: None }
    }
}
