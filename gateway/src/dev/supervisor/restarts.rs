//! When a child that died starts again, and when the run gives up.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Bounds on restarts and on stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Pause before the first restart; doubles with each death in the window. Default 100 ms.
    pub first_pause: Duration,
    /// Longest pause. Default 2 s.
    pub max_pause: Duration,
    /// How far back deaths count. Default 30 s.
    pub window: Duration,
    /// Deaths in the window that are borne; one more ends the run. Default 5.
    pub max_deaths: u32,
    /// Time to stop after SIGTERM; then SIGKILL. Default 1.5 s.
    pub stop_timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            max_pause: Duration::from_secs(2),
            window: Duration::from_secs(30),
            max_deaths: 5,
            stop_timeout: Duration::from_millis(1_500),
        }
    }
}

/// The deaths of one child.
#[derive(Debug, Default)]
pub(super) struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// Counts a death; says how long to pause, or nothing when there were too many.
    pub(super) fn record(&mut self, policy: &Policy, now: Instant) -> Option<Duration> {
        self.0.retain(|&death| now - death < policy.window);
        self.0.push_back(now);
        let deaths = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let doublings = deaths - 1;
        (deaths <= policy.max_deaths).then(|| {
            policy
                .first_pause
                .saturating_mul(2_u32.saturating_pow(doublings))
                .min(policy.max_pause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_one_death_too_many_ends_it() {
        let policy = Policy::default();
        let now = Instant::now();
        let mut deaths = Deaths::default();
        for pause_ms in [100, 200, 400, 800, 1_600] {
            let pause = Duration::from_millis(pause_ms);
            assert_eq!(deaths.record(&policy, now), Some(pause));
        }
        assert_eq!(deaths.record(&policy, now), None);

        let patient = Policy {
            max_deaths: 100,
            ..policy
        };
        assert_eq!(deaths.record(&patient, now), Some(policy.max_pause));
    }

    #[test]
    fn deaths_before_the_window_are_forgiven() {
        let policy = Policy::default();
        let mut now = Instant::now();
        let mut deaths = Deaths::default();
        for _ in 0..100 {
            assert_eq!(deaths.record(&policy, now), Some(policy.first_pause));
            now += policy.window;
        }
    }
}
