//! Counters of one worker: plain cells that only their worker writes, summed when scraped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::cluster::aperture::Aperture;
use gateway_core::cluster::balance::{Origin, Pick};
use gateway_core::cluster::{Limits, RetryBudget, Usage};
use gateway_core::words::reason::Reason;

use super::exemplars::Exemplars;
use super::refusals::Refusals;

/// Upper bounds of the duration buckets in microseconds; the last bucket has none.
pub(crate) const BUCKETS_MICROS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Buckets of a histogram.
pub(crate) const BUCKETS: usize = BUCKETS_MICROS.len() + 1;

/// The bucket that counts this.
pub(super) fn bucket_of(micros: u64) -> usize {
    BUCKETS_MICROS.partition_point(|&bound| bound < micros)
}

/// `1xx` to `5xx`, at index 0 to 4.
pub(crate) const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A counter with one writer: a plain load and store, no read-modify-write.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        let value = self.0.load(Ordering::Relaxed).wrapping_add(count);
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: u64) {
        self.add(count.wrapping_neg());
    }

    /// For what is measured rather than counted.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram of durations.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [Counter; BUCKETS],
    sum_micros: Counter,
    pub(crate) exemplars: Exemplars,
}

impl Durations {
    pub(crate) fn observe(&self, duration: Duration) {
        let micros = crate::clock::micros(duration);
        self.buckets[bucket_of(micros)].add(1);
        self.sum_micros.add(micros);
    }

    /// Adds these counts to a sum over workers.
    pub(crate) fn sum_into(&self, sum: &mut DurationsSum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.get();
        }
        sum.micros += self.sum_micros.get();
    }
}

/// The counts of all workers together.
#[derive(Debug, Default)]
pub(crate) struct DurationsSum {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) micros: u64,
}

/// Answers by class of status, of one route and one of its upstreams.
///
/// Aligned, as all counters that are allocated one by one, so that no two workers write to one
/// line of the processor's cache, or to a pair that it fetches together.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct StatusCounts {
    pub(crate) classes: [Counter; STATUS_CLASSES.len()],
}

/// What else is counted of one route.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct RouteCounts {
    pub(crate) duration: Durations,
    pub(crate) reasons: [Counter; Reason::ALL.len()],
}

impl Default for RouteCounts {
    fn default() -> Self {
        Self {
            duration: Durations::default(),
            reasons: std::array::from_fn(|_| Counter::default()),
        }
    }
}

/// One route of one plan: its counters, which outlive the plan, and what does not.
#[derive(Debug)]
pub(crate) struct RouteCells {
    /// For each backend; the last slot is for answers of the gateway's own.
    pub(crate) requests: Vec<Arc<StatusCounts>>,
    pub(crate) counts: Arc<RouteCounts>,
}

impl RouteCells {
    pub(super) fn new(requests: Vec<Arc<StatusCounts>>, counts: Arc<RouteCounts>) -> Self {
        Self { requests, counts }
    }
}

/// Counters of one upstream, and what the worker decides by them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct UpstreamCells {
    pub(crate) duration: Durations,
    pub(crate) tries: Counter,
    pub(crate) retries: Counter,
    /// Retries that the budget did not have.
    pub(crate) retries_denied: Counter,
    /// Answers that broke off before any of them was sent on.
    pub(crate) held_answers_lost: Counter,
    pub(crate) budget: RetryBudget,
    pub(crate) usage: Usage,
    pub(crate) aperture: Aperture,
    pub(crate) connections_opened: Counter,
    pub(crate) connect_failures: Counter,
    pub(crate) picks: PickCells,
    /// By the discriminant of the outcome.
    pub(crate) hedges: [Counter; HedgeOutcome::ALL.len()],
}

/// What became of a second try while the first was slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HedgeOutcome {
    /// Its answer came first.
    Won,
    /// The first try's answer came first.
    Lost,
    /// Neither had a good answer.
    Failed,
    /// It was not made: no budget, no room within the limits, or no other endpoint.
    Denied,
}

impl HedgeOutcome {
    pub(crate) const ALL: [Self; 4] = [Self::Won, Self::Lost, Self::Failed, Self::Denied];

    /// The word of metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Failed => "failed",
            Self::Denied => "denied",
        }
    }
}

/// From where endpoints were chosen.
#[derive(Debug, Default)]
pub(crate) struct PickCells {
    /// By the discriminant of the origin.
    pub(crate) origins: [Counter; Origin::ALL.len()],
    pub(crate) subset_fallbacks: Counter,
}

impl PickCells {
    pub(crate) fn count(&self, pick: &Pick) {
        self.origins[pick.origin as usize].add(1);
        if pick.is_subset_fallback {
            self.subset_fallbacks.add(1);
        }
    }
}

impl UpstreamCells {
    pub(super) fn within(share: Limits) -> Self {
        Self {
            usage: Usage::within(share),
            ..Self::default()
        }
    }
}

/// All counters of one worker, by the indices of one plan.
#[derive(Debug)]
pub(crate) struct Cells {
    /// One for each route, and a last one for requests that matched none.
    pub(crate) routes: Vec<RouteCells>,
    pub(crate) upstreams: Vec<Arc<UpstreamCells>>,
}

impl Cells {
    /// The cells of a route, or of the requests that matched none.
    pub(crate) fn route(&self, index: Option<usize>) -> &RouteCells {
        &self.routes[index.unwrap_or(self.routes.len() - 1)]
    }
}

/// Counters of one worker that no plan changes.
#[derive(Debug, Default)]
pub(crate) struct WorkerCells {
    pub(crate) connections: Counter,
    pub(crate) connections_closed: Counter,
    pub(crate) connections_resting: Counter,
    pub(crate) requests_in_flight: Counter,
    pub(crate) tokens_cached: Counter,
    pub(crate) connections_idle_upstream: Counter,
    /// Requests that got no access line, by the share or the route.
    pub(crate) access_lines_left_out: Counter,
    pub(crate) refusals: Refusals,
    /// The kernel's number of the worker's thread; 0 before it runs, and where threads have none.
    pub(crate) thread: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_bucket_whose_bound_includes_them() {
        let durations = Durations::default();
        for micros in [0, 500, 501, 10_000_000, 10_000_001] {
            durations.observe(Duration::from_micros(micros));
        }
        let mut sum = DurationsSum::default();
        durations.sum_into(&mut sum);
        assert_eq!(sum.buckets[0], 2);
        assert_eq!(sum.buckets[1], 1);
        assert_eq!(sum.buckets[13], 1);
        assert_eq!(sum.buckets[14], 1);
        assert_eq!(sum.micros, 20_001_002);
    }
}
