//! Whether an endpoint is left out, and how it comes back.
//!
//! Two things leave an endpoint out: its own failures (an *ejection*, for a time that grows with
//! each one) and active checks (*unhealthy*, until they pass again). An ejection does not end with
//! its time: then one request, the *probe*, goes to the endpoint while all others still avoid it,
//! and its outcome decides.
//!
//! All of it is one word, so that every step is one compare-and-swap and the balancers' question
//! is one load. What all endpoints of an upstream have in common (the share that is out, panic,
//! the next probe's time) is [`SetHealth`], which outlives the snapshots of the set.

mod rules;
mod set;
mod word;

#[cfg(test)]
mod tests;

pub use rules::{CheckThresholds, EjectionReason, OutlierRules, SuccessRateRule};
pub use set::SetHealth;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::Outcome;
use crate::words::time::Millis;
use word::Word;

/// A probe that has not ended after this long counts as failed, so that a request that hangs does
/// not keep its endpoint out for ever. A good answer counts whenever it comes.
pub const PROBE_WAIT_MS: Millis = 10_000;
/// Good time that takes back one doubling of the ejection time.
pub const GOOD_TIME_MS: Millis = 10_000;
/// Doublings beyond this reach every maximum.
const DOUBLINGS_MAX: u32 = 20;

/// The health of one endpoint, as all workers see it.
#[derive(Debug, Default)]
pub struct Health {
    word: AtomicU64,
    gateway_failures: AtomicU32,
    server_errors: AtomicU32,
    /// Answers of the window's two halves: failures in the high 32 bits, the rest in the low.
    halves: [AtomicU64; 2],
    /// Ejections so far, less one for each stretch of good time.
    doublings: AtomicU32,
    returned_at: AtomicU64,
    /// Checks in a row: passed above zero, failed below it.
    check_streak: AtomicI32,
    ejections: AtomicU32,
    returns: AtomicU32,
    reason: AtomicU8,
    set: Arc<SetHealth>,
}

/// What an endpoint is to the balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// In use.
    Healthy,
    /// Left out after failures of its own.
    Ejected,
    /// Left out but for one request, which is under way.
    Probing,
    /// Left out because active checks fail.
    Unhealthy,
}

impl HealthState {
    /// All states, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Ejected, Self::Probing, Self::Unhealthy];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Probing => "probing",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How often an endpoint went and came back, for whoever writes that down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Ejections so far, those that a failed probe prolonged included.
    pub ejections: u32,
    /// Returns from an ejection so far.
    pub returns: u32,
}

/// Permission to send one request to an endpoint that all others avoid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe(Word);

impl Health {
    pub(super) fn of(set: &Arc<SetHealth>) -> Self {
        Self {
            set: Arc::clone(set),
            ..Self::default()
        }
    }

    /// Whether the endpoint is left out, by ejection or active checks.
    ///
    /// False for every endpoint while its set panics. False too when nobody took its probe for
    /// [`PROBE_WAIT_MS`]: then whoever comes is one.
    #[must_use]
    pub fn is_ejected(&self, now: Millis) -> bool {
        let word = self.word();
        if word.is_in() {
            return false;
        }
        let is_forgotten = word.is_ejected()
            && !word.is_probing()
            && !word.is_unhealthy()
            && word.until() + PROBE_WAIT_MS <= now;
        !is_forgotten && !self.set.is_panicking()
    }

    /// What it is, panic or not.
    #[must_use]
    pub fn state(&self) -> HealthState {
        let word = self.word();
        if word.is_in() {
            HealthState::Healthy
        } else if word.is_unhealthy() {
            HealthState::Unhealthy
        } else if word.is_probing() {
            HealthState::Probing
        } else {
            HealthState::Ejected
        }
    }

    /// How often it went and came back.
    #[must_use]
    pub fn turns(&self) -> Turns {
        Turns {
            ejections: self.ejections.load(Ordering::Relaxed),
            returns: self.returns.load(Ordering::Relaxed),
        }
    }

