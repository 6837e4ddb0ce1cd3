//! A limit on concurrent requests that finds itself, from how long answers take.
//!
//! A gradient, as in Netflix's concurrency-limits ("Performance Under Load", 2018) and Envoy's
//! adaptive concurrency filter: the limit is multiplied by how much faster answers come when there
//! is no queue, and gets a little headroom, the square root of itself, in which a small queue can
//! show that there is more to do than the upstream can take:
//!
//! ```text
//! limit = limit × clamp((1 + tolerance) × base / median, ½, 1 + tolerance) + √limit
//! ```
//!
//! AIMD on a threshold (TCP, Vector) was the other choice. It needs a latency that somebody has to
//! know and to keep true, and saws between too much and too little, while in overload this
//! settles at 1.25 times what the upstream can do at a time, plus the headroom. One thing of
//! AIMD's stays: 503 and silence from a tenth of the requests take a tenth off, whatever the
//! latency.
//!
//! What is hard is `base`, the latency without a queue. Netflix averages, which drifts upwards in
//! a long overload; Envoy falls back to three requests once a minute, which costs an upstream of
//! slow answers seconds of its work, overloaded or not. Here:
//!
//! - while the limit is not in use, there is no queue: the base follows the median, slowly;
//! - whenever the limit has come down to half of what it was and the median has not, concurrency is
//!   not what makes the upstream slow: the base is what the median is now. So neither a base that
//!   was measured too low nor an upstream that has become slower starves anybody for long;
//! - while requests are shed, once in 30 s of civil time, the limit is halved for a moment until
//!   that makes nothing faster or the base is confirmed (as `PROBE_RTT` of BBR, Cardwell et al.,
//!   ACM Queue 2016). All gateways do so together, so that none measures the queue of another.
//!
//! Workers count for themselves ([`Samples`]); one thread beside them sums up, decides, and tells
//! each its share. A request costs one increment and reads no clock for it.

mod samples;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(super) use samples::Samples;

use samples::Sums;

use super::{PriorityShares, Usage};
use crate::words::time::{Millis, UnixSeconds};

/// A decision is made no sooner than this after the last, nor before answers to what it did.
const WINDOW_MS_MIN: Millis = 100;
/// Twice the median is waited for, this at the most.
const WINDOW_MS_FOR_MEDIAN_MAX: Millis = 2_000;
/// With few answers a decision waits so long for more.
const WINDOW_MS_MAX: Millis = 5_000;
/// Answers that a median is taken of, unless the time is over.
const ANSWERS_MIN: u32 = 20;
/// Seconds from one look for the base to the next, in overload.
const PROBE_SECONDS: u64 = 30;
/// The least that a limit keeps of itself in one step.
const GRADIENT_MIN: f64 = 0.5;
/// A median that is lower by no more than this share may be so by chance.
const NOISE: f64 = 0.1;
/// A base that was sure is confirmed by a median that differs by no more than this share.
const DRIFT: f64 = 0.25;
/// A median that is so many times another, though there was less to do, is of another upstream.
const CHANGE: f64 = 2.0;
/// What is left of a limit when an upstream pushes back: Netflix's default for AIMD.
const BACKOFF: f64 = 0.9;
/// One pushback in so many answers is too much.
const PUSHBACKS_ONE_IN: u64 = 10;
/// By how much of the difference an unused limit's base follows a lower, and a higher, median.
const FOLLOW_DOWN: f64 = 0.2;
const FOLLOW_UP: f64 = 0.05;

/// How an adaptive limit may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveRules {
    /// Requests that are always let in, 1 and more. Over all workers, as all counts here.
    pub min: u32,
    /// Requests that are never exceeded, `min` and more.
    pub max: u32,
    /// Requests at first, from `min` to `max`.
    pub initial: u32,
    /// How much longer than without a queue answers may take before the limit falls, in percent.
    pub tolerance_percent: u32,
}

impl Default for AdaptiveRules {
    fn default() -> Self {
        Self {
            min: 3,
            max: 1_000,
            initial: 20,
            tolerance_percent: 25,
        }
    }
}

/// The adaptive limit of one upstream, for all workers.
#[derive(Debug)]
pub struct AdaptiveLimit {
    rules: AdaptiveRules,
    shares: PriorityShares,
    workers: u32,
    total: AtomicU32,
    base_micros: AtomicU64,
    /// Only the thread that ticks comes here, so the lock is never waited for.
    gradient: Mutex<Gradient>,
}

