//! When a provider's keys are read: a state machine without clock, task or chance.
//!
//! Its owner reads the keys, tells it how that ended, and asks when to read next. Three rules:
//!
//! - Keys that were read are read again after their interval, spread by [`JITTER_SHARE`].
//! - A failure is followed by a pause that doubles from [`BACKOFF_MIN`] to [`BACKOFF_MAX`].
//! - A request may want a key that is not there. It gets one reading more, but never within the
//!   cooldown after the one before, however that ended. The cooldown doubles with each reading
//!   that such requests asked for in vain, so that invented key ids cannot hammer a provider.

use crate::words::time::Millis;

/// A regular pause is shortened by up to one part in this many, so that a fleet does not ask
/// as one.
pub const JITTER_SHARE: Millis = 10;
/// The pause after the first failure, at the most; half of it at the least.
pub const BACKOFF_MIN: Millis = 1_000;
/// The pause after many failures, at the most; half of it at the least.
pub const BACKOFF_MAX: Millis = 30_000;
/// After this time without a wanted key the cooldown is as short as at first.
pub const COOLDOWN_MEMORY: Millis = 60_000;
/// 2^10 times the first pause is beyond any bound.
const DOUBLINGS_MAX: u32 = 10;

/// The times that a provider's readings keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// From one reading to the next, where the answer does not say for how long it holds.
    pub interval: Millis,
    /// The shortest interval, whatever the answer says.
    pub interval_min: Millis,
    /// The longest interval, whatever the answer says.
    pub interval_max: Millis,
    /// The first pause between a reading and one for a wanted key.
    pub cooldown_min: Millis,
    /// The longest such pause.
    pub cooldown_max: Millis,
}

/// Why keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Trigger {
    /// It was time.
    Refresh,
    /// A request wanted a key that is not there.
    UnknownKey,
}

impl Trigger {
    /// Both, in the order of their discriminants.
    pub const ALL: [Self; 2] = [Self::Refresh, Self::UnknownKey];

    /// The name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// When one provider's keys are read.
#[derive(Debug)]
pub struct Refresh {
    policy: RefreshPolicy,
    /// When keys are read even if nobody wants one.
    due: Millis,
    /// Failures in a row.
    failures: u32,
    under_way: Option<Trigger>,
    last_end: Option<Millis>,
    is_wanted: bool,
    /// When a reading for a wanted key last ended.
    last_wanted_end: Option<Millis>,
    cooldown: Millis,
}

impl Refresh {
    /// Keys that are to be read at `first`.
    #[must_use]
    pub fn new(policy: RefreshPolicy, first: Millis) -> Self {
        Self {
            policy,
            due: first,
            failures: 0,
            under_way: None,
            last_end: None,
            is_wanted: false,
            last_wanted_end: None,
            cooldown: policy.cooldown_min,
        }
    }

    /// When the next reading is to begin; `None` while one is under way.
    #[must_use]
    pub fn next_fetch(&self) -> Option<Millis> {
        if self.under_way.is_some() {
            return None;
        }
        if self.is_wanted {
            return Some(self.due.min(self.rested()));
        }
        Some(self.due)
    }

    /// A request wants a key that is not there. What is under way began before it came, so that
    /// the next reading is for it.
    pub fn wanted(&mut self, now: Millis) {
        let is_long_ago = |end| now.saturating_sub(end) >= COOLDOWN_MEMORY;
        if self.last_wanted_end.is_some_and(is_long_ago) {
            self.cooldown = self.policy.cooldown_min;
        }
        self.is_wanted = true;
    }

    /// A reading begins.
    pub fn begin(&mut self, now: Millis) -> Trigger {
        let trigger = if self.is_wanted && now < self.due {
            Trigger::UnknownKey
        } else {
            Trigger::Refresh
        };
        self.is_wanted = false;
        self.under_way = Some(trigger);
        trigger
    }

    /// The reading brought a set of keys. `max_age` is for how long the answer says that it
    /// holds, `has_changed` whether the set is another one than before, `random` any 64 bits.
    pub fn fetched(
        &mut self,
        now: Millis,
        max_age: Option<Millis>,
        has_changed: bool,
        random: u64,
    ) {
        let policy = &self.policy;
        let interval = max_age
            .unwrap_or(policy.interval)
            .clamp(policy.interval_min, policy.interval_max);
        self.failures = 0;
        self.due = now + interval - share(interval / JITTER_SHARE, random);
        self.end(now, has_changed);
    }

    /// The reading failed.
    pub fn failed(&mut self, now: Millis, random: u64) {
        let most = (BACKOFF_MIN << self.failures.min(DOUBLINGS_MAX)).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.due = now + most - share(most / 2, random);
        self.end(now, false);
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn end(&mut self, now: Millis, has_changed: bool) {
        let trigger = self.under_way.take();
        self.last_end = Some(now);
        if trigger == Some(Trigger::UnknownKey) {
            self.last_wanted_end = Some(now);
            self.cooldown = (self.cooldown * 2).min(self.policy.cooldown_max);
        }
        if has_changed {
            self.cooldown = self.policy.cooldown_min;
        }
    }

    /// When a reading for a wanted key may begin.
    fn rested(&self) -> Millis {
        self.last_end.map_or(0, |end| end + self.cooldown)
    }
}

/// From 0 to below `most`, in proportion to `random`.
fn share(most: Millis, random: u64) -> Millis {
    let share = (u128::from(most) * u128::from(random)) >> 64;
    Millis::try_from(share).expect("it is below `most`")
}

#[cfg(test)]
mod tests;
