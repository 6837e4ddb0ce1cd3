//! What is counted of one provider's keys.

use std::sync::atomic::{AtomicU64, Ordering};

use gateway_core::auth::refresh::Trigger;
use gateway_core::auth::stale::Stale;
use gateway_core::words::time::Millis;

use super::error::Outcome;
use super::time::KeyClock;

const OUTCOMES: usize = Outcome::ALL.len();

/// Written by the provider's loop, read by scrapes.
#[derive(Debug)]
pub(crate) struct KeyStats {
    clock: KeyClock,
    max_stale: Millis,
    /// On the engine's clock; 0 where the keys were never confirmed.
    confirmed_at: AtomicU64,
    fetches: [[AtomicU64; OUTCOMES]; Trigger::ALL.len()],
    discoveries: [AtomicU64; OUTCOMES],
    alarms: [AtomicU64; Stale::ALL.len()],
}

impl KeyStats {
    pub(super) fn new(clock: KeyClock, max_stale: Millis) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            clock,
            max_stale,
            confirmed_at: AtomicU64::new(0),
            fetches: [zeros(), zeros()],
            discoveries: zeros(),
            alarms: Default::default(),
        }
    }

    pub(super) fn confirmed(&self, at: Millis) {
        self.confirmed_at.store(at, Ordering::Relaxed);
    }

    /// When they last were, on the engine's clock.
    pub(super) fn confirmed_at(&self) -> Option<Millis> {
        match self.confirmed_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(at),
        }
    }

    pub(super) fn count_fetch(&self, trigger: Trigger, outcome: Outcome) {
        self.fetches[trigger as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_discovery(&self, outcome: Outcome) {
        self.discoveries[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_alarm(&self, stale: Stale) {
        self.alarms[stale as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Seconds since the keys were last confirmed, and seconds until they are too stale; `None`
    /// where they have never been read, or do not change.
    pub(crate) fn age_and_rest_seconds(&self) -> Option<(u64, u64)> {
        let confirmed_at = self.confirmed_at.load(Ordering::Relaxed);
        if confirmed_at == 0 {
            return None;
        }
        let age = self.clock.now().saturating_sub(confirmed_at);
        Some((age / 1000, self.max_stale.saturating_sub(age) / 1000))
    }

    /// Readings of the keys.
    pub(crate) fn fetches(&self, trigger: Trigger, outcome: Outcome) -> u64 {
        self.fetches[trigger as usize][outcome as usize].load(Ordering::Relaxed)
    }

    /// Readings of the issuer's document.
    pub(crate) fn discoveries(&self, outcome: Outcome) -> u64 {
        self.discoveries[outcome as usize].load(Ordering::Relaxed)
    }

    /// How often keys have become so stale.
    pub(crate) fn alarms(&self, stale: Stale) -> u64 {
        self.alarms[stale as usize].load(Ordering::Relaxed)
    }
}