impl AdaptiveLimit {
    /// A limit for so many workers.
    #[must_use]
    pub fn new(rules: AdaptiveRules, shares: PriorityShares, workers: usize) -> Self {
        Self {
            rules,
            shares,
            workers: u32::try_from(workers).unwrap_or(u32::MAX).max(1),
            total: AtomicU32::new(rules.initial),
            base_micros: AtomicU64::default(),
            gradient: Mutex::new(Gradient::new(rules)),
        }
    }

    /// Whether one made of these would be the same, but for what it has found.
    #[must_use]
    pub fn goes_by(&self, rules: AdaptiveRules, shares: PriorityShares) -> bool {
        self.rules == rules && self.shares == shares
    }

    /// Has the limit hold for what workers let in: before the first request, and again when a
    /// share was [resized](Usage::resize).
    pub fn apply<'u>(&self, usages: impl IntoIterator<Item = &'u Usage>) {
        let share = self.limit().div_ceil(self.workers);
        for usage in usages {
            usage.narrow(share, self.shares);
        }
    }

    /// Looks at what all workers have seen, and decides if it is time to; to be called some times
    /// in a tenth of a second, by one thread.
    pub fn tick<'u>(
        &self,
        usages: impl IntoIterator<Item = &'u Usage> + Clone,
        now: Millis,
        civil: UnixSeconds,
    ) {
        let mut sums = Sums::zero();
        let mut in_flight = 0;
        for usage in usages.clone() {
            in_flight += usage.requests();
            if let Some(samples) = usage.samples() {
                sums.add(samples, usage.shed_in_all());
            }
        }
        let mut gradient = self.gradient.lock().unwrap_or_else(PoisonError::into_inner);
        if gradient.look(&sums, in_flight, now, civil / PROBE_SECONDS) {
            let limit = whole(gradient.limit).max(1);
            self.total.store(limit, Ordering::Relaxed);
            let base = u64::from(whole(gradient.base_micros));
            self.base_micros.store(base, Ordering::Relaxed);
            self.apply(usages);
        }
    }

    /// The limit now, over all workers.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.total.load(Ordering::Relaxed)
    }

    /// What an answer is expected to take without a queue; `None` when nothing is known.
    #[must_use]
    pub fn base(&self) -> Option<Duration> {
        let micros = self.base_micros.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros))
    }
}

/// The limit over time: a state machine that is shown sums.
#[derive(Debug)]
struct Gradient {
    rules: AdaptiveRules,
    limit: f64,
    /// The median without a queue; 0 while nothing is known.
    base_micros: f64,
    /// Whether the base was seen where there was no queue.
    is_base_sure: bool,
    /// With what the median is compared when the limit has come down to half.
    mark: Option<Mark>,
    probe: Option<Probe>,
    /// The period of civil time in which the base was last looked for.
    probed_in: Option<u64>,
    /// The last median.
    median_micros: f64,
    window: Window,
}

/// A limit, and the median that was seen with it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    limit: f64,
    median_micros: f64,
}

/// A look for the base: the limit is lower than it was, to see whether answers come faster.
#[derive(Clone, Copy, Debug)]
struct Probe {
    before: Mark,
    /// The median with twice the limit.
    median_micros: f64,
}

/// What has come since the last decision.
#[derive(Debug)]
struct Window {
    /// What comes before this was sent under another limit, and does not count.
    began: Millis,
    sums: Sums,
    in_flight_max: u32,
}

impl Gradient {
    fn new(rules: AdaptiveRules) -> Self {
        Self {
            rules,
            limit: rules.initial.into(),
            base_micros: 0.0,
            is_base_sure: false,
            mark: None,
            probe: None,
            probed_in: None,
            median_micros: 0.0,
            window: Window {
                began: 0,
                sums: Sums::zero(),
                in_flight_max: 0,
            },
        }
    }

    /// Takes in sums since the beginning; whether something was decided.
    fn look(&mut self, sums: &Sums, in_flight: u32, now: Millis, period: u64) -> bool {
        if now < self.window.began {
            self.window.sums.clone_from(sums);
            return false;
        }
        self.window.in_flight_max = self.window.in_flight_max.max(in_flight);
        let elapsed = now - self.window.began;
        if elapsed < self.window_ms() {
            return false;
        }
        let seen = sums.since(&self.window.sums);
        let count = seen.answers().saturating_add(seen.pushbacks);
        if count < ANSWERS_MIN && elapsed < WINDOW_MS_MAX {
            return false;
        }
        self.decide(&seen, period);
        // Answers to what was sent before the limit was halved tell nothing of the half.
        let settling = self.probe.map_or(0, |_| self.twice_median_ms());
        self.window = Window {
            began: now + settling,
            sums: sums.clone(),
            in_flight_max: 0,
        };
        true
    }