    /// Why it was ejected last; means nothing before the first ejection.
    #[must_use]
    pub fn last_reason(&self) -> EjectionReason {
        let index = usize::from(self.reason.load(Ordering::Relaxed));
        EjectionReason::ALL[index.min(EjectionReason::ALL.len() - 1)]
    }

    /// Until when it is left out, where it is ejected.
    #[must_use]
    pub fn ejected_until(&self) -> Option<Millis> {
        let word = self.word();
        (word.is_ejected() && !word.is_gone()).then(|| word.until())
    }

    /// Counts the result of an active check; tells whether the endpoint's state changed.
    ///
    /// The first check decides by itself: of an endpoint that has just come nothing is known that
    /// a threshold could protect.
    pub fn checked(&self, has_passed: bool, thresholds: CheckThresholds) -> bool {
        self.set.count_check(has_passed);
        let step = if has_passed { 1 } else { -1 };
        let before = self.check_streak.load(Ordering::Relaxed);
        let streak = if before.signum() == step {
            before.saturating_add(step)
        } else {
            step
        };
        self.check_streak.store(streak, Ordering::Relaxed);
        let needed = if has_passed {
            thresholds.healthy
        } else {
            thresholds.unhealthy
        };
        if before != 0 && streak.unsigned_abs() < needed {
            return false;
        }
        self.mark(!has_passed)
    }

    pub(super) fn report(&self, outcome: Outcome, probe: Option<Probe>, now: Millis) {
        let is_good = outcome.is_good();
        let word = self.word();
        if word.is_in() {
            self.count(outcome, now);
        } else if let Some(Probe(claim)) = probe {
            // A good answer counts though it comes late; a failure that late was counted already.
            if is_good {
                self.readmit(now);
            } else {
                self.prolong(claim, now);
            }
        } else if word.is_ejected() && !word.is_probing() && word.until() <= now {
            // Its time is over, and somebody went there all the same.
            if is_good {
                self.readmit(now);
            } else {
                self.prolong(word, now);
            }
        }
        // What began before the ejection says nothing new.
    }

    /// Takes the probe, if it is time for one.
    pub(super) fn claim_probe(&self, now: Millis) -> Option<Probe> {
        let word = self.word();
        if !word.is_probe_due(now) {
            return None;
        }
        if word.is_probing() {
            // It never ended.
            self.prolong(word, now);
            return None;
        }
        let claim = Word::probing_until(now + PROBE_WAIT_MS);
        self.swap(word, claim).then(|| {
            self.set.expect_probe_at(claim.until());
            Probe(claim)
        })
    }

    /// The probe ended without an outcome: the next request is one.
    pub(super) fn abandon(&self, probe: Probe) {
        let due = Word::ejected_until(1);
        if self.swap(probe.0, due) {
            self.set.expect_probe_at(due.until());
        }
    }

    /// When its next probe is due, where there will be one.
    pub(super) fn next_probe_at(&self) -> Option<Millis> {
        let word = self.word();
        let is_awaited = word.is_ejected() && !word.is_unhealthy() && !word.is_gone();
        is_awaited.then(|| word.until())
    }

    /// It left the set: it no longer counts there, whatever is still reported of it.
    pub(super) fn retire(&self) {
        let before = Word::from_bits(self.word.swap(Word::GONE.bits(), Ordering::AcqRel));
        if !before.is_gone() {
            self.set.leave(before);
        }
    }

    /// Answers of the window so far: good ones and failures.
    pub(super) fn answers(&self) -> (u64, u64) {
        self.halves.iter().fold((0, 0), |(good, bad), half| {
            let half = half.load(Ordering::Relaxed);
            (good + (half & u64::from(u32::MAX)), bad + (half >> 32))
        })
    }

    pub(super) fn clear_half(&self, index: usize) {
        self.halves[index].store(0, Ordering::Relaxed);
    }

