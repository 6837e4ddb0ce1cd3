//! A queue with some servers, and those who send to it without waiting for answers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::{AdaptiveLimit, AdaptiveRules};
use crate::cluster::{Limits, Outcome, Priority, PriorityShares, Usage};

/// As the shell has it.
const TICK_MICROS: u64 = 50_000;
/// Time after which a try is given up.
const TIMEOUT_MICROS: u64 = 2_000_000;

/// What an upstream can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upstream {
    /// Requests at a time.
    pub(super) servers: u32,
    /// What one takes, on average.
    pub(super) service_ms: f64,
}

impl Upstream {
    /// Requests a second.
    pub(super) fn capacity(self) -> f64 {
        f64::from(self.servers) * 1_000.0 / self.service_ms
    }
}

#[derive(Clone, Copy, Debug)]
struct Job {
    worker: usize,
    priority: Priority,
    began: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Arrival,
    Tick,
    Done(Job),
    TimedOut(Job),
}

/// What was answered in some time.
#[derive(Debug, Default)]
pub(super) struct Served {
    by_priority: [u64; Priority::ALL.len()],
    micros: Vec<u64>,
}

impl Served {
    pub(super) fn count(&self) -> u64 {
        self.by_priority.iter().sum()
    }

    pub(super) fn of(&self, priority: Priority) -> u64 {
        self.by_priority[priority as usize]
    }

    pub(super) fn within_ms(&self, most: u64) -> u64 {
        let count = self.micros.iter().filter(|&&it| it <= most * 1_000).count();
        count as u64
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list of a test"
    )]
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let at = (sorted.len() as f64 * quantile) as usize;
        sorted.get(at).map_or(0.0, |&it| it as f64 / 1_000.0)
    }
}

/// The simulated world.
pub(super) struct World {
    random: Rng,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    kinds: Vec<Event>,
    upstream: Upstream,
    is_hanging: bool,
    busy: u32,
    queue: VecDeque<Job>,
    /// Requests a second.
    rate: f64,
    mix: &'static [(Priority, f64)],
    limit: Option<Arc<AdaptiveLimit>>,
    workers: Vec<Usage>,
    served: Served,
}

impl World {
    pub(super) fn new(
        seed: u64,
        upstream: Upstream,
        load: f64,
        mix: &'static [(Priority, f64)],
        workers: usize,
    ) -> Self {
        let rules = AdaptiveRules::default();
        Self::with_rules(seed, rules, upstream, load, mix, workers)
    }

    pub(super) fn with_rules(
        seed: u64,
        rules: AdaptiveRules,
        upstream: Upstream,
        load: f64,
        mix: &'static [(Priority, f64)],
        workers: usize,
    ) -> Self {
        let highest = mix.iter().map(|(priority, _)| *priority).min();
        let shares = PriorityShares::below(highest.unwrap_or_default());
        let limit = Arc::new(AdaptiveLimit::new(rules, shares, workers));
        let mut world = Self::unlimited(seed, upstream, load, mix, workers);
        world.workers = (0..workers)
            .map(|_| Usage::within(Limits::default().share(workers)))
            .collect();
        limit.apply(&world.workers);
        world.limit = Some(limit);
        world
    }

    pub(super) fn unlimited(
        seed: u64,
        upstream: Upstream,
        load: f64,
        mix: &'static [(Priority, f64)],
        workers: usize,
    ) -> Self {
        let mut world = Self {
            random: Rng::with_seed(seed),
            now: 0,
            events: BinaryHeap::new(),
            kinds: Vec::new(),
            upstream,
            is_hanging: false,
            busy: 0,
            queue: VecDeque::new(),
            rate: upstream.capacity() * load,
            mix,
            limit: None,
            workers: (0..workers).map(|_| Usage::default()).collect(),
            served: Served::default(),
        };
        world.at(0, Event::Arrival);
        world.at(0, Event::Tick);
        world
    }

