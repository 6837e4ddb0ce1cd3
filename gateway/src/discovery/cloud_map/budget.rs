//! A bounded share of the account's throttle, for all sources of one client.
//!
//! Cloud Map gives an account 1,000 `DiscoverInstances` a second in each
//! region, with a burst of 2,000, and 3,000 `DiscoverInstancesRevision`. A
//! client keeps to a hundredth of each, so that a hundred gateways fit however
//! many upstreams they have.
//! <https://docs.aws.amazon.com/cloud-map/latest/dg/cloud-map-limits.html>

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// `DiscoverInstances` a second.
const INSTANCES_PER_SECOND: u32 = 10;
/// `DiscoverInstances` at once, as at a start with many upstreams.
const INSTANCES_BURST: u32 = 20;
/// `DiscoverInstancesRevision` a second.
const REVISIONS_PER_SECOND: u32 = 30;
/// `DiscoverInstancesRevision` at once.
const REVISIONS_BURST: u32 = 30;

/// The budgets of one client.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) instances: Budget,
    pub(super) revisions: Budget,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            instances: Budget::new(INSTANCES_PER_SECOND, INSTANCES_BURST),
            revisions: Budget::new(REVISIONS_PER_SECOND, REVISIONS_BURST),
        }
    }
}

/// A token bucket, kept as the time at which it will be full again.
///
/// This is the generic cell rate algorithm (ITU-T I.371, annex A) with a
/// tolerance of the burst.
#[derive(Debug)]
pub(super) struct Budget {
    /// Time in which one token comes.
    period: Duration,
    /// Time in which the whole bucket comes.
    depth: Duration,
    full_at: Mutex<Option<Instant>>,
}

impl Budget {
    fn new(per_second: u32, burst: u32) -> Self {
        let period = Duration::from_secs(1) / per_second;
        Self {
            period,
            depth: period * burst,
            full_at: Mutex::new(None),
        }
    }

    /// Takes a token, and says how long to wait until it is there.
    ///
    /// Who waits has its place in the queue: there is one waiter a source at
    /// the most.
    pub(super) fn reserve(&self, now: Instant) -> Duration {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |it| it.max(now)) + self.period;
        *full_at = Some(next);
        next.duration_since(now).saturating_sub(self.depth)
    }

    /// Takes a token if there is one.
    pub(super) fn try_take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |it| it.max(now)) + self.period;
        let is_there = next.duration_since(now) <= self.depth;
        if is_there {
            *full_at = Some(next);
        }
        is_there
    }

    /// Empties the bucket: the account is throttled, so what is left of our
    /// share is not there.
    pub(super) fn drain(&self, now: Instant) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let empty = now + self.depth;
        *full_at = Some(full_at.map_or(empty, |it| it.max(empty)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let (budget, now) = (Budget::new(10, 20), Instant::now());
        let waits: Vec<_> = (0..40).map(|_| budget.reserve(now).as_millis()).collect();
        let expected = (0..40_u128).map(|index| (index.saturating_sub(19)) * 100);
        assert_eq!(waits, expected.collect::<Vec<_>>());
        // Two seconds of waiters are ahead, and the bucket's own two seconds.
        assert_eq!(budget.reserve(now + SECOND * 4), Duration::ZERO);
        assert!(budget.try_take(now + SECOND * 60));
    }

    #[test]
    fn what_does_not_wait_goes_away_empty_and_takes_nothing() {
        let (budget, now) = (Budget::new(10, 3), Instant::now());
        let taken = (0..9).filter(|_| budget.try_take(now)).count();
        assert_eq!(taken, 3);
        assert!(!budget.try_take(now + SECOND / 20));
        assert!(budget.try_take(now + SECOND / 10));
    }

    #[test]
    fn a_drained_budget_fills_at_its_rate() {
        let (budget, now) = (Budget::new(10, 20), Instant::now());
        budget.drain(now);
        assert!(!budget.try_take(now));
        assert_eq!(budget.reserve(now), SECOND / 10);
        assert!(budget.try_take(now + SECOND));
    }
}
