//! How busy and how fast an endpoint is: atomics, because balancing wants to know the load of all
//! workers.
//!
//! The estimate is the peak EWMA of Finagle (`com.twitter.finagle.loadbalancer.PeakEwma`), which
//! linkerd uses too: an exponentially weighted moving average over time, with two properties of
//! its own. A slower answer than expected replaces the estimate at once, so that trouble is seen
//! with its first sign; faster ones lower it as time passes. And an endpoint of which nothing is
//! known gets one request at a time until it has answered.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::Outcome;
use crate::words::time::Millis;

/// Time in which what was known loses all but 1/e of its weight: 10 s, Finagle's default.
const DECAY_TICKS: f32 = 10_000.0 / 16.0;
/// After this long without an answer an estimate is none, and one request goes there to see: what
/// failed a moment ago must not go unused until its penalty has decayed by itself.
const STALE_TICKS: u32 = 10_000 >> TICK_BITS;
/// Times are kept in ticks of 16 ms, of which 32 bits last for two years.
const TICK_BITS: u32 = 4;
/// The estimate after a first request that failed at once.
const FAILURE_SECONDS_MIN: f32 = 0.01;
/// No estimate is worse, however many failures there were.
const SECONDS_MAX: f32 = 60.0;
/// The cost of an endpoint of which nothing is known and that has a request already: more than
/// that of any that is known, with 10,000 requests under way.
const UNKNOWN_COST: f64 = SECONDS_MAX as f64 * 10_000.0;

/// The load of one endpoint, from all workers.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicU32,
    /// Seconds as the bits of an `f32` in the high half, the tick of the last report in the low
    /// one: a pair that is read and written whole. 0 seconds mean that nothing is known.
    ///
    /// Written without a loop: of two reports at the same moment one may be lost.
    estimate: AtomicU64,
}

impl Load {
    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long an answer's head is expected to take; `None` when nothing is known, or nothing
    /// recent.
    #[must_use]
    pub fn expected(&self, now: Millis) -> Option<Duration> {
        let seconds = self.expected_seconds(now);
        (seconds > 0.0).then(|| Duration::from_secs_f32(seconds))
    }