    /// Leaves it out, if it is in and the share allows it.
    pub(super) fn eject(&self, reason: EjectionReason, now: Millis) -> bool {
        if !self.word().is_in() {
            return false;
        }
        if !self.set.try_take_place() {
            self.set.count_refused();
            return false;
        }
        let good_time = now.saturating_sub(self.returned_at.load(Ordering::Relaxed));
        let healed = u32::try_from(good_time / GOOD_TIME_MS).unwrap_or(u32::MAX);
        let doublings = self.doublings.load(Ordering::Relaxed);
        let doublings = doublings.saturating_sub(healed);
        let until = Word::ejected_until(now + self.set.rules().ejection_ms(doublings));
        if !self.swap(Word::IN, until) {
            self.set.give_place_back();
            return false;
        }
        self.ejected(reason, doublings, until);
        true
    }

    pub(super) fn readmit(&self, now: Millis) {
        let word = self.word();
        if !word.is_ejected() || word.is_gone() || !self.swap(word, word.without_ejection()) {
            return;
        }
        self.returned_at.store(now, Ordering::Relaxed);
        self.gateway_failures.store(0, Ordering::Relaxed);
        self.server_errors.store(0, Ordering::Relaxed);
        self.clear_half(0);
        self.clear_half(1);
        self.returns.fetch_add(1, Ordering::Relaxed);
        self.set.count_return();
        self.set.left(word, word.without_ejection());
    }

    /// A probe failed: it stays out, for longer.
    fn prolong(&self, from: Word, now: Millis) {
        let doublings = self.doublings.load(Ordering::Relaxed);
        let until = Word::ejected_until(now + self.set.rules().ejection_ms(doublings));
        if self.swap(from, until.with_unhealthy_of(from)) {
            self.ejected(EjectionReason::ProbeFailed, doublings, until);
        }
    }

    fn ejected(&self, reason: EjectionReason, doublings: u32, until: Word) {
        let next = (doublings + 1).min(DOUBLINGS_MAX);
        self.doublings.store(next, Ordering::Relaxed);
        self.reason.store(reason as u8, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.set.count_ejection(reason);
        self.set.expect_probe_at(until.until());
    }

    /// Counts the outcome of a request to an endpoint that is in.
    fn count(&self, outcome: Outcome, now: Millis) {
        let rules = self.set.rules();
        let is_good = outcome.is_good();
        if rules.success_rate.is_on() {
            let one = if is_good { 1 } else { 1 << 32 };
            self.halves[self.set.current_half()].fetch_add(one, Ordering::Relaxed);
        }
        let reason = match outcome {
            Outcome::Answered { .. } if is_good => {
                clear(&self.gateway_failures);
                clear(&self.server_errors);
                return;
            }
            Outcome::Answered { .. } => {
                clear(&self.gateway_failures);
                let errors = self.server_errors.fetch_add(1, Ordering::Relaxed) + 1;
                let limit = rules.consecutive_5xx;
                (limit != 0 && errors >= limit).then_some(EjectionReason::Consecutive5xx)
            }
            Outcome::ConnectFailed => Some(EjectionReason::ConnectFailure),
            Outcome::Broken | Outcome::TimedOut | Outcome::Invalid => {
                let failures = self.gateway_failures.fetch_add(1, Ordering::Relaxed) + 1;
                let limit = rules.consecutive_gateway_failures;
                let is_reached = limit != 0 && failures >= limit;
                is_reached.then_some(EjectionReason::ConsecutiveGatewayFailures)
            }
        };
        if let Some(reason) = reason {
            self.eject(reason, now);
        }
    }

    /// Sets what active checks say; tells whether that is new.
    fn mark(&self, is_unhealthy: bool) -> bool {
        loop {
            let word = self.word();
            if word.is_gone() || word.is_unhealthy() == is_unhealthy {
                return false;
            }
            let next = if is_unhealthy {
                word.unhealthy()
            } else {
                word.without_unhealthy()
            };
            if is_unhealthy {
                self.set.entering(word);
            }
            if !self.swap(word, next) {
                if is_unhealthy {
                    self.set.entered_not(word);
                }
                continue;
            }
            if !is_unhealthy {
                self.set.left(word, next);
            }
            if let Some(at) = self.next_probe_at() {
                self.set.expect_probe_at(at);
            }
            return true;
        }
    }

    fn word(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::Relaxed))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word
            .compare_exchange(from.bits(), to.bits(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A load is cheaper than a store to a line that the other workers read.
fn clear(count: &AtomicU32) {
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
}
