//! What was counted in the window: answers, latencies, failures.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::connection::{Answer, Failure};

/// The longest latency told apart from longer ones; beyond it they count as this long.
const MAX_LATENCY_US: u64 = 3_600_000_000;

/// The longest window, in seconds.
const MAX_SECONDS: usize = 3_600;

/// Latencies are kept to three significant digits.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Seconds of the window are told apart by where they stand in a cycle of so many, the first of
/// which is number 0: what is done to a server in one of them shows beside the others, at the
/// price of two more histograms.
pub(crate) const CYCLE_SECONDS: usize = 3;

/// Counts of one window. Tallies of several threads merge into one.
#[derive(Debug)]
pub(crate) struct Tally {
    /// By the second of its cycle in which a request was due.
    latency_us: [Histogram<u64>; CYCLE_SECONDS],
    received_bytes: u64,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
    overdue: u64,
    seconds: Vec<Second>,
}

/// What one second of the window brought, so that results can be compared with their noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Second {
    pub(crate) answered: u64,
    /// All of their latencies added up.
    pub(crate) latency_us: u64,
}

/// Latency percentiles in microseconds, with the whole histogram behind them.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
    pub(crate) mean_us: f64,
    /// `[microseconds, count]` for every value that occurred, ascending, so
    /// that results of several runs can be merged or drawn later.
    pub(crate) histogram: Vec<(u64, u64)>,
}

impl Second {
    fn add(&mut self, answered: u64, latency_us: u64) {
        self.answered += answered;
        self.latency_us += latency_us;
    }
}

impl Tally {
    /// An empty tally.
    pub(crate) fn new() -> Self {
        Self {
            latency_us: std::array::from_fn(|_| new_histogram()),
            received_bytes: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            overdue: 0,
            seconds: Vec::new(),
        }
    }

    /// Counts an answer that came so long after the window opened.
    pub(crate) fn record(&mut self, answer: &Answer, at: Duration, latency: Duration) {
        let latency_us = self.record_latency(at.saturating_sub(latency), latency);
        self.second(at.as_secs()).add(1, latency_us);
        self.received_bytes += answer.received_bytes;
        *self.statuses.entry(answer.status).or_default() += 1;
    }

