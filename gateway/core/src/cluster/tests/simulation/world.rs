//! The simulated world: a clock, endpoints that behave, requests under way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::cluster::aperture::{Aperture, ApertureRules, Place, Vantage};
use crate::cluster::balance::{Balancer, Choice, Tried};
use crate::cluster::health::{
    CheckThresholds, EjectionReason, OutlierRules, PROBE_WAIT_MS, SuccessRateRule,
};
use crate::cluster::{Endpoint, EndpointSet, HealthState, Instance, Lease, Outcome};
use crate::words::time::Millis;

/// Endpoints of the set at a time.
const ENDPOINTS_MAX: u16 = 12;
/// Workers, each with a window of its own.
const WORKERS: usize = 3;
/// Tries of one request.
const TRIES_MAX: usize = 3;
/// Time after which a try is given up.
const TIMEOUT_MS: Millis = 2_000;
/// Time between two requests, at most, unless the clock jumps.
const PAUSE_MS_MAX: u64 = 40;
/// Time between two requests at the end.
const END_PAUSE_MS: u64 = 200;
/// Time between two ticks, as the shell has it.
const TICK_MS: Millis = 1_000;
/// The longest jump of the clock.
const JUMP_MS_MAX: u64 = 120_000;
const THRESHOLDS: CheckThresholds = CheckThresholds {
    healthy: 2,
    unhealthy: 3,
};

/// How an endpoint answers for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Well,
    Refuses,
    Resets,
    Hangs,
    TalksNonsense,
    AnswersErrors,
    /// One answer in three is an error.
    AnswersSomeErrors,
    Slow,
}

impl Behaviour {
    const ALL: [Self; 8] = [
        Self::Well,
        Self::Refuses,
        Self::Resets,
        Self::Hangs,
        Self::TalksNonsense,
        Self::AnswersErrors,
        Self::AnswersSomeErrors,
        Self::Slow,
    ];

    /// How long a try takes, and how it ends.
    fn outcome(self, random: &mut Rng) -> (Millis, Outcome) {
        let ok = Outcome::Answered { status: 200 };
        let error = Outcome::Answered { status: 503 };
        match self {
            Self::Refuses => (random.u64(0..2), Outcome::ConnectFailed),
            Self::Resets => (random.u64(1..20), Outcome::Broken),
            Self::Hangs => (TIMEOUT_MS, Outcome::TimedOut),
            Self::TalksNonsense => (random.u64(1..20), Outcome::Invalid),
            Self::AnswersErrors => (random.u64(1..5), error),
            Self::AnswersSomeErrors if random.u8(..3) == 0 => (random.u64(1..5), error),
            Self::Well | Self::AnswersSomeErrors => (random.u64(1..20), ok),
            Self::Slow => (random.u64(200..TIMEOUT_MS), ok),
        }
    }

    fn is_well(self) -> bool {
        matches!(self, Self::Well | Self::Slow)
    }
}

/// A try under way.
struct Try {
    lease: Lease,
    worker: usize,
    outcome: Option<Outcome>,
    began: Millis,
    tried: Tried,
    left: usize,
}

/// What the world knows of an endpoint beside its health.
struct Subject {
    endpoint: Arc<Endpoint>,
    behaviour: Behaviour,
    /// Since when it is out, if it is.
    out_since: Option<Millis>,
    /// Since when it has behaved well while requests came often enough to find out.
    well_since: Millis,
    is_check_failing: bool,
}

/// What happened, so that a simulation in which nothing does cannot pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    requests: u64,
    probes: u64,
    returns: u64,
    refused: u64,
    panics: u64,
    churn: u64,
    abandoned: u64,
    windows: u64,
    ejections: [u64; EjectionReason::ALL.len()],
    unhealthy: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.probes += other.probes;
        self.returns += other.returns;
        self.refused += other.refused;
        self.panics += other.panics;
        self.churn += other.churn;
        self.abandoned += other.abandoned;
        self.windows += other.windows;
        self.unhealthy += other.unhealthy;
        for (sum, count) in self.ejections.iter_mut().zip(other.ejections) {
            *sum += count;
        }
    }

    pub(super) fn check_that_all_was_seen(&self) {
        let counts = [
            self.requests,
            self.probes,
            self.returns,
            self.refused,
            self.panics,
            self.churn,
            self.abandoned,
            self.windows,
            self.unhealthy,
        ];
        let all = counts.iter().chain(&self.ejections);
        assert!(all.clone().all(|count| *count > 0), "{self:?}");
    }
}

