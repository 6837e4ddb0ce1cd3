//! What a window changes in a choice, and what it does not.

use super::*;
use crate::cluster::aperture::ApertureRules;

/// One turn of each endpoint of a window, and some draws of each.
const DRAWS: u32 = 10_000;

fn windowed(policy: Policy, endpoints_min: u32) -> Balancer {
    Balancer {
        aperture: Some(ApertureRules {
            endpoints_min,
            width_percent: 200,
        }),
        ..balancer(policy)
    }
}

/// The ports that get any of many requests.
fn used(bench: &mut Bench) -> BTreeSet<u16> {
    bench.answered(DRAWS).into_keys().collect()
}

#[test]
fn a_set_that_is_not_large_is_chosen_from_as_without_a_window() {
    for policy in ALL.into_iter().chain([hashing(125)]) {
        for count in [1, 2, 10, 63, 64] {
            let balancers = [balancer(policy.clone()), windowed(policy.clone(), 64)];
            let picked = balancers.map(|balancer| {
                let mut bench = Bench::new(balancer, ports(count));
                let picks = (0..500).map(|key| {
                    let pick = bench.pick_by(key);
                    pick.lease.report(OK, Duration::from_millis(10), bench.now);
                    port(&pick)
                });
                picks.collect::<Vec<_>>()
            });
            assert_eq!(picked[0], picked[1], "{policy:?} of {count}");
        }
    }
}

#[test]
fn a_worker_uses_as_much_of_a_large_set_as_its_load_asks_for() {
    let table = [(1, 64), (32, 64), (50, 100), (150, 300), (151, 300)];
    for policy in ALL {
        for (in_flight, width) in table {
            let mut bench = Bench::new(windowed(policy.clone(), 64), ports(300));
            bench.in_flight = in_flight;
            let hits = bench.answered(DRAWS);
            assert_eq!(hits.len(), width, "{policy:?} {in_flight}");
            let mean = DRAWS / u32::try_from(width).unwrap();
            let (least, most) = (hits.values().min().unwrap(), hits.values().max().unwrap());
            assert!(
                *least > mean / 2 && *most < mean * 2,
                "{policy:?} {in_flight}: {least} to {most}"
            );
        }
    }
    let mut bench = Bench::new(windowed(hashing(125), 64), ports(300));
    let keys: BTreeSet<_> = (0..3_000).map(|key| port(&bench.pick_by(key))).collect();
    assert_eq!(keys.len(), 300, "keys have their endpoints anywhere");
}

#[test]
fn weights_count_within_a_window() {
    let weights: Vec<_> = (0..200).map(|index| 1 + index % 4).collect();
    for policy in ALL {
        let mut bench = Bench::new(windowed(policy.clone(), 40), weighted(&weights));
        // Wherever the window lies, over the end of the set too.
        for quarter in 0..4 {
            bench.now = quarter * crate::cluster::aperture::ROUND_MS / 4 + 900_000;
            bench.answered(500);
            let hits = bench.answered(20_000);
            assert_eq!(hits.len(), 40, "{policy:?} {quarter}");
            let weight = |port: u16| weights[usize::from(port) - 1];
            let sum: u32 = hits.keys().map(|&port| weight(port)).sum();
            for (&port, &hits) in &hits {
                let expected = 20_000 * weight(port) / sum;
                assert!(
                    hits.abs_diff(expected) < expected / 3 + 20,
                    "{policy:?} {quarter}: {hits} of {expected}"
                );
            }
        }
    }
}

#[test]
fn a_window_without_a_good_endpoint_is_left_and_then_widened() {
    for policy in ALL {
        let mut bench = Bench::new(windowed(policy.clone(), 20), ports(200));
        let window = used(&mut bench);
        assert_eq!(window.len(), 20, "{policy:?}");
        let endpoints = bench.set.endpoints().to_vec();
        let is_in = |it: &&Arc<Endpoint>| window.contains(&it.address().port());
        bench.in_flight = 5;
        bench.now = 1_000;
        bench.answered(1);
        let at = 1_500;
        bench.now = at;
        for endpoint in endpoints.iter().filter(is_in) {
            Lease::new(endpoint).report(Outcome::ConnectFailed, Duration::ZERO, at);
        }
        let hits = bench.answered(500);
        assert!(hits.keys().all(|port| !window.contains(port)), "{policy:?}");
        // At the next look at its width, and before the first probe.
        bench.now = 2_000;
        let hits = bench.answered(2_000);
        assert!(hits.keys().all(|port| !window.contains(port)), "{policy:?}");
        assert!(bench.aperture.width() >= 40, "{policy:?}");
        assert!(hits.len() >= 20, "{policy:?}: {}", hits.len());
    }
}

#[test]
fn one_good_endpoint_anywhere_is_found() {
    for policy in ALL {
        let mut bench = Bench::new(windowed(policy.clone(), 8), ports(200));
        for left in [0, 77, 199] {
            let endpoints = bench.set.endpoints().to_vec();
            let others = endpoints.iter().zip(0..).filter(|(_, it)| *it != left);
            others.for_each(|(endpoint, _)| eject(endpoint));
            for _ in 0..100 {
                assert_eq!(port(&bench.pick()), left + 1, "{policy:?}");
            }
            bench.set = Bench::new(bench.balancer.clone(), ports(200)).set;
        }
    }
}

