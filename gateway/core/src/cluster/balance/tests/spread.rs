//! How evenly gateways load a thousand endpoints, and how many connections that takes, with a
//! window and without: seeded, a table for `docs/balancing.md`.

#![expect(
    clippy::cast_precision_loss,
    reason = "the numbers of a test are small"
)]

use std::time::Duration;

use super::super::*;
use crate::cluster::Outcome;
use crate::cluster::aperture::{Aperture, ApertureRules, Place, ROUND_MS};
use crate::cluster::tests::at;

const SEED: u64 = 20_190_424;
const ENDPOINTS: u16 = 1_000;
/// Requests that each gateway has under way at any time.
const IN_FLIGHT: usize = 64;
/// Answers take about this.
const ANSWER_MS: u64 = 10;
/// Requests of a gateway in one moment.
const MOMENT: usize = 2_000;
/// Looks at a round of the windows, and the requests of all gateways in each.
const LOOKS: u64 = 400;
const LOOK: usize = 640;
const OK: Outcome = Outcome::Answered { status: 200 };
/// What the file has where it says nothing.
const DEFAULT: ApertureRules = ApertureRules {
    endpoints_min: 32,
    width_percent: 50,
};

/// A gateway with one worker, which knows of no other.
struct Gateway {
    balancer: Balancer,
    set: EndpointSet,
    aperture: Aperture,
    place: Place,
    random: fastrand::Rng,
    under_way: Vec<Lease>,
    /// Connections to each endpoint: as many as it ever had requests at a time.
    connections: Vec<u32>,
}

impl Gateway {
    fn new(number: usize, aperture: Option<ApertureRules>) -> Self {
        let balancer = Balancer {
            aperture,
            ..Balancer::default()
        };
        let found = (0..ENDPOINTS).map(at);
        Self {
            set: EndpointSet::succeeding(&EndpointSet::default(), found, &balancer, None, 0),
            balancer,
            aperture: Aperture::default(),
            place: Place::of(format!("10.0.0.{number}").as_bytes(), 0),
            random: fastrand::Rng::with_seed(SEED + number as u64),
            under_way: Vec::new(),
            connections: vec![0; usize::from(ENDPOINTS)],
        }
    }

    /// One answer and the next request, as of a client that sends one after the other.
    fn request(&mut self, now: Millis, hits: &mut [u32]) {
        if self.under_way.len() == IN_FLIGHT {
            let answered = self.random.usize(..IN_FLIGHT);
            let lease = self.under_way.swap_remove(answered);
            lease.report(OK, Duration::from_millis(ANSWER_MS), now);
        }
        let choice = Choice {
            tried: &Tried::default(),
            now,
            random: self.random.u64(..),
            turn: 0,
            key: None,
            may_probe: true,
            subset: None,
            vantage: Some(Vantage {
                aperture: &self.aperture,
                place: self.place,
                in_flight: u32::try_from(self.under_way.len()).unwrap() + 1,
            }),
        };
        let lease = self.balancer.pick(&self.set, &choice).unwrap().lease;
        let endpoint = usize::from(lease.endpoint().address().port());
        hits[endpoint] += 1;
        let connections = &mut self.connections[endpoint];
        *connections = lease.endpoint().load.in_flight().max(*connections);
        self.under_way.push(lease);
    }
}

/// Endpoints that were used, and the load of the least and of the most loaded in terms of the
/// mean.
fn shape(hits: &[u32]) -> (usize, f64, f64) {
    let mean = f64::from(hits.iter().sum::<u32>()) / hits.len() as f64;
    let of_mean = |hits: Option<&u32>| f64::from(*hits.unwrap()) / mean;
    let used = hits.iter().filter(|hits| **hits > 0).count();
    (used, of_mean(hits.iter().min()), of_mean(hits.iter().max()))
}

#[test]
fn gateways_that_know_of_no_other_load_a_large_set_evenly() {
    println!("seed {SEED}");
    println!(
        "| gateways | aperture | connections of each | endpoints used at a moment | \
         most loaded at a moment | least and most loaded in 70 minutes |"
    );
    println!("|---|---|---|---|---|---|");
    for (count, rules) in [
        (1, None),
        (1, Some(DEFAULT)),
        (20, None),
        (20, Some(DEFAULT)),
    ] {
        let mut gateways: Vec<_> = (0..count).map(|it| Gateway::new(it, rules)).collect();
        let mut moment = vec![0; usize::from(ENDPOINTS)];
        for request in 0..MOMENT * count {
            let now = (request / count) as u64 * ANSWER_MS / IN_FLIGHT as u64;
            gateways[request % count].request(now, &mut moment);
        }
        let connections = gateways.iter().flat_map(|it| &it.connections).sum::<u32>();
        let connections = connections / u32::try_from(count).unwrap();
        let mut round = vec![0; usize::from(ENDPOINTS)];
        for look in 0..LOOKS {
            let now = 1_000 + look * ROUND_MS / LOOKS;
            (0..LOOK).for_each(|request| gateways[request % count].request(now, &mut round));
        }
        let (used, _, most_at_once) = shape(&moment);
        let (_, least, most) = shape(&round);
        println!(
            "| {count} | {} | {connections} | {used} | {most_at_once:.1} × the mean | \
             {least:.2} and {most:.2} × the mean |",
            if rules.is_some() { "yes" } else { "no" },
        );
        assert!(least > 0.5 && most < 1.7, "{count}: {least} to {most}");
        if rules.is_some() {
            assert!(connections < 200, "{connections}");
            // A window is a thirtieth of the set.
            assert!(most_at_once < if count == 1 { 42.0 } else { 8.0 });
        }
    }
}
