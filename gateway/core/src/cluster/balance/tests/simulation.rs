//! The policies side by side with one endpoint of ten that is a hundred times slower: a seeded
//! simulation of events, whose table `docs/balancing.md` shows.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "minutes in microseconds fit 52 bits"
)]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::super::*;
use crate::cluster::Outcome;
use crate::cluster::tests::at;

const SEED: u64 = 20_180_107;
const ENDPOINTS: u16 = 10;
/// Requests a second, however slow the answers are.
const RATE: f64 = 1_000.0;
const SECONDS: f64 = 120.0;
/// An answer takes half of this and, on the average, as much again.
const SERVICE_SECONDS: f64 = 0.010;
/// Requests that an endpoint serves at a time; others wait in its queue.
const SLOTS: u32 = 256;
const SLOWDOWN: f64 = 100.0;

/// One endpoint that serves in order.
#[derive(Default)]
struct Server {
    busy: u32,
    queue: VecDeque<Request>,
    slowdown: f64,
    served: u32,
}

struct Request {
    lease: Lease,
    began_micros: u64,
}

/// What happens next: the server whose oldest answer is ready, or `None` for a new request.
type Event = Reverse<(u64, u64, Option<usize>)>;

struct Simulation {
    balancer: Balancer,
    set: EndpointSet,
    random: fastrand::Rng,
    servers: Vec<Server>,
    events: BinaryHeap<Event>,
    serving: Vec<Option<Request>>,
    latencies_micros: Vec<u64>,
}

impl Simulation {
    fn new(policy: Policy, slow: usize) -> Self {
        let balancer = Balancer {
            policy,
            ..Balancer::default()
        };
        let found = (0..ENDPOINTS).map(at);
        let set = EndpointSet::succeeding(&EndpointSet::default(), found, &balancer, None, 0);
        let server = |index| Server {
            slowdown: if index < slow { SLOWDOWN } else { 1.0 },
            ..Server::default()
        };
        Self {
            balancer,
            set,
            random: fastrand::Rng::with_seed(SEED),
            servers: (0..usize::from(ENDPOINTS)).map(server).collect(),
            events: BinaryHeap::new(),
            serving: Vec::new(),
            latencies_micros: Vec::new(),
        }
    }

    /// A time in microseconds that is `mean` seconds on the average, without memory.
    fn exponential_micros(&mut self, mean: f64) -> u64 {
        (-(1.0 - self.random.f64()).ln() * mean * 1e6) as u64
    }

    fn run(mut self) -> Self {
        let (mut arrivals, mut next_micros) = (0, 0);
        while (next_micros as f64) < SECONDS * 1e6 {
            self.events.push(Reverse((next_micros, arrivals, None)));
            next_micros += self.exponential_micros(1.0 / RATE);
            arrivals += 1;
        }
        while let Some(Reverse((micros, id, server))) = self.events.pop() {
            match server {
                None => self.arrive(micros, id),
                Some(server) => self.answer(micros, id, server),
            }
        }
        assert_eq!(self.latencies_micros.len() as u64, arrivals);
        self.latencies_micros.sort_unstable();
        self
    }

    fn arrive(&mut self, micros: u64, turn: u64) {
        let choice = Choice {
            tried: &Tried::default(),
            now: micros / 1000,
            random: self.random.u64(..),
            turn,
            key: None,
            may_probe: true,
            subset: None,
            vantage: None,
        };
        let lease = self.balancer.pick(&self.set, &choice).unwrap().lease;
        let server = usize::from(lease.endpoint().address().port());
        let request = Request {
            lease,
            began_micros: micros,
        };
        if self.servers[server].busy == SLOTS {
            self.servers[server].queue.push_back(request);
        } else {
            self.servers[server].busy += 1;
            self.serve(micros, server, request);
        }
    }

    fn serve(&mut self, micros: u64, server: usize, request: Request) {
        let least = SERVICE_SECONDS / 2.0 * 1e6;
        let service = least as u64 + self.exponential_micros(SERVICE_SECONDS / 2.0);
        let service = (service as f64 * self.servers[server].slowdown) as u64;
        let id = self.serving.len() as u64;
        self.serving.push(Some(request));
        self.events
            .push(Reverse((micros + service, id, Some(server))));
    }

    fn answer(&mut self, micros: u64, id: u64, server: usize) {
        let request = self.serving[usize::try_from(id).unwrap()].take().unwrap();
        let took_micros = micros - request.began_micros;
        let outcome = Outcome::Answered { status: 200 };
        let took = Duration::from_micros(took_micros);
        request.lease.report(outcome, took, micros / 1000);
        self.latencies_micros.push(took_micros);
        self.servers[server].served += 1;
        match self.servers[server].queue.pop_front() {
            Some(next) => self.serve(micros, server, next),
            None => self.servers[server].busy -= 1,
        }
    }

    fn percentile_ms(&self, percent: f64) -> f64 {
        let last = self.latencies_micros.len() - 1;
        let place = (last as f64 * percent / 100.0) as usize;
        self.latencies_micros[place] as f64 / 1000.0
    }
}

#[test]
fn one_slow_endpoint_of_ten_is_not_felt() {
    println!("seed {SEED}");
    println!("| policy | slow endpoints | p50 ms | p99 ms | p99.9 ms | requests to the slow one |");
    println!("|---|---|---|---|---|---|");
    let mut p99 = Vec::new();
    let policies = [
        ("p2c_ewma", Policy::P2cEwma),
        ("least_request", Policy::LeastRequest),
        ("round_robin", Policy::RoundRobin),
    ];
    for (name, policy) in policies {
        for slow in [0, 1] {
            let run = Simulation::new(policy.clone(), slow).run();
            let [p50, p99_ms, p999] = [50.0, 99.0, 99.9].map(|percent| run.percentile_ms(percent));
            let served = f64::from(run.servers[0].served) / run.latencies_micros.len() as f64;
            println!(
                "| `{name}` | {slow} | {p50:.1} | {p99_ms:.1} | {p999:.1} | {:.2} % |",
                served * 100.0
            );
            p99.push(p99_ms);
        }
    }
    let [healthy, ewma, _, least_request, _, round_robin] = p99[..] else {
        unreachable!("three policies, each twice")
    };
    assert!(ewma < 2.0 * healthy, "{ewma} beside {healthy}");
    assert!(
        ewma < least_request && least_request < round_robin,
        "{p99:?}"
    );
}
