//! How many tries after the first an upstream gets, as a share of its requests.
//!
//! A token bucket as in Finagle's `RetryBudget` and in linkerd2-proxy, which took it over: each
//! request adds a share of a token, each retry takes a whole one. Those two save for ten seconds
//! and grant ten retries a second beside the share, so that an upstream that goes down is met by
//! the retries of ten good seconds, and one with little traffic by several times its load for as
//! long as it is down. Envoy's `retry_budget` bounds the retries that are under way by the
//! requests that are, which is no bound on load where failures are fast. Here the whole is a share
//! of what is offered:
//!
//! - What is saved expires after one to two seconds.
//! - What requests bring is less than the share, by as much as those two seconds would add to
//!   [`SPAN_SECONDS`]. So the share holds for any span of that length or longer, also for the first
//!   one of an outage that begins after good hours.
//! - A reserve for upstreams with little traffic is no second source beside the share: it is drawn
//!   in advance, paid back by the requests that follow, and never forgiven.
//!
//! The bound, which the tests hold: in any span of time, retries are at most 10/12 of the share of
//! the requests of that span and of the two seconds before it, plus the reserve. At an even rate
//! that is, in any span of ten seconds and more, the share of its requests plus the reserve.
//!
//! One budget belongs to one worker and one upstream. The total over all workers keeps the same
//! share, because each worker's share is of its own requests; only the reserve counts once a
//! worker.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::words::time::Millis;

/// The shortest span that keeps the share whatever was saved before it.
const SPAN_SECONDS: i64 = 10;
/// The longest time for which anything is saved.
const SAVED_SECONDS: i64 = 2;
/// What one retry costs, where a request brings its percentage times [`SPAN_SECONDS`].
const RETRY: i64 = 100 * (SPAN_SECONDS + SAVED_SECONDS);

/// The retry budget of one upstream on one worker.
///
/// Its cells have one writer, that worker: plain loads and stores, no read-modify-write.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// The second that `earned` is of.
    second: AtomicU64,
    /// Brought by the requests of this second.
    earned: AtomicI64,
    /// What may be spent; below 0 where the reserve has been drawn.
    balance: AtomicI64,
}

impl RetryBudget {
    /// Counts a request, its retries not among them, towards `percent` of a retry.
    pub fn deposit(&self, percent: u32, now: Millis) {
        self.turn(now);
        let share = i64::from(percent) * SPAN_SECONDS;
        add(&self.earned, share);
        add(&self.balance, share);
    }

    /// Takes a retry, if there is one: from what requests have brought, or else one of the
    /// `reserve` that is still there.
    #[must_use]
    pub fn withdraw(&self, reserve: u32, now: Millis) -> bool {
        self.turn(now);
        let left = self.balance.load(Ordering::Relaxed) - RETRY;
        if left < -i64::from(reserve) * RETRY {
            return false;
        }
        self.balance.store(left, Ordering::Relaxed);
        true
    }

    /// Begins a second: of what was saved, that of the last second stays. A debt stays.
    fn turn(&self, now: Millis) {
        let second = now / 1000;
        let last = self.second.load(Ordering::Relaxed);
        // A request that waited for its caller's keys counts as one of now.
        if second <= last {
            return;
        }
        let is_next = second == last + 1;
        let saved_max = if is_next {
            self.earned.load(Ordering::Relaxed)
        } else {
            0
        };
        let balance = self.balance.load(Ordering::Relaxed).min(saved_max);
        self.balance.store(balance, Ordering::Relaxed);
        self.second.store(second, Ordering::Relaxed);
        self.earned.store(0, Ordering::Relaxed);
    }
}

fn add(cell: &AtomicI64, amount: i64) {
    cell.store(cell.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