    /// Long enough that at least half of the answers are to what was sent since the last
    /// decision.
    fn window_ms(&self) -> Millis {
        self.twice_median_ms().max(WINDOW_MS_MIN)
    }

    fn twice_median_ms(&self) -> Millis {
        (2 * millis(self.median_micros)).min(WINDOW_MS_FOR_MEDIAN_MAX)
    }

    fn decide(&mut self, seen: &Sums, period: u64) {
        let is_in_use = seen.shed > 0 || f64::from(self.window.in_flight_max) * 2.0 >= self.limit;
        let all = u64::from(seen.answers()) + u64::from(seen.pushbacks);
        if is_in_use && seen.pushbacks > 0 && u64::from(seen.pushbacks) * PUSHBACKS_ONE_IN >= all {
            self.probe = None;
            self.mark = None;
            self.set(self.limit * BACKOFF);
            return;
        }
        let Some(median_micros) = seen.median_micros() else {
            return;
        };
        // A queue that is still growing hides what halving it would show.
        let is_rising = is_faster(self.median_micros, median_micros);
        self.median_micros = median_micros;
        if self.base_micros == 0.0 {
            self.base_micros = median_micros;
        }
        if let Some(probe) = self.probe {
            self.go_on_probing(probe, is_in_use);
        } else if !is_in_use {
            self.follow();
        } else if seen.shed > 0
            && !is_rising
            && (!self.is_base_sure || self.probed_in != Some(period))
        {
            self.probed_in = Some(period);
            self.halve(self.here());
        } else {
            self.step();
        }
    }

    /// There is no queue where the limit is not in use.
    fn follow(&mut self) {
        let difference = self.median_micros - self.base_micros;
        let share = if difference < 0.0 {
            FOLLOW_DOWN
        } else {
            FOLLOW_UP
        };
        self.base_micros += difference * share;
        self.is_base_sure = true;
        self.mark = None;
    }

    fn step(&mut self) {
        let here = self.here();
        match self.mark {
            Some(mark) if self.limit > mark.limit / 2.0 && self.limit <= mark.limit => {}
            Some(mark) if self.limit <= mark.limit => {
                if !is_faster(self.median_micros, mark.median_micros) {
                    // Or a queue was still growing then: the next overload is to show which.
                    self.base_micros = self.median_micros;
                    self.is_base_sure = false;
                }
                self.mark = Some(here);
            }
            _ => self.mark = Some(here),
        }
        self.set(self.next_after(here, GRADIENT_MIN));
    }

    fn here(&self) -> Mark {
        Mark {
            limit: self.limit,
            median_micros: self.median_micros,
        }
    }

    /// The limit that follows from what was seen with another one.
    fn next_after(&self, seen: Mark, gradient_min: f64) -> f64 {
        let most = 1.0 + f64::from(self.rules.tolerance_percent) / 100.0;
        let gradient = most * self.base_micros / seen.median_micros;
        seen.limit * gradient.clamp(gradient_min, most) + seen.limit.sqrt()
    }

    /// Halves the limit to see whether answers come faster.
    fn halve(&mut self, before: Mark) {
        self.probe = Some(Probe {
            before,
            median_micros: self.median_micros,
        });
        self.set(self.limit / 2.0);
    }

    fn go_on_probing(&mut self, probe: Probe, is_in_use: bool) {
        if self.median_micros > probe.median_micros * CHANGE {
            // Less to do made it slower, so that it is not what it was: look again.
            self.probe = None;
            self.mark = None;
            self.is_base_sure = false;
            return;
        }
        let is_confirmed =
            self.is_base_sure && (self.median_micros / self.base_micros - 1.0).abs() <= DRIFT;
        let has_queue = is_in_use && is_faster(self.median_micros, probe.median_micros);
        let can_halve = self.limit > f64::from(self.rules.min);
        if has_queue && !is_confirmed && can_halve {
            self.halve(probe.before);
            return;
        }
        self.base_micros = self.median_micros;
        self.is_base_sure = true;
        self.probe = None;
        self.mark = None;
        // What was seen before the probe says at once where the limit belongs.
        let next = self.next_after(probe.before, 0.0);
        self.set(next.min(probe.before.limit));
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(self.rules.min.into(), self.rules.max.into());
    }
}

/// Whether a median is lower than another, by more than chance.
fn is_faster(median: f64, than: f64) -> bool {
    median < than * (1.0 - NOISE)
}

fn millis(micros: f64) -> Millis {
    u64::from(whole(micros / 1000.0))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "limits and times are between 0 and the bounds of their types, where a cast saturates"
)]
fn whole(value: f64) -> u32 {
    value as u32
}
