//! An endpoint's state in one word, so that each change of it is one compare-and-swap.

use crate::words::time::Millis;

const UNHEALTHY: u64 = 1 << 63;
const PROBING: u64 = 1 << 62;
const TIME: u64 = PROBING - 1;

/// 0 is in; the low 62 bits are the time of an ejection's end, or of a probe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    /// In use.
    pub(super) const IN: Self = Self(0);
    /// No longer in the set.
    pub(super) const GONE: Self = Self(u64::MAX);

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// `until` is at least 1, for 0 is no ejection.
    pub(super) fn ejected_until(until: Millis) -> Self {
        // One less than the field holds, so that no other state looks like `GONE`.
        Self(until.clamp(1, TIME - 1))
    }

    pub(super) fn probing_until(until: Millis) -> Self {
        Self(Self::ejected_until(until).0 | PROBING)
    }

    pub(super) fn unhealthy(self) -> Self {
        Self(self.0 | UNHEALTHY)
    }

    pub(super) fn without_unhealthy(self) -> Self {
        Self(self.0 & !UNHEALTHY)
    }

    pub(super) fn with_unhealthy_of(self, other: Self) -> Self {
        Self(self.0 | (other.0 & UNHEALTHY))
    }

    pub(super) fn without_ejection(self) -> Self {
        Self(self.0 & UNHEALTHY)
    }

    pub(super) fn until(self) -> Millis {
        self.0 & TIME
    }

    pub(super) fn is_in(self) -> bool {
        self == Self::IN
    }

    pub(super) fn is_gone(self) -> bool {
        self == Self::GONE
    }

    pub(super) fn is_ejected(self) -> bool {
        self.until() != 0
    }

    pub(super) fn is_probing(self) -> bool {
        self.0 & PROBING != 0
    }

    pub(super) fn is_unhealthy(self) -> bool {
        self.0 & UNHEALTHY != 0
    }

    /// Whether its time is over, and active checks have nothing against it.
    pub(super) fn is_probe_due(self, now: Millis) -> bool {
        self.is_ejected() && !self.is_unhealthy() && self.until() <= now
    }
}