    /// What one more request would cost: expected seconds, for each request that is under way and
    /// this one. `scale` is what one request under way counts for an endpoint of this weight.
    pub(super) fn cost(&self, now: Millis, scale: f64) -> f64 {
        let in_flight = f64::from(self.in_flight()) * scale;
        let seconds = self.expected_seconds(now);
        if seconds == 0.0 && in_flight > 0.0 {
            return UNKNOWN_COST + in_flight;
        }
        f64::from(seconds) * (in_flight + 1.0)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes in how a try ended and how long it took.
    ///
    /// A failure never counts as fast: it multiplies what was expected, by more the less it can
    /// be the request's own fault. One `500` halves an endpoint's attraction for some seconds;
    /// ten in a row end it.
    pub(super) fn report(&self, outcome: Outcome, took: Duration, now: Millis) {
        let (expected, elapsed) = self.estimate(now);
        let took = took.as_secs_f32();
        let next = match failure_factor(outcome) {
            Some(factor) => (expected * factor).max(took).max(FAILURE_SECONDS_MIN),
            None if took >= expected => took,
            None => took + (expected - took) * weight(elapsed),
        };
        self.store(next, now);
    }

    /// Takes in a try that was given up after some time: only what is longer than expected says
    /// anything.
    pub(super) fn report_at_least(&self, took: Duration, now: Millis) {
        let took = took.as_secs_f32();
        if took > self.expected_seconds(now) {
            self.store(took, now);
        }
    }

    /// A probe was answered: what made the endpoint look bad is over, and with the estimate of
    /// then it would get nothing to show it by.
    pub(super) fn begin_anew(&self, took: Duration, now: Millis) {
        self.store(took.as_secs_f32(), now);
    }

    fn store(&self, seconds: f32, now: Millis) {
        // Above 0, which would mean that nothing is known.
        let seconds = seconds.clamp(f32::MIN_POSITIVE, SECONDS_MAX);
        let packed = (u64::from(seconds.to_bits()) << 32) | u64::from(ticks(now));
        self.estimate.store(packed, Ordering::Relaxed);
    }

    fn expected_seconds(&self, now: Millis) -> f32 {
        let (seconds, elapsed) = self.estimate(now);
        seconds * weight(elapsed)
    }

    /// The seconds that were last written, and the ticks since.
    fn estimate(&self, now: Millis) -> (f32, u32) {
        let packed = self.estimate.load(Ordering::Relaxed);
        let elapsed = ticks(now).wrapping_sub(low(packed));
        // A request that began before the last report looks at it from the past.
        let elapsed = if elapsed > u32::MAX / 2 { 0 } else { elapsed };
        (f32::from_bits(low(packed >> 32)), elapsed)
    }
}

/// What is left of the weight of an estimate: e to the power of -elapsed/decay.
fn weight(elapsed_ticks: u32) -> f32 {
    match u16::try_from(elapsed_ticks) {
        Ok(0) => 1.0,
        Ok(elapsed) if elapsed_ticks <= STALE_TICKS => (-f32::from(elapsed) / DECAY_TICKS).exp(),
        _ => 0.0,
    }
}

fn ticks(at: Millis) -> u32 {
    low(at >> TICK_BITS)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(pair: u64) -> u32 {
    pair as u32
}

/// By how much a failure makes an endpoint look slower.
fn failure_factor(outcome: Outcome) -> Option<f32> {
    match outcome {
        Outcome::Answered { status: 500.. } => Some(2.0),
        Outcome::Answered { .. } => None,
        Outcome::ConnectFailed | Outcome::Broken | Outcome::TimedOut | Outcome::Invalid => {
            Some(8.0)
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_precision_loss,
    reason = "the numbers of a test are small"
)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome::Answered { status: 200 };
    const ERROR: Outcome = Outcome::Answered { status: 500 };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn an_answered_probe_wipes_out_what_was_expected() {
        let load = seen(&[
            (0, Outcome::ConnectFailed, 1),
            (10, Outcome::ConnectFailed, 1),
        ]);
        assert!(load.expected(20).unwrap() > ms(50));
        load.begin_anew(ms(2), 20);
        assert_eq!(load.expected(20).unwrap().as_millis(), 2);
    }

    /// The end of a try: when, how, and after how many milliseconds.
    type Report = (Millis, Outcome, u64);

    /// A load that saw these answers.
    fn seen(reports: &[Report]) -> Load {
        let load = Load::default();
        for &(now, outcome, took) in reports {
            load.report(outcome, ms(took), now);
        }
        load
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_as_time_passes() {
        let table: &[(&[Report], Millis, f32)] = &[
            (&[(0, OK, 10)], 0, 10.0),
            (&[(0, OK, 10), (0, OK, 100)], 0, 100.0),
            (&[(0, OK, 100), (0, OK, 10)], 0, 100.0),
            // After the time of decay 1/e of the difference is left.
            (&[(0, OK, 110), (10_000, OK, 10)], 10_000, 10.0 + 36.8),
            // Looking decays too.
            (&[(0, OK, 100)], 10_000, 36.8),
            (&[(0, OK, 100)], 5_000, 60.65),
            // Looked at from the past, it is as it was.
            (&[(5_000, OK, 100)], 0, 100.0),
            // A stale one has no weight against a new answer.
            (&[(0, OK, 100), (60_000, OK, 10)], 60_000, 10.0),
        ];
        for (reports, now, expected) in table {
            let got = seen(reports).expected(*now).unwrap().as_secs_f32() * 1000.0;
            assert!(
                (got - expected).abs() < expected / 100.0,
                "{reports:?} {now}: {got}"
            );
        }
    }

    #[test]
    fn steps_of_a_millisecond_decay_as_much_as_one_great_step() {
        let load = seen(&[(0, OK, 110)]);
        for now in 0..=10_000 {
            load.report(OK, ms(10), now);
        }
        let got = load.expected(10_000).unwrap().as_secs_f32() * 1000.0;
        assert!((46.0..48.0).contains(&got), "{got}");
    }

    #[test]
    fn a_failure_never_looks_fast() {
        let table = [
            (ERROR, 20),
            (Outcome::ConnectFailed, 80),
            (Outcome::Broken, 80),
            (Outcome::TimedOut, 80),
            (Outcome::Invalid, 80),
        ];
        for (outcome, expected) in table {
            let load = seen(&[(0, OK, 10), (0, outcome, 0)]);
            let got = load.expected(0).unwrap().as_secs_f32() * 1000.0;
            assert!((got - expected as f32).abs() < 0.1, "{outcome:?}: {got}");
            let new = seen(&[(0, outcome, 0)]);
            assert_eq!(new.expected(0), Some(ms(10)), "{outcome:?}");
        }
        let load = seen(&[(0, ERROR, 0); 100]);
        assert_eq!(load.expected(0), Some(ms(60_000)), "the bound");
    }

    #[test]
    fn a_try_that_was_outrun_makes_an_endpoint_look_slower_but_never_faster() {
        for (took, expected) in [(5, 10), (10, 10), (200, 200)] {
            let load = seen(&[(0, OK, 10)]);
            load.report_at_least(ms(took), 0);
            let got = load.expected(0).unwrap();
            assert_eq!(got.as_millis(), expected, "{took}");
        }
    }

    #[test]
    fn of_the_unknown_there_is_one_request_at_a_time() {
        for (load, now) in [(Load::default(), 0), (seen(&[(0, OK, 10)]), 31_000)] {
            assert!(load.expected(now).is_none());
            assert!(load.cost(now, 1.0) < 0.001);
            load.begin();
            let busy = seen(&[(now, OK, 60_000)]);
            (0..9_999).for_each(|_| busy.begin());
            assert!(load.cost(now, 1.0) >= busy.cost(now, 1.0));
            load.report(OK, ms(10), now);
            assert!(load.cost(now, 1.0) < 0.1);
        }
    }

    #[test]
    fn the_clock_may_wrap_around() {
        let wrap = u64::from(u32::MAX) << TICK_BITS;
        let load = seen(&[(wrap, OK, 100)]);
        let got = load.expected(wrap + 10_000).unwrap().as_secs_f32() * 1000.0;
        assert!((36.0..37.5).contains(&got), "{got}");
    }
}
