//! How often a database that is away is asked whether it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// Pause after the first failure, at most.
pub const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Pause after many failures, at most: with the connect timeout this bounds the time in
/// which the database's return is noticed.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Exponential pauses with jitter, shared by all who want to connect: while one lasts,
/// nobody tries, so that requests fail at once and a database that starts is not trampled.
#[derive(Debug)]
pub(super) struct Backoff {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    until: Option<Instant>,
    rng: Rng,
}

impl Backoff {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            state: Mutex::new(State {
                failures: 0,
                until: None,
                rng,
            }),
        }
    }

    /// The time left until the next try; `None` when it may be made now.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let until = self.state().until?;
        until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }

    /// A try has failed: the next pause lasts from half of its bound to all of it.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state();
        // Those that were on their way together count as one failure.
        if state.until.is_some_and(|until| now < until) {
            return;
        }
        let bound = FIRST_PAUSE
            .saturating_mul(1 << state.failures.min(10))
            .min(LONGEST_PAUSE);
        let pause = bound.mul_f64(0.5 + 0.5 * state.rng.f64());
        state.failures = state.failures.saturating_add(1);
        state.until = Some(now + pause);
    }

    pub(super) fn succeeded(&self) {
        let mut state = self.state();
        state.failures = 0;
        state.until = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_end_with_a_success() {
        for seed in 0..100 {
            let backoff = Backoff::new(Rng::with_seed(seed));
            let mut now = Instant::now();
            let mut bound = FIRST_PAUSE;
            for _ in 0..12 {
                assert_eq!(backoff.pause(now), None, "seed {seed}");
                backoff.failed(now);
                let pause = backoff.pause(now).expect("it has just failed");
                assert!(
                    bound / 2 <= pause && pause <= bound,
                    "seed {seed}: {pause:?}"
                );
                // Another that failed meanwhile changes nothing.
                backoff.failed(now);
                assert_eq!(backoff.pause(now), Some(pause), "seed {seed}");
                now += pause;
                bound = (bound * 2).min(LONGEST_PAUSE);
            }
            backoff.failed(now);
            backoff.succeeded();
            assert_eq!(backoff.pause(now), None, "seed {seed}");
        }
    }
}
