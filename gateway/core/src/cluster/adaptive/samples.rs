//! What one worker has seen of an upstream: how long answers took, and how many were refused.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::cluster::Outcome;

/// Eight buckets for each doubling: within a bucket, times differ by an eighth at the most.
const STEP_BITS: u32 = 3;
const STEPS: usize = 1 << STEP_BITS;
/// Longer times count as this: about 134 s.
const MICROS_MAX: u64 = (1 << 27) - 1;
const BUCKETS: usize = bucket(MICROS_MAX) + 1;
/// The status with which an upstream says that it has too much to do (RFC 9110 section 15.6.4).
const UNAVAILABLE: u16 = 503;

/// The answers of one upstream on one worker, since it began.
///
/// Its counts have one writer, that worker: plain loads and stores, no read-modify-write. They
/// wrap around; who reads them looks at differences.
#[derive(Debug)]
pub(in crate::cluster) struct Samples {
    buckets: [AtomicU32; BUCKETS],
    pushbacks: AtomicU32,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU32::default()),
            pushbacks: AtomicU32::default(),
        }
    }
}

impl Samples {
    /// Takes in how a try ended, and how long it took to its answer's head.
    ///
    /// An error that came at once says nothing of load, so only answers below 500 are timed; 503
    /// and silence are the upstream's ways to say that there is too much of it.
    pub(in crate::cluster) fn observe(&self, outcome: Outcome, took: Duration) {
        match outcome {
            Outcome::Answered { status: ..500 } => {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                increment(&self.buckets[bucket(micros.min(MICROS_MAX))]);
            }
            Outcome::Answered {
                status: UNAVAILABLE,
            }
            | Outcome::TimedOut => increment(&self.pushbacks),
            Outcome::Answered { .. }
            | Outcome::ConnectFailed
            | Outcome::Broken
            | Outcome::Invalid => {}
        }
    }
}

fn increment(count: &AtomicU32) {
    let next = count.load(Ordering::Relaxed).wrapping_add(1);
    count.store(next, Ordering::Relaxed);
}

/// The bucket of a time in microseconds, [`MICROS_MAX`] at the most.
const fn bucket(micros: u64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "27 bits at the most, by the bound on times"
    )]
    let micros = micros as usize;
    if micros < STEPS {
        return micros;
    }
    let doublings = micros.ilog2() - STEP_BITS;
    let step = (micros >> doublings) & (STEPS - 1);
    (doublings as usize + 1) * STEPS + step
}

/// The shortest time of a bucket, in microseconds.
#[expect(clippy::cast_precision_loss, reason = "27 bits fit")]
fn begin(bucket: usize) -> f64 {
    if bucket < STEPS {
        return bucket as f64;
    }
    let (doublings, step) = (bucket / STEPS - 1, bucket % STEPS);
    ((STEPS + step) << doublings) as f64
}

/// Sums over all workers, at one moment or between two.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    buckets: [u32; BUCKETS],
    pub(super) pushbacks: u32,
    pub(super) shed: u64,
}

impl Sums {
    pub(super) fn zero() -> Self {
        Self {
            buckets: [0; BUCKETS],
            pushbacks: 0,
            shed: 0,
        }
    }

    pub(super) fn add(&mut self, samples: &Samples, shed: u64) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&samples.buckets) {
            *sum = sum.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        let pushbacks = samples.pushbacks.load(Ordering::Relaxed);
        self.pushbacks = self.pushbacks.wrapping_add(pushbacks);
        self.shed += shed;
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        let mut differences = buckets.map(|(now, then)| now.wrapping_sub(*then));
        Self {
            buckets: std::array::from_fn(|_| differences.next().unwrap_or_default()),
            pushbacks: self.pushbacks.wrapping_sub(earlier.pushbacks),
            shed: self.shed - earlier.shed,
        }
    }

    pub(super) fn answers(&self) -> u32 {
        self.buckets.iter().sum()
    }

    /// The time that half of the answers took, in microseconds, between the bounds of its bucket
    /// where the count puts it; `None` where there were none.
    pub(super) fn median_micros(&self) -> Option<f64> {
        let half = f64::from(self.answers()) / 2.0;
        let mut below = 0.0;
        for (bucket, &count) in self.buckets.iter().enumerate() {
            let count = f64::from(count);
            if count > 0.0 && below + count >= half {
                let (from, to) = (begin(bucket), begin(bucket + 1));
                return Some((from + (to - from) * (half - below) / count).max(1.0));
            }
            below += count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: Outcome = Outcome::Answered { status: 200 };

    fn median(micros: &[u64]) -> Option<f64> {
        let samples = Samples::default();
        for &micros in micros {
            samples.observe(OK, Duration::from_micros(micros));
        }
        let mut sums = Sums::zero();
        sums.add(&samples, 0);
        sums.median_micros()
    }

    #[test]
    fn each_time_lies_within_the_bounds_of_its_bucket() {
        for micros in (0..40).map(|shift| 3_u64 << shift).chain(0..5_000) {
            #[expect(clippy::cast_precision_loss, reason = "times of a test are short")]
            let time = micros.min(MICROS_MAX) as f64;
            let bucket = bucket(micros.min(MICROS_MAX));
            assert!(begin(bucket) <= time, "{micros}");
            assert!(time < begin(bucket + 1), "{micros}");
            assert!(begin(bucket + 1) <= (begin(bucket) * 1.125).max(begin(bucket) + 1.0));
        }
    }

    #[test]
    fn the_median_is_off_by_a_sixteenth_at_the_most_and_a_few_slow_answers_do_not_move_it() {
        assert_eq!(median(&[]), None);
        let mut times = vec![20_000; 60];
        times.extend([5_000_000; 40]);
        for (times, expected) in [
            (&times[..], 20_000.0),
            (&[1_000, 2_000, 3_000], 2_000.0),
            (&[u64::MAX], 134_217_727.0),
        ] {
            let got = median(times).unwrap();
            assert!((got / expected - 1.0).abs() < 0.0626, "{expected}: {got}");
        }
    }

    #[test]
    fn what_says_nothing_of_load_is_not_counted() {
        for (outcome, answers, pushbacks) in [
            (OK, 1, 0),
            (Outcome::Answered { status: 429 }, 1, 0),
            (Outcome::Answered { status: 500 }, 0, 0),
            (Outcome::Answered { status: 503 }, 0, 1),
            (Outcome::TimedOut, 0, 1),
            (Outcome::ConnectFailed, 0, 0),
            (Outcome::Broken, 0, 0),
            (Outcome::Invalid, 0, 0),
        ] {
            let samples = Samples::default();
            samples.observe(outcome, Duration::from_millis(1));
            let mut sums = Sums::zero();
            sums.add(&samples, 0);
            assert_eq!(
                (sums.answers(), sums.pushbacks),
                (answers, pushbacks),
                "{outcome:?}"
            );
        }
    }
}