    /// Counts a latency in the second in which its request was due; gives it in microseconds.
    fn record_latency(&mut self, due: Duration, latency: Duration) -> u64 {
        let latency_us = u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US);
        let histogram = &mut self.latency_us[second_of_cycle(due)];
        histogram.saturating_record(latency_us);
        latency_us
    }

    /// The second of this number; windows have no more than 3,600, and the last one takes what
    /// is above.
    fn second(&mut self, number: u64) -> &mut Second {
        let index = usize::try_from(number).map_or(MAX_SECONDS, |it| it.min(MAX_SECONDS));
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// Counts a request that was due so long after the window opened, and has waited since
    /// without an answer.
    pub(crate) fn record_overdue(&mut self, due: Duration, waited: Duration) {
        self.record_latency(due, waited);
        self.overdue += 1;
    }

    /// Counts a failure.
    pub(crate) fn record_failure(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Adds another tally to this one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (own, other) in self.latency_us.iter_mut().zip(&other.latency_us) {
            own.add(other).expect("every tally has the same bounds");
        }
        self.received_bytes += other.received_bytes;
        self.overdue += other.overdue;
        for (number, second) in (0..).zip(&other.seconds) {
            self.second(number).add(second.answered, second.latency_us);
        }
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }

    /// Requests answered, whatever the status.
    pub(crate) fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests answered with a status below 400.
    pub(crate) fn succeeded(&self) -> u64 {
        self.statuses.range(..400).map(|(_, count)| count).sum()
    }

    /// Bytes received, heads included.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Requests that were due by a fixed rate and had no answer at the end. They are in the
    /// latencies with the time that they had waited by then, and not in the answers.
    pub(crate) fn overdue(&self) -> u64 {
        self.overdue
    }

    /// The seconds of the window, the last one perhaps shorter.
    pub(crate) fn seconds(&self) -> &[Second] {
        &self.seconds
    }

    /// Answers by status code.
    pub(crate) fn statuses(&self) -> &BTreeMap<u16, u64> {
        &self.statuses
    }

    /// Failures by kind.
    pub(crate) fn failures(&self) -> &BTreeMap<Failure, u64> {
        &self.failures
    }

    /// The latencies' percentiles; all zero when nothing was answered.
    pub(crate) fn latency(&self) -> Latency {
        let mut all = new_histogram();
        for histogram in &self.latency_us {
            all.add(histogram).expect("every tally has the same bounds");
        }
        let percentile = |quantile| all.value_at_quantile(quantile);
        Latency {
            p50_us: percentile(0.5),
            p90_us: percentile(0.9),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
            max_us: all.max(),
            mean_us: all.mean(),
            histogram: all
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }

    /// The 99th percentile of the latencies of requests that were due in this second of a cycle,
    /// in microseconds; 0 when there were none.
    pub(crate) fn p99_us_of(&self, second_of_cycle: usize) -> u64 {
        let histogram = self.latency_us.get(second_of_cycle);
        histogram.map_or(0, |it| it.value_at_quantile(0.99))
    }
}

fn second_of_cycle(due: Duration) -> usize {
    let cycle = CYCLE_SECONDS as u64;
    usize::try_from(due.as_secs() % cycle).unwrap_or_default()
}

fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS)
        .expect("the bounds are constants that the histogram accepts")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Answer {
        Answer {
            status,
            body_bytes: 10,
            received_bytes: 100,
            keep_alive: true,
        }
    }

    #[test]
    fn histogram_in_json_holds_every_answer_once() {
        let mut tally = Tally::new();
        for latency_us in [5, 5, 100, 1_000] {
            tally.record(
                &answer(200),
                Duration::ZERO,
                Duration::from_micros(latency_us),
            );
        }
        let json = serde_json::to_value(tally.latency()).unwrap();
        assert_eq!(
            json["histogram"],
            serde_json::json!([[5, 2], [100, 1], [1_000, 1]])
        );
        assert_eq!(json["p50_us"], 5);
        assert_eq!(json["max_us"], 1_000);
    }

    #[test]
    fn merging_loses_nothing() {
        let mut first = Tally::new();
        first.record(&answer(200), Duration::ZERO, Duration::from_micros(10));
        first.record_failure(Failure::Timeout);
        let mut second = Tally::new();
        second.record(
            &answer(503),
            Duration::from_secs(1),
            Duration::from_hours(2),
        );
        second.record_failure(Failure::Timeout);
        first.merge(&second);
        assert_eq!((first.answered(), first.succeeded()), (2, 1));
        let answered = first.seconds().iter().map(|second| second.answered);
        assert_eq!(answered.collect::<Vec<_>>(), [1, 1]);
        second.record_overdue(Duration::ZERO, Duration::from_secs(1));
        first.merge(&second);
        assert_eq!((first.answered(), first.overdue()), (3, 1));
        assert_eq!(first.received_bytes(), 300);
        assert_eq!(first.failures().get(&Failure::Timeout), Some(&3));
        assert!(first.latency().max_us >= MAX_LATENCY_US);
    }

    #[test]
    fn latency_counts_in_the_second_in_which_its_request_was_due() {
        let mut tally = Tally::new();
        for (at_ms, latency_ms) in [(500, 1), (1_500, 7), (2_003, 5), (3_900, 2_000)] {
            let [at, latency] = [at_ms, latency_ms].map(Duration::from_millis);
            tally.record(&answer(200), at, latency);
        }
        tally.record_overdue(Duration::from_secs(5), Duration::from_millis(900));
        let of = [0, 1, 2].map(|second| tally.p99_us_of(second) / 1_000);
        assert_eq!(of, [1, 2_000, 900]);
        assert_eq!(tally.latency().p50_us / 1_000, 7);
    }

    #[test]
    fn nothing_answered_is_all_zero() {
        let latency = Tally::new().latency();
        assert_eq!((latency.p50_us, latency.max_us), (0, 0));
        assert!(latency.histogram.is_empty());
    }
}
