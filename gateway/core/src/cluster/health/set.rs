//! What the endpoints of one upstream have in common, across all snapshots of its set.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::word::Word;
use super::{EjectionReason, OutlierRules};
use crate::words::time::Millis;

/// No endpoint waits for a probe.
const NEVER: Millis = Millis::MAX;

/// The health of an upstream's endpoints taken together.
///
/// Its counts are raised before an endpoint enters a state and lowered after it has left it: for
/// a moment they may be too high, never too low.
#[derive(Debug)]
pub struct SetHealth {
    rules: OutlierRules,
    endpoints: AtomicU32,
    ejected: AtomicU32,
    /// Ejected, unhealthy, or both.
    left_out: AtomicU32,
    /// No probe is due before.
    next_probe_at: AtomicU64,
    /// Which half of the window is being filled.
    half: AtomicUsize,
    half_began_at: AtomicU64,
    ejections: [AtomicU64; EjectionReason::ALL.len()],
    returns: AtomicU64,
    refused: AtomicU64,
    checks_passed: AtomicU64,
    checks_failed: AtomicU64,
}

impl Default for SetHealth {
    fn default() -> Self {
        Self::new(OutlierRules::default())
    }
}

impl SetHealth {
    pub(in crate::cluster) fn new(rules: OutlierRules) -> Self {
        Self {
            rules,
            endpoints: AtomicU32::new(0),
            ejected: AtomicU32::new(0),
            left_out: AtomicU32::new(0),
            next_probe_at: AtomicU64::new(NEVER),
            half: AtomicUsize::new(0),
            half_began_at: AtomicU64::new(0),
            ejections: std::array::from_fn(|_| AtomicU64::new(0)),
            returns: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            checks_passed: AtomicU64::new(0),
            checks_failed: AtomicU64::new(0),
        }
    }

    /// What it goes by.
    #[must_use]
    pub fn rules(&self) -> &OutlierRules {
        &self.rules
    }

    /// Whether so few endpoints are left that health is ignored.
    #[must_use]
    pub fn is_panicking(&self) -> bool {
        let left_out = self.left_out.load(Ordering::Relaxed);
        self.rules
            .is_panic(self.endpoints.load(Ordering::Relaxed), left_out)
    }

    /// Endpoints that are ejected now.
    #[must_use]
    pub fn ejected(&self) -> u32 {
        self.ejected.load(Ordering::Relaxed)
    }

    /// Ejections so far.
    #[must_use]
    pub fn ejections(&self, reason: EjectionReason) -> u64 {
        self.ejections[reason as usize].load(Ordering::Relaxed)
    }

    /// Returns from an ejection so far.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.returns.load(Ordering::Relaxed)
    }

    /// Ejections that there was reason for and no room.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Active checks so far: passed and failed.
    #[must_use]
    pub fn checks(&self) -> (u64, u64) {
        (
            self.checks_passed.load(Ordering::Relaxed),
            self.checks_failed.load(Ordering::Relaxed),
        )
    }

    /// Whether a probe may be due.
    pub(in crate::cluster) fn is_probe_due(&self, now: Millis) -> bool {
        self.next_probe_at.load(Ordering::Relaxed) <= now
    }

    /// Forgets the time of the next probe; whoever does so looks at all endpoints afterwards, and
    /// says when the next one is.
    pub(in crate::cluster) fn forget_probes(&self) {
        // Acquires what an ejection released with its time, so that its word is seen.
        self.next_probe_at.swap(NEVER, Ordering::AcqRel);
    }

    pub(in crate::cluster) fn expect_probe_at(&self, at: Millis) {
        self.next_probe_at.fetch_min(at, Ordering::AcqRel);
    }

    pub(in crate::cluster) fn resize(&self, endpoints: usize) {
        let endpoints = u32::try_from(endpoints).unwrap_or(u32::MAX);
        self.endpoints.store(endpoints, Ordering::Relaxed);
    }

    /// Whether more are ejected than the set's size allows.
    pub(in crate::cluster) fn is_over_share(&self) -> bool {
        self.ejected() > self.ejected_max()
    }

    /// Begins a new half of the window if the old one is over: tells which is to be cleared.
    pub(in crate::cluster) fn end_half(&self, now: Millis) -> Option<usize> {
        let began = self.half_began_at.load(Ordering::Relaxed);
        let length = self.rules.success_rate.window_ms / 2;
        if now.saturating_sub(began) < length {
            return None;
        }
        self.half_began_at.store(now, Ordering::Relaxed);
        Some(1 - self.current_half())
    }

    pub(in crate::cluster) fn begin_half(&self, half: usize) {
        self.half.store(half, Ordering::Relaxed);
    }

    pub(super) fn current_half(&self) -> usize {
        self.half.load(Ordering::Relaxed) & 1
    }

    pub(super) fn try_take_place(&self) -> bool {
        let most = self.ejected_max();
        let taken = self
            .ejected
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ejected| {
                (ejected < most).then_some(ejected + 1)
            });
        if taken.is_ok() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    pub(super) fn give_place_back(&self) {
        self.ejected.fetch_sub(1, Ordering::Relaxed);
        self.left_out.fetch_sub(1, Ordering::Relaxed);
    }

    /// An endpoint is about to become unhealthy.
    pub(super) fn entering(&self, from: Word) {
        if from.is_in() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It did not.
    pub(super) fn entered_not(&self, from: Word) {
        if from.is_in() {
            self.left_out.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An endpoint has changed for the better.
    pub(super) fn left(&self, from: Word, to: Word) {
        if from.is_ejected() && !to.is_ejected() {
            self.ejected.fetch_sub(1, Ordering::Relaxed);
        }
        if !from.is_in() && to.is_in() {
            self.left_out.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// An endpoint has left the set.
    pub(super) fn leave(&self, from: Word) {
        self.left(from, Word::IN);
    }

    pub(super) fn count_ejection(&self, reason: EjectionReason) {
        self.ejections[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_return(&self) {
        self.returns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_check(&self, has_passed: bool) {
        let count = if has_passed {
            &self.checks_passed
        } else {
            &self.checks_failed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn ejected_max(&self) -> u32 {
        self.rules
            .ejected_max(self.endpoints.load(Ordering::Relaxed))
    }
}