    /// Requests at a time that are let in now.
    pub(super) fn limit(&self) -> u32 {
        self.limit.as_ref().map_or(0, |limit| limit.limit())
    }

    /// Requests that were shed so far.
    pub(super) fn shed(&self) -> u64 {
        self.workers.iter().map(Usage::shed_in_all).sum()
    }

    /// The upstream is another from now on; what it has begun goes on as it was.
    pub(super) fn change(&mut self, upstream: Upstream) {
        self.upstream = upstream;
        self.start_more();
    }

    /// Whether what is begun from now on is ever answered.
    pub(super) fn hang(&mut self, is_hanging: bool) {
        self.is_hanging = is_hanging;
        if !is_hanging {
            self.start_more();
        }
    }

    /// Plays some seconds, and says what was answered in them.
    pub(super) fn run(&mut self, seconds: u64) -> Served {
        self.served = Served::default();
        let end = self.now + seconds * 1_000_000;
        while let Some(Reverse((at, _, _))) = self.events.peek()
            && *at < end
            && let Some(Reverse((at, _, kind))) = self.events.pop()
        {
            self.now = at;
            match self.kinds[kind] {
                Event::Arrival => self.arrive(),
                Event::Tick => self.tick(),
                Event::Done(job) => self.finish(job),
                Event::TimedOut(job) => self.give_up(job),
            }
        }
        self.now = end;
        std::mem::take(&mut self.served)
    }

    fn at(&mut self, time: u64, event: Event) {
        let nth = self.kinds.len();
        self.kinds.push(event);
        self.events.push(Reverse((time, nth as u64, nth)));
    }

    /// An exponentially distributed time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times of a test are short"
    )]
    fn draw_micros(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.random.f64()).ln() * mean) as u64
    }

    fn arrive(&mut self) {
        let pause = self.draw_micros(1_000_000.0 / self.rate);
        self.at(self.now + pause, Event::Arrival);
        let mut point = self.random.f64();
        let mut mix = self.mix.iter();
        let mut priority = Priority::Low;
        while point >= 0.0
            && let Some((next, part)) = mix.next()
        {
            priority = *next;
            point -= part;
        }
        let worker = self.random.usize(..self.workers.len());
        if self.workers[worker].begin_request(priority).is_ok() {
            let job = Job {
                worker,
                priority,
                began: self.now,
            };
            self.queue.push_back(job);
            self.start_more();
        }
    }

    fn start_more(&mut self) {
        while self.busy < self.upstream.servers || self.is_hanging {
            let Some(job) = self.queue.pop_front() else {
                return;
            };
            if self.is_hanging {
                self.at(self.now + TIMEOUT_MICROS, Event::TimedOut(job));
                continue;
            }
            self.busy += 1;
            // Half of the time is always needed.
            let half = self.upstream.service_ms * 500.0;
            let service = self.draw_micros(half) + whole(half);
            self.at(self.now + service, Event::Done(job));
        }
    }

    fn finish(&mut self, job: Job) {
        self.busy -= 1;
        let took = self.now - job.began;
        let outcome = Outcome::Answered { status: 200 };
        self.workers[job.worker].observe(outcome, Duration::from_micros(took));
        self.workers[job.worker].end_request();
        self.served.micros.push(took);
        self.served.by_priority[job.priority as usize] += 1;
        self.start_more();
    }

    fn give_up(&mut self, job: Job) {
        let took = Duration::from_micros(self.now - job.began);
        self.workers[job.worker].observe(Outcome::TimedOut, took);
        self.workers[job.worker].end_request();
    }

    fn tick(&mut self) {
        if let Some(limit) = &self.limit {
            let civil = 1_700_000_000 + self.now / 1_000_000;
            limit.tick(&self.workers, self.now / 1_000, civil);
        }
        self.at(self.now + TICK_MICROS, Event::Tick);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times of a test are short"
)]
fn whole(micros: f64) -> u64 {
    micros as u64
}
