//! How old keys may become: an alarm at half of the bound, and none of them at the bound.

use crate::words::time::Millis;

/// What keys have become that could not be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stale {
    /// Half of the time is over: somebody should look.
    Half,
    /// All of it: they serve no more.
    Reached,
}

impl Stale {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Half, Self::Reached];

    /// The name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Half => "half",
            Self::Reached => "reached",
        }
    }
}

/// When a set of keys was last confirmed by its place, and what has been said about its age.
#[derive(Debug)]
pub struct Freshness {
    max_stale: Millis,
    confirmed_at: Option<Millis>,
    said: Option<Stale>,
}

impl Freshness {
    /// No keys yet. `max_stale` is how long keys serve without being confirmed.
    #[must_use]
    pub fn new(max_stale: Millis) -> Self {
        Self {
            max_stale,
            confirmed_at: None,
            said: None,
        }
    }

    /// The keys at hand were those of their place at `at`.
    pub fn confirmed(&mut self, at: Millis) {
        self.confirmed_at = Some(at);
        self.said = None;
    }

    /// When they were last confirmed.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<Millis> {
        self.confirmed_at
    }

    /// What the keys have become since the last look; each is said once.
    pub fn check(&mut self, now: Millis) -> Option<Stale> {
        let age = now.saturating_sub(self.confirmed_at?);
        let stale = if age >= self.max_stale {
            Stale::Reached
        } else if age >= self.max_stale / 2 {
            Stale::Half
        } else {
            return None;
        };
        if self.said >= Some(stale) {
            return None;
        }
        self.said = Some(stale);
        Some(stale)
    }

    /// When to look next.
    #[must_use]
    pub fn next_check(&self) -> Option<Millis> {
        let confirmed_at = self.confirmed_at?;
        match self.said {
            None => Some(confirmed_at + self.max_stale / 2),
            Some(Stale::Half) => Some(confirmed_at + self.max_stale),
            Some(Stale::Reached) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_age_is_said_once_until_the_keys_are_confirmed() {
        let mut keys = Freshness::new(1_000);
        assert_eq!((keys.check(Millis::MAX), keys.next_check()), (None, None));
        keys.confirmed(100);
        for (now, said, next) in [
            (100, None, Some(600)),
            (599, None, Some(600)),
            (600, Some(Stale::Half), Some(1_100)),
            (1_099, None, Some(1_100)),
            (1_100, Some(Stale::Reached), None),
            (9_999, None, None),
        ] {
            assert_eq!((keys.check(now), keys.next_check()), (said, next), "{now}");
        }
        keys.confirmed(10_000);
        assert_eq!(keys.check(10_500), Some(Stale::Half));
    }

    #[test]
    fn a_look_that_comes_late_says_the_worst() {
        let mut keys = Freshness::new(1_000);
        keys.confirmed(0);
        assert_eq!(keys.check(5_000), Some(Stale::Reached));
        assert_eq!(keys.check(5_000), None);
    }
}
