//! Power of two choices over requests in flight.
//!
//! Of two endpoints drawn at random the less loaded one is taken: nearly as even as looking
//! at all of them, at a cost that does not grow with their number, and without the herd that
//! follows one "least loaded" (Mitzenmacher, "The Power of Two Choices in Randomized Load
//! Balancing", IEEE TPDS 12(10), 2001).

use std::sync::Arc;

use super::Choice;
use crate::cluster::{Endpoint, EndpointSet, Lease};

pub(super) fn pick(set: &EndpointSet, choice: &Choice<'_>) -> Option<Lease> {
    let endpoints = set.endpoints();
    let chosen = match endpoints {
        [] => return None,
        [only] => only,
        _ => {
            let (first, second) = two(endpoints.len(), choice.random);
            let (first, second) = (&endpoints[first], &endpoints[second]);
            let is_good = |endpoint: &Arc<Endpoint>| {
                !endpoint.health.is_ejected(choice.now) && !choice.tried.contains(endpoint)
            };
            match (is_good(first), is_good(second)) {
                (true, true) => less_loaded(first, second),
                (true, false) => first,
                (false, true) => second,
                (false, false) => search(endpoints, choice).unwrap_or(first),
            }
        }
    };
    Some(Lease::new(chosen))
}

fn less_loaded<'e>(first: &'e Arc<Endpoint>, second: &'e Arc<Endpoint>) -> &'e Arc<Endpoint> {
    if second.load.in_flight() < first.load.in_flight() {
        second
    } else {
        first
    }
}

/// Two different indices below `count`, which is at least 2.
fn two(count: usize, random: u64) -> (usize, usize) {
    // The high half of a product spreads a draw evenly without a division (Lemire, 2019).
    let below = |half: u32, count: usize| ((u64::from(half) * count as u64) >> 32) as usize;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is wanted by itself"
    )]
    let (low, high) = (random as u32, (random >> 32) as u32);
    let first = below(low, count);
    let second = below(high, count - 1);
    (first, second + usize::from(second >= first))
}

/// Both draws were bad: the first good one from a random place on; failing that, one that is
/// healthy though tried, or new though ejected.
fn search<'e>(endpoints: &'e [Arc<Endpoint>], choice: &Choice<'_>) -> Option<&'e Arc<Endpoint>> {
    let (start, _) = two(endpoints.len(), choice.random);
    let around = || endpoints[start..].iter().chain(&endpoints[..start]);
    let healthy = |endpoint: &&Arc<Endpoint>| !endpoint.health.is_ejected(choice.now);
    let new = |endpoint: &&Arc<Endpoint>| !choice.tried.contains(endpoint);
    around()
        .find(|endpoint| healthy(endpoint) && new(endpoint))
        .or_else(|| around().find(new))
        .or_else(|| around().find(healthy))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::cluster::balance::Tried;
    use crate::cluster::{Instance, Outcome};

    fn set(count: u16) -> EndpointSet {
        let at = |port| Instance::at(SocketAddr::from(([127, 0, 0, 1], port)));
        EndpointSet::succeeding(&EndpointSet::default(), (1..=count).map(at))
    }

    fn pick(set: &EndpointSet, tried: &Tried, now: u64, random: u64) -> Option<Lease> {
        let choice = Choice { tried, now, random };
        super::pick(set, &choice)
    }

    fn eject(endpoint: &Arc<Endpoint>) {
        Lease::new(endpoint).report(Outcome::ConnectFailed, Duration::ZERO, 0);
    }

    #[test]
    fn the_two_draws_differ_and_reach_every_endpoint() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in 2..20 {
            let mut seen = vec![0; count];
            for _ in 0..1000 {
                let (first, second) = two(count, random.u64(..));
                assert_ne!(first, second);
                seen[first] += 1;
                seen[second] += 1;
            }
            assert!(seen.iter().all(|&hits| hits > 0), "{count}: {seen:?}");
        }
    }

    #[test]
    fn load_stays_even() {
        let (set, mut random) = (set(10), fastrand::Rng::with_seed(7));
        let leases: Vec<_> = (0..1000)
            .filter_map(|_| pick(&set, &Tried::default(), 0, random.u64(..)))
            .collect();
        assert_eq!(leases.len(), 1000);
        for endpoint in set.endpoints() {
            assert!(
                (95..=105).contains(&endpoint.load.in_flight()),
                "{}",
                endpoint.load.in_flight()
            );
        }
    }

    #[test]
    fn ejected_and_tried_endpoints_are_passed_over_while_another_is_left() {
        let (set, mut random) = (set(5), fastrand::Rng::with_seed(7));
        for endpoint in &set.endpoints()[..2] {
            eject(endpoint);
        }
        let mut tried = Tried::default();
        tried.add(&set.endpoints()[2]);
        tried.add(&set.endpoints()[3]);
        for _ in 0..1000 {
            let lease = pick(&set, &tried, 0, random.u64(..)).unwrap();
            assert!(Arc::ptr_eq(lease.endpoint(), &set.endpoints()[4]));
        }
        tried.add(&set.endpoints()[4]);
        assert!(
            pick(&set, &tried, 0, random.u64(..)).is_some(),
            "the last resort"
        );
    }

    #[test]
    fn an_empty_set_gives_nothing_and_a_single_endpoint_itself() {
        assert!(pick(&set(0), &Tried::default(), 0, 9).is_none());
        let one = set(1);
        eject(&one.endpoints()[0]);
        assert!(pick(&one, &Tried::default(), 0, 9).is_some());
    }
}
