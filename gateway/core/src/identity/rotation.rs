//! Which key signs, and which are published: a new one before it signs, an old one until the
//! last token that it signed has ended.
//!
//! ```text
//!          ┌ published ┐                 ┌ keep ┐
//! key 1 ───┼───────────┼── signs ────────┼──────┤
//! key 2                └ ahead ┬─ published ─┬── signs ───…
//! ```
//!
//! Only the first key of a process signs as soon as it is published: nobody could wait for it. A
//! verifier that meets a key it does not know must ask again, as it must for every new process.

use std::time::Duration;

use crate::words::time::Millis;

/// The longest time for which a key is published before it signs. Verifiers of other makes keep
/// a key set for five to ten minutes unless told otherwise.
const AHEAD_MAX: Duration = Duration::from_mins(15);
/// A verifier that keeps the set for `max-age` sees a new key while two thirds of the time for
/// which it is published ahead are still left.
const MAX_AGES_AHEAD: u32 = 3;
/// What verifiers allow for clocks that differ: an old key is published for so much longer.
const SKEW: Duration = Duration::from_mins(1);

/// How keys follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    period: Duration,
    ahead: Duration,
    keep: Duration,
}

impl Rotation {
    /// A key signs for `period`; its tokens live for `lifetime`, which is not longer.
    #[must_use]
    pub fn new(period: Duration, lifetime: Duration) -> Self {
        Self {
            period,
            ahead: AHEAD_MAX.min(period / 2),
            keep: lifetime + SKEW,
        }
    }

    /// Seconds for which a verifier may keep the published set, from 1.
    #[must_use]
    pub fn max_age_seconds(&self) -> u64 {
        (self.ahead / MAX_AGES_AHEAD).as_secs().max(1)
    }
}

/// The keys of one process over time.
#[derive(Debug)]
pub struct KeySchedule<K> {
    rotation: Rotation,
    signing: Since<K>,
    next: Option<Since<K>>,
    /// Oldest first. As many as rotations fit into `keep`: three, because a period is not
    /// shorter than a lifetime and not shorter than a minute.
    retired: Vec<Retired<K>>,
}

#[derive(Debug)]
struct Since<K> {
    key: K,
    since: Millis,
}

#[derive(Debug)]
struct Retired<K> {
    key: K,
    until: Millis,
}

impl<K> KeySchedule<K> {
    /// Begins with a key that signs at once.
    pub fn new(rotation: Rotation, first: K, now: Millis) -> Self {
        Self {
            rotation,
            signing: Since {
                key: first,
                since: now,
            },
            next: None,
            retired: Vec::new(),
        }
    }

    /// Does what is due at `now`; whether anything changed. However late it comes, no key signs
    /// that was not published for long enough.
    ///
    /// # Errors
    /// Those of `make`, which makes a key. The keys that are there stay, and the next call tries
    /// again.
    pub fn advance<E>(
        &mut self,
        now: Millis,
        make: impl FnOnce() -> Result<K, E>,
    ) -> Result<bool, E> {
        let before = self.retired.len();
        self.retired.retain(|retired| now < retired.until);
        let mut is_changed = self.retired.len() != before;
        let is_due = now >= self.due();
        if let Some(next) = self.next.take_if(|_| is_due) {
            let since = Since { since: now, ..next };
            let old = std::mem::replace(&mut self.signing, since);
            self.retired.push(Retired {
                key: old.key,
                until: now + millis(self.rotation.keep),
            });
            is_changed = true;
        } else if self.next.is_none() && is_due {
            self.next = Some(Since {
                key: make()?,
                since: now,
            });
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// When there is something to do next.
    #[must_use]
    pub fn next_change(&self) -> Millis {
        let ends = self.retired.iter().map(|retired| retired.until);
        ends.fold(self.due(), Millis::min)
    }

    /// When the next key signs, or where there is none, when it is to be published.
    fn due(&self) -> Millis {
        let ahead = millis(self.rotation.ahead);
        let end = self.signing.since + millis(self.rotation.period);
        match &self.next {
            Some(next) => end.max(next.since + ahead),
            None => end - ahead,
        }
    }

    /// The key that signs.
    pub fn signing(&self) -> &K {
        &self.signing.key
    }

    /// All keys that verifiers must know, the one that signs first.
    pub fn published(&self) -> impl Iterator<Item = &K> {
        let next = self.next.iter().map(|next| &next.key);
        let retired = self.retired.iter().rev().map(|retired| &retired.key);
        std::iter::once(&self.signing.key)
            .chain(next)
            .chain(retired)
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX / 4)
}

#[cfg(test)]
mod tests;