pub(super) struct World {
    random: Rng,
    now: Millis,
    next_tick: Millis,
    rules: OutlierRules,
    balancer: Balancer,
    apertures: [Aperture; WORKERS],
    has_checks: bool,
    set: EndpointSet,
    subjects: BTreeMap<u16, Subject>,
    /// Every endpoint that ever was: what they count must come back to zero.
    ever: Vec<Arc<Endpoint>>,
    tries: BTreeMap<u64, Try>,
    ends: BinaryHeap<Reverse<(Millis, u64)>>,
    next_try: u64,
    seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let rules = OutlierRules {
            consecutive_gateway_failures: random.u32(0..6),
            consecutive_5xx: random.u32(0..6),
            success_rate: SuccessRateRule {
                percent_min: *random.choice(&[0, 80, 90]).expect("not empty"),
                requests_min: random.u64(5..30),
                window_ms: random.u64(1..20) * 1_000,
            },
            ejection_ms_min: random.u64(100..2_000),
            ejection_ms_max: random.u64(2_000..40_000),
            ejected_percent_max: random.u32(0..=100),
            panic_percent: random.u32(0..=70),
        };
        let aperture = random.bool().then(|| ApertureRules {
            endpoints_min: random.u32(1..5),
            width_percent: random.u32(25..250),
        });
        let mut world = Self {
            now: random.u64(0..10_000),
            next_tick: 0,
            rules,
            balancer: Balancer {
                aperture,
                ..Balancer::default()
            },
            apertures: Default::default(),
            has_checks: random.bool(),
            set: EndpointSet::with_rules(rules),
            subjects: BTreeMap::new(),
            ever: Vec::new(),
            tries: BTreeMap::new(),
            ends: BinaryHeap::new(),
            next_try: 0,
            seen: Seen::default(),
            random,
        };
        let count = world.random.u16(1..=ENDPOINTS_MAX);
        world.discover((1..=count).collect());
        world
    }

    /// One event, and time up to it; then the rules.
    pub(super) fn step(&mut self) {
        let pause = self.random.u64(0..PAUSE_MS_MAX);
        self.pass(pause);
        match self.random.u16(..1000) {
            0..5 => self.churn(),
            5..25 => self.change_behaviour(),
            25..28 => self.jump(),
            28..38 => self.give_up(),
            _ => self.request(),
        }
        self.check_rules();
    }

    /// Nothing fails any more: all must be in use again within a bound, and nothing be counted.
    pub(super) fn end(mut self) -> Seen {
        for subject in self.subjects.values_mut() {
            subject.behaviour = Behaviour::Well;
            subject.is_check_failing = false;
            subject.well_since = self.now;
        }
        let bound = self.recovery_ms();
        let end = self.now + bound;
        while self.now < end {
            self.pass(END_PAUSE_MS);
            self.request();
            self.check_rules();
        }
        for endpoint in self.set.endpoints() {
            let state = endpoint.health.state();
            assert_eq!(
                state,
                HealthState::Healthy,
                "{} never recovered",
                endpoint.label
            );
        }
        assert!(!self.set.health().is_panicking(), "panic without a reason");
        self.pass(TIMEOUT_MS);
        self.tries.clear();
        for endpoint in &self.ever {
            assert_eq!(endpoint.load.in_flight(), 0, "{}", endpoint.label);
        }
        for (count, reason) in self.seen.ejections.iter_mut().zip(EjectionReason::ALL) {
            *count = self.set.health().ejections(reason);
        }
        self.seen.returns = self.set.health().returns();
        self.seen.refused = self.set.health().refused();
        self.seen
    }

    /// The longest time from an endpoint's recovery to its use: an ejection that had just begun, a
    /// probe that hangs since before the recovery and the ejection that follows it, checks.
    fn recovery_ms(&self) -> Millis {
        let checks = Millis::from(THRESHOLDS.healthy) * TICK_MS + TICK_MS;
        2 * self.rules.ejection_ms_max + PROBE_WAIT_MS + checks + 2 * TICK_MS
    }

    fn pass(&mut self, time: Millis) {
        let end = self.now + time;
        loop {
            let ended = self.ends.peek().map(|Reverse((at, _))| *at);
            let next = ended.unwrap_or(Millis::MAX).min(self.next_tick);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if self.next_tick <= self.now {
                self.tick();
            } else if let Some(Reverse((_, number))) = self.ends.pop() {
                self.finish(number);
            }
            self.check_rules();
        }
        self.now = end;
    }

    fn tick(&mut self) {
        self.set.tick(self.now);
        self.next_tick = self.now + TICK_MS;
        if !self.has_checks {
            return;
        }
        for subject in self.subjects.values() {
            let has_passed = !subject.is_check_failing;
            subject.endpoint.health.checked(has_passed, THRESHOLDS);
        }
    }

    /// The clock jumps, as it does on a machine that slept: what was due is late.
    fn jump(&mut self) {
        self.now += self.random.u64(..JUMP_MS_MAX);
        for subject in self.subjects.values_mut() {
            // Nobody could find out meanwhile.
            subject.well_since = self.now;
            subject.out_since = subject.out_since.map(|_| self.now);
        }
    }

    fn churn(&mut self) {
        self.seen.churn += 1;
        let mut ports: Vec<u16> = self.subjects.keys().copied().collect();
        if self.random.bool() && ports.len() > 1 {
            let leaving = self.random.usize(1..ports.len());
            for _ in 0..leaving {
                ports.swap_remove(self.random.usize(..ports.len()));
            }
        } else {
            // An address that left may come back as a new endpoint.
            let port = self.random.u16(1..=ENDPOINTS_MAX);
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        self.random.shuffle(&mut ports);
        self.discover(ports);
    }

    fn discover(&mut self, ports: Vec<u16>) {
        let instances = ports
            .into_iter()
            .map(|port| Instance::at(SocketAddr::from(([10, 0, 0, 1], port))));
        self.set = EndpointSet::succeeding(&self.set, instances, &self.balancer, None, self.now);
        let mut before = std::mem::take(&mut self.subjects);
        for endpoint in self.set.endpoints() {
            let port = endpoint.address().port();
            let kept = before.remove(&port);
            let is_kept = kept.is_some();
            let subject = kept.unwrap_or_else(|| Subject {
                endpoint: Arc::clone(endpoint),
                behaviour: Behaviour::Well,
                out_since: None,
                well_since: self.now,
                is_check_failing: false,
            });
            assert!(
                Arc::ptr_eq(&subject.endpoint, endpoint),
                "an endpoint that stays is kept"
            );
            if !is_kept {
                self.ever.push(Arc::clone(endpoint));
            }
            self.subjects.insert(port, subject);
        }
    }

    fn change_behaviour(&mut self) {
        let index = self.random.usize(..self.subjects.len());
        let behaviour = *self.random.choice(&Behaviour::ALL).expect("not empty");
        let is_check_failing = self.random.u8(..4) == 0;
        let subject = self
            .subjects
            .values_mut()
            .nth(index)
            .expect("below the count");
        if !subject.behaviour.is_well() || subject.is_check_failing {
            subject.well_since = self.now;
        }
        subject.behaviour = behaviour;
        subject.is_check_failing = is_check_failing;
    }

    /// A client goes away: its try is dropped without an outcome.
    fn give_up(&mut self) {
        let Some((&number, under_way)) = self.tries.iter().next() else {
            return;
        };
        self.seen.abandoned += u64::from(under_way.lease.is_probe());
        self.tries.remove(&number);
    }

    fn request(&mut self) {
        self.seen.requests += 1;
        self.attempt(Tried::default(), TRIES_MAX);
    }

    fn attempt(&mut self, mut tried: Tried, left: usize) {
        let random = self.random.u64(..);
        let worker = self.random.usize(..WORKERS);
        let under_way = self.tries.values().filter(|it| it.worker == worker);
        let vantage = Vantage {
            aperture: &self.apertures[worker],
            place: Place::of(b"gateway", worker),
            in_flight: u32::try_from(under_way.count()).expect("few") + 1,
        };
        let choice = Choice {
            tried: &tried,
            now: self.now,
            random,
            turn: self.next_try,
            key: None,
            may_probe: self.random.u32(..4) != 0,
            subset: None,
            vantage: Some(vantage),
        };
        let probing: Vec<_> = self.probing();
        let is_left = |endpoint: &Arc<Endpoint>| {
            endpoint.health.state() == HealthState::Healthy && !choice.tried.contains(endpoint)
        };
        let is_one_left = self.set.endpoints().iter().any(is_left);
        let may_be_out = !is_one_left || self.is_panic();
        let lease = self.balancer.pick(&self.set, &choice);
        let lease = lease.expect("the set is never empty").lease;
        let width = vantage.aperture.width() as usize;
        self.seen.windows += u64::from((1..self.set.endpoints().len()).contains(&width));
        let endpoint = Arc::clone(lease.endpoint());
        if lease.is_probe() {
            self.seen.probes += 1;
            let is_second = probing.iter().any(|it| Arc::ptr_eq(it, &endpoint));
            assert!(!is_second, "two probes of {}", endpoint.label);
        } else {
            let state = endpoint.health.state();
            assert!(
                may_be_out || state == HealthState::Healthy || self.is_forgotten(&endpoint),
                "{} is {state:?}, and a healthy one was there",
                endpoint.label,
            );
        }
        let port = endpoint.address().port();
        let behaviour = self.subjects[&port].behaviour;
        let (took, outcome) = behaviour.outcome(&mut self.random);
        tried.add(&endpoint);
        let number = self.next_try;
        self.next_try += 1;
        // One in a thousand is never heard of again, until the end.
        let is_lost = self.random.u16(..1000) == 0;
        if !is_lost {
            self.ends.push(Reverse((self.now + took, number)));
        }
        self.tries.insert(
            number,
            Try {
                lease,
                worker,
                outcome: Some(outcome).filter(|_| self.random.u8(..50) != 0),
                began: self.now,
                tried,
                left: left - 1,
            },
        );
    }

    /// Whether too few are left, counted anew.
    fn is_panic(&self) -> bool {
        let all = self.set.endpoints();
        let healthy = all.iter();
        let healthy = healthy.filter(|it| it.health.state() == HealthState::Healthy);
        healthy.count() * 100 < all.len() * self.rules.panic_percent as usize
    }

    /// Whether nobody has probed it for so long that whoever comes is a probe.
    fn is_forgotten(&self, endpoint: &Arc<Endpoint>) -> bool {
        let until = endpoint.health.ejected_until();
        until.is_some_and(|until| until + PROBE_WAIT_MS <= self.now)
    }

    fn probing(&self) -> Vec<Arc<Endpoint>> {
        let all = self.set.endpoints().iter();
        all.filter(|endpoint| {
            let until = endpoint.health.ejected_until();
            endpoint.health.state() == HealthState::Probing
                && until.is_some_and(|until| until > self.now)
        })
        .map(Arc::clone)
        .collect()
    }

    fn finish(&mut self, number: u64) {
        let Some(ended) = self.tries.remove(&number) else {
            return;
        };
        let Some(outcome) = ended.outcome else {
            return;
        };
        let took = Duration::from_millis(self.now - ended.began);
        ended.lease.report(outcome, took, self.now);
        if !outcome.is_good() && ended.left > 0 {
            self.attempt(ended.tried, ended.left);
        }
    }

    fn check_rules(&mut self) {
        let health = self.set.health();
        let count = u32::try_from(self.set.endpoints().len()).expect("few");
        let mut ejected = 0;
        let mut in_flight = 0;
        for subject in self.subjects.values_mut() {
            let endpoint = &subject.endpoint;
            ejected += u32::from(endpoint.health.ejected_until().is_some());
            in_flight += endpoint.load.in_flight() as usize;
            if endpoint.health.state() == HealthState::Healthy {
                subject.out_since = None;
            } else {
                subject.out_since.get_or_insert(self.now);
            }
        }
        assert_eq!(health.is_panicking(), self.is_panic(), "panic");
        assert_eq!(health.ejected(), ejected, "the count of ejected endpoints");
        assert!(
            ejected <= self.rules.ejected_max(count),
            "{ejected} of {count} are ejected"
        );
        let gone = self.tries.values().filter(|it| self.is_gone(it)).count();
        assert_eq!(in_flight + gone, self.tries.len(), "requests in flight");
        self.seen.panics += u64::from(health.is_panicking());
        let bound = self.recovery_ms();
        for subject in self.subjects.values() {
            self.check_recovery(subject, bound);
        }
        let unhealthy = self.subjects.values();
        let is_unhealthy = |it: &&Subject| it.endpoint.health.state() == HealthState::Unhealthy;
        self.seen.unhealthy += unhealthy.filter(is_unhealthy).count() as u64;
    }

    /// Whether a try goes to an endpoint that has left.
    fn is_gone(&self, under_way: &Try) -> bool {
        let endpoint = under_way.lease.endpoint();
        let known = self.subjects.get(&endpoint.address().port());
        !known.is_some_and(|it| Arc::ptr_eq(&it.endpoint, endpoint))
    }

    fn check_recovery(&self, subject: &Subject, bound: Millis) {
        let Some(out_since) = subject.out_since else {
            return;
        };
        let is_well = subject.behaviour.is_well() && !subject.is_check_failing;
        let began = out_since.max(subject.well_since);
        assert!(
            !is_well || self.now <= began + bound,
            "{} has been well for {} ms, and is still {:?}",
            subject.endpoint.label,
            self.now - began,
            subject.endpoint.health.state()
        );
        if let Some(until) = subject.endpoint.health.ejected_until() {
            let longest = self.rules.ejection_ms_max.max(PROBE_WAIT_MS);
            assert!(
                until <= self.now + longest,
                "out for longer than the maximum"
            );
        }
    }
}
