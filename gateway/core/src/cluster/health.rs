//! Whether an endpoint is left out: at once when it cannot be reached, and for longer each time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Outcome;
use crate::words::time::Millis;

/// The first ejection after a failed connection; each further one doubles it.
const EJECTION_MS_MIN: Millis = 1_000;
/// No ejection lasts longer.
const EJECTION_MS_MAX: Millis = 30_000;

/// The health of one endpoint, as all workers see it.
#[derive(Debug, Default)]
pub struct Health {
    connect_failures: AtomicU32,
    ejected_until: AtomicU64,
}

impl Health {
    /// Whether the endpoint is left out.
    #[must_use]
    pub fn is_ejected(&self, now: Millis) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    pub(super) fn report(&self, outcome: Outcome, now: Millis) {
        match outcome {
            Outcome::Answered { .. } => self.answered(),
            Outcome::ConnectFailed => self.connect_failed(now),
            Outcome::Broken | Outcome::TimedOut | Outcome::Invalid => {}
        }
    }

    /// The endpoint is left out at once, for 1 s doubling up to 30 s.
    fn connect_failed(&self, now: Millis) {
        // Failures of the same moment are one event, whichever workers saw it.
        if self.is_ejected(now) {
            return;
        }
        let failures = self.connect_failures.fetch_add(1, Ordering::Relaxed);
        let ejection = (EJECTION_MS_MIN << failures.min(10)).min(EJECTION_MS_MAX);
        self.ejected_until.store(now + ejection, Ordering::Relaxed);
    }

    fn answered(&self) {
        // A load is cheaper than a store to a line that the other workers read.
        if self.connect_failures.load(Ordering::Relaxed) != 0 {
            self.connect_failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ejection_doubles_up_to_its_bound_and_ends_with_an_answer() {
        let health = Health::default();
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..7 {
            health.report(Outcome::ConnectFailed, now);
            health.report(Outcome::ConnectFailed, now);
            let start = now;
            while health.is_ejected(now) {
                now += 500;
            }
            lengths.push(now - start);
        }
        assert_eq!(lengths, [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        health.report(Outcome::ConnectFailed, now);
        health.report(Outcome::Answered { status: 200 }, now);
        assert!(!health.is_ejected(now));
    }
}