#[test]
fn a_retry_goes_to_another_endpoint_outside_of_the_window_if_need_be() {
    for policy in ALL {
        let mut bench = Bench::new(windowed(policy.clone(), 2), ports(100));
        for request in 0..200 {
            bench.tried = Tried::default();
            let mut tried = BTreeSet::new();
            for _ in 0..=TRIED_MAX {
                let pick = bench.pick();
                let is_new = tried.insert(port(&pick));
                assert!(is_new, "{policy:?} {request}: {tried:?}");
                bench.tried.add(pick.lease.endpoint());
                pick.lease.report(OK, Duration::from_millis(10), bench.now);
            }
        }
    }
}

#[test]
fn a_window_is_a_part_of_the_wanted_subset_and_zone() {
    let version = |name: &str| Subset {
        attributes: [("version".to_owned(), name.to_owned())].into(),
    };
    let (old, new) = (version("v1").attributes, version("v2").attributes);
    let (old, new) = (Arc::new(old), Arc::new(new));
    let found = (1..=300).map(|port| Instance {
        attributes: Arc::clone(if port > 200 { &new } else { &old }),
        ..at(port)
    });
    let balancer = Balancer {
        subsets: vec![version("v2")],
        ..windowed(Policy::P2cEwma, 40)
    };
    let mut bench = Bench::new(balancer, found);
    let subset = Some(SubsetChoice {
        index: 0,
        or_any: false,
    });
    let picks = (0..1_000).map(|_| port(&bench.pick_from(None, subset).unwrap()));
    let picks: BTreeSet<_> = picks.collect();
    assert_eq!(picks.len(), 40);
    assert!(picks.iter().all(|port| *port > 200), "{picks:?}");

    let zoned = (1..=300).map(|port| Instance {
        zone: Some(if port > 200 { "a" } else { "b" }.into()),
        ..at(port)
    });
    let balancer = Balancer {
        aperture: windowed(Policy::LeastRequest, 40).aperture,
        ..zone_aware(Policy::LeastRequest)
    };
    let mut bench = Bench::in_zone(Some("a"), balancer, zoned);
    let mut ports = BTreeMap::<&str, BTreeSet<u16>>::new();
    for _ in 0..2_000 {
        let pick = bench.pick();
        let origin = pick.origin.as_str();
        ports.entry(origin).or_default().insert(port(&pick));
    }
    let local = &ports["zone_local"];
    assert_eq!(local.len(), 40, "{local:?}");
    assert!(local.iter().all(|port| *port > 200), "{local:?}");
    assert_eq!(ports["zone_share"].len(), 40, "{ports:?}");
}

#[test]
fn a_window_moves_by_a_place_or_two_when_an_endpoint_comes_or_goes() {
    let balancer = windowed(Policy::P2cEwma, 64);
    let mut bench = Bench::new(balancer.clone(), ports(300));
    let before = used(&mut bench);
    for gone in [1, 100, 300, *before.first().unwrap()] {
        let left = ports(300).filter(|it| it.address.port() != gone);
        let mut other = Bench::new(balancer.clone(), left);
        let after = used(&mut other);
        let stayed = before.intersection(&after).count();
        assert!(stayed >= 62, "{gone}: {stayed} of 64");
    }
    // Another order of discovery's answer is no change.
    let reversed: Vec<_> = ports(300).collect::<Vec<_>>().into_iter().rev().collect();
    assert_eq!(used(&mut Bench::new(balancer, reversed)), before);
}

#[test]
fn an_ejected_endpoint_outside_of_the_window_gets_its_probe() {
    let mut bench = Bench::new(windowed(Policy::P2cEwma, 20), ports(200));
    let window = used(&mut bench);
    let endpoints = bench.set.endpoints().to_vec();
    let outside = endpoints.iter();
    let outside = outside.filter(|it| !window.contains(&it.address().port()));
    outside.clone().for_each(eject);
    let now = 5_000;
    bench.now = now;
    let probes: BTreeSet<_> = (0..1_000)
        .map(|_| bench.pick())
        .filter(|pick| pick.origin == Origin::Probe)
        .map(|pick| {
            pick.lease.report(OK, Duration::from_millis(10), now);
            port(&pick)
        })
        .collect();
    assert!(outside.map(|it| it.address().port()).eq(probes));
}

#[test]
fn a_slow_endpoint_of_a_window_is_avoided() {
    let mut bench = Bench::new(windowed(Policy::P2cEwma, 64), ports(1_000));
    let slow = *used(&mut bench).first().unwrap();
    let mut hits = 0;
    for request in 0..60_000 {
        bench.now = request;
        let pick = bench.pick();
        let is_slow = port(&pick) == slow;
        hits += u32::from(is_slow);
        let took = Duration::from_millis(if is_slow { 1_000 } else { 10 });
        pick.lease.report(OK, took, bench.now);
    }
    println!("{hits} of 60,000 requests, where the mean is 937");
    assert!(hits < 60, "{hits}");
}
