//! How many tries after the first an upstream gets, as a share of its requests.
//!
//! A token bucket as in Finagle's `RetryBudget` and in linkerd2-proxy, which took it over: each
//! request adds a share of a token, each retry takes a whole one. Two things differ. What is
//! saved expires after one to two seconds in place of ten, so that an upstream that goes down
//! is not met by the retries that ten good seconds have saved. And the floor for upstreams with
//! little traffic is no second source beside the share: it may be drawn in advance and is paid
//! back, so that with enough traffic the share is the whole of it.
//!
//! The bound, which the tests hold: over any time from the budget's beginning, retries are at
//! most the share of the requests, plus one floor; with so little traffic that the share of a
//! second is below the floor, at most one floor in each second. Within an outage come the
//! savings of up to two seconds before it.
//!
//! One budget belongs to one worker and one upstream. The total over all workers keeps the same
//! share, because each worker's share is of its own requests; only the floor counts once a
//! worker.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::words::time::Millis;

/// What one retry costs; a request brings its percentage of it.
const RETRY: i64 = 100;

/// The retry budget of one upstream on one worker.
///
/// Its cells have one writer, that worker: plain loads and stores, no read-modify-write.
#[derive(Debug, Default)]
pub struct RetryBudget {
    /// The second that `earned` and `granted` are of.
    second: AtomicU64,
    /// Brought by the requests of this second.
    earned: AtomicI64,
    /// Retries of this second.
    granted: AtomicU64,
    /// What may be spent; below 0 where the floor has been drawn in advance.
    balance: AtomicI64,
}

impl RetryBudget {
    /// Counts a request, its retries not among them, and brings `percent` of a retry.
    pub fn deposit(&self, percent: u32, now: Millis) {
        self.turn(now);
        let share = i64::from(percent);
        add(&self.earned, share);
        add(&self.balance, share);
    }

    /// Takes a retry, if there is one: from what requests have brought, or one of
    /// `per_second_min` that each second has whatever they brought.
    #[must_use]
    pub fn withdraw(&self, per_second_min: u32, now: Millis) -> bool {
        self.turn(now);
        let balance = self.balance.load(Ordering::Relaxed);
        let granted = self.granted.load(Ordering::Relaxed);
        if balance < RETRY && granted >= u64::from(per_second_min) {
            return false;
        }
        // A second's floor is paid back by the requests that follow, and forgiven where there
        // are too few of them.
        let debt_max = i64::from(per_second_min) * RETRY;
        let left = (balance - RETRY).max(-debt_max);
        self.balance.store(left, Ordering::Relaxed);
        self.granted.store(granted + 1, Ordering::Relaxed);
        true
    }

    /// Begins a second: of what was saved, that of the last second stays.
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
        self.granted.store(0, Ordering::Relaxed);
    }
}

fn add(cell: &AtomicI64, amount: i64) {
    cell.store(cell.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERCENT: u32 = 20;
    const FLOOR: u32 = 3;

    /// What an upstream got: requests, and tries in all.
    #[derive(Debug, Default)]
    struct Load {
        offered: u64,
        tries: u64,
    }

    impl Load {
        fn amplification(&self) -> f64 {
            f64::from(u32::try_from(self.tries).unwrap())
                / f64::from(u32::try_from(self.offered).unwrap())
        }
    }

    /// Sends requests at a rate for a time, evenly but for a draw within each step; while the
    /// upstream is down each is tried up to three times.
    fn send(
        budget: Option<&RetryBudget>,
        seed: u64,
        rate: u64,
        seconds: std::ops::Range<u64>,
        is_down: bool,
    ) -> Load {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut load = Load::default();
        for nth in 0..rate * (seconds.end - seconds.start) {
            let step = 1000 * nth / rate;
            let now = seconds.start * 1000 + step;
            load.offered += 1;
            load.tries += 1;
            if let Some(budget) = budget {
                budget.deposit(PERCENT, now);
            }
            // Some fail at once, some later, but in the order of time.
            let retries = if is_down { random.u64(1..=2) } else { 0 };
            for _ in 0..retries {
                if budget.is_none_or(|budget| budget.withdraw(FLOOR, now)) {
                    load.tries += 1;
                } else {
                    break;
                }
            }
        }
        load
    }

    #[test]
    fn a_full_outage_is_met_with_at_most_a_fifth_more_than_was_offered() {
        println!("requests/s | tries per request without a budget | with one");
        for rate in [20, 100, 1_000, 20_000] {
            let seed = rate;
            let without = send(None, seed, rate, 0..60, true);
            let budget = RetryBudget::default();
            let with = send(Some(&budget), seed, rate, 0..60, true);
            println!(
                "{rate:>10} | {:.3} | {:.3} (seed {seed})",
                without.amplification(),
                with.amplification()
            );
            assert!(without.amplification() > 2.0);
            let most = with.offered + with.offered * u64::from(PERCENT) / 100;
            assert!(
                with.tries <= most + u64::from(FLOOR),
                "{with:?}, not {most}"
            );
            // Nor is it much less: the budget is there to be used.
            assert!(with.amplification() > 1.19, "{with:?}");
        }
    }

    #[test]
    fn good_hours_before_an_outage_save_the_retries_of_two_seconds_at_the_most() {
        for rate in [20, 100, 1_000] {
            let budget = RetryBudget::default();
            let before = send(Some(&budget), rate, rate, 0..3600, false);
            assert_eq!(before.offered, before.tries);
            let outage = send(Some(&budget), rate, rate, 3600..3630, true);
            let share = u64::from(PERCENT) * rate / 100;
            let most = outage.offered + share * (30 + 2) + u64::from(FLOOR);
            assert!(outage.tries <= most, "seed {rate}: {outage:?}, not {most}");
            println!(
                "{rate}/s, 30 s down: {:.3} tries a request",
                outage.amplification()
            );
        }
    }

    #[test]
    fn an_upstream_with_little_traffic_has_its_floor_each_second_and_no_more() {
        let budget = RetryBudget::default();
        for second in 0..100 {
            let now = second * 1000 + 7;
            budget.deposit(PERCENT, now);
            let granted = (0..10).filter(|_| budget.withdraw(FLOOR, now)).count();
            assert_eq!(granted, FLOOR as usize, "second {second}");
        }
    }

    #[test]
    fn without_a_floor_only_what_requests_brought_is_spent() {
        let budget = RetryBudget::default();
        assert!(!budget.withdraw(0, 0));
        for _ in 0..5 {
            budget.deposit(PERCENT, 0);
        }
        assert!(budget.withdraw(0, 0));
        assert!(!budget.withdraw(0, 0));
        // Nothing, ever, where a share of 0 is asked for.
        budget.deposit(0, 10);
        assert!(!budget.withdraw(0, 10));
    }

    #[test]
    fn savings_expire() {
        let table = [(999, true), (1_999, true), (2_000, false), (60_000, false)];
        for (now, is_granted) in table {
            let budget = RetryBudget::default();
            budget.deposit(100, 0);
            assert_eq!(budget.withdraw(0, now), is_granted, "{now}");
        }
    }
}
