//! What each policy promises, by many seeded draws.

mod aperture;
mod simulation;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::cluster::aperture::{Aperture, Place};
use crate::cluster::health::OutlierRules;
use crate::cluster::tests::{at, eject};
use crate::cluster::{Instance, Outcome};

const OK: Outcome = Outcome::Answered { status: 200 };
const TWO_CHOICES: [Policy; 2] = [Policy::P2cEwma, Policy::LeastRequest];
const ALL: [Policy; 3] = [Policy::P2cEwma, Policy::LeastRequest, Policy::RoundRobin];

/// One upstream, one worker.
struct Bench {
    balancer: Balancer,
    set: EndpointSet,
    random: fastrand::Rng,
    turn: u64,
    now: Millis,
    tried: Tried,
    /// Its window, which begins with the set.
    aperture: Aperture,
    /// What it is taken to have under way.
    in_flight: u32,
}

fn balancer(policy: Policy) -> Balancer {
    Balancer {
        policy,
        ..Balancer::default()
    }
}

fn hashing(load_percent_max: u32) -> Policy {
    Policy::ConsistentHash(ConsistentHash {
        key: HashKey::Subject,
        load_percent_max,
    })
}

fn ports(count: u16) -> impl Iterator<Item = Instance> {
    (1..=count).map(at)
}

fn weighted(weights: &[u32]) -> Vec<Instance> {
    let weighted = weights.iter().zip(1..);
    weighted
        .map(|(&weight, port)| Instance { weight, ..at(port) })
        .collect()
}

/// `counts` endpoints in the zones `a`, `b` and so on; 0 to 25 of each.
fn zoned(counts: &[u16]) -> Vec<Instance> {
    let zones = counts.iter().zip('a'..).zip(1_u16..);
    let instances = zones.flat_map(|((&count, zone), number)| {
        (0..count).map(move |index| Instance {
            zone: Some(zone.to_string().into()),
            ..at(100 * number + index)
        })
    });
    instances.collect()
}

impl Bench {
    fn new(balancer: Balancer, found: impl IntoIterator<Item = Instance>) -> Self {
        Self::in_zone(None, balancer, found)
    }

    fn in_zone(
        zone: Option<&str>,
        balancer: Balancer,
        found: impl IntoIterator<Item = Instance>,
    ) -> Self {
        // What may be left out is another matter.
        let rules = OutlierRules {
            ejected_percent_max: 100,
            panic_percent: 0,
            ..OutlierRules::default()
        };
        let empty = EndpointSet::with_rules(rules);
        let set = EndpointSet::succeeding(&empty, found, &balancer, zone, 0);
        Self {
            balancer,
            set,
            random: fastrand::Rng::with_seed(7),
            turn: 0,
            now: 0,
            tried: Tried::default(),
            aperture: Aperture::default(),
            in_flight: 1,
        }
    }

    fn pick_from(&mut self, key: Option<u64>, subset: Option<SubsetChoice>) -> Option<Pick> {
        self.turn += 1;
        let choice = Choice {
            tried: &self.tried,
            now: self.now,
            random: self.random.u64(..),
            turn: self.turn,
            key,
            may_probe: true,
            subset,
            vantage: Some(Vantage {
                aperture: &self.aperture,
                place: Place::default(),
                in_flight: self.in_flight,
            }),
        };
        self.balancer.pick(&self.set, &choice)
    }

    fn pick(&mut self) -> Pick {
        self.pick_from(None, None).expect("the set is not empty")
    }

    fn pick_by(&mut self, key: u64) -> Pick {
        self.pick_from(Some(mix(key)), None)
            .expect("the set is not empty")
    }

    /// Requests that are answered at once, in 10 ms: how many came to each port.
    fn answered(&mut self, requests: u32) -> BTreeMap<u16, u32> {
        let mut hits = BTreeMap::new();
        for _ in 0..requests {
            let pick = self.pick();
            pick.lease.report(OK, Duration::from_millis(10), self.now);
            *hits.entry(port(&pick)).or_default() += 1;
        }
        hits
    }

    fn in_flight(&self) -> Vec<u32> {
        let endpoints = self.set.endpoints().iter();
        endpoints.map(|it| it.load.in_flight()).collect()
    }
}

fn port(pick: &Pick) -> u16 {
    pick.lease.endpoint().address().port()
}

#[test]
fn load_stays_even() {
    for policy in ALL {
        let mut bench = Bench::new(balancer(policy.clone()), ports(10));
        bench.answered(200);
        let leases: Vec<_> = (0..1000).map(|_| bench.pick()).collect();
        let in_flight = bench.in_flight();
        assert!(
            in_flight.iter().all(|it| (95..=105).contains(it)),
            "{policy:?} {in_flight:?}"
        );
        drop(leases);
        assert_eq!(bench.in_flight(), [0; 10]);
    }
}

#[test]
fn load_is_in_proportion_to_weights_idle_and_busy() {
    for policy in ALL {
        let mut bench = Bench::new(balancer(policy.clone()), weighted(&[1, 2, 3, 4]));
        let hits = bench.answered(10_000);
        for (port, hits) in hits {
            let expected = u32::from(port) * 1000;
            assert!(hits.abs_diff(expected) < 150, "{policy:?} {port}: {hits}");
        }
        let _leases: Vec<_> = (0..1000).map(|_| bench.pick()).collect();
        for (in_flight, weight) in bench.in_flight().into_iter().zip(1_u32..) {
            assert!(
                in_flight.abs_diff(weight * 100) < 12,
                "{policy:?} {weight}: {in_flight}"
            );
        }
    }
}

#[test]
fn ejected_and_tried_endpoints_are_passed_over_while_another_is_left() {
    for policy in ALL.into_iter().chain([hashing(125)]) {
        let mut bench = Bench::new(balancer(policy.clone()), ports(5));
        let endpoints = bench.set.endpoints().to_vec();
        endpoints[..3].iter().for_each(eject);
        bench.tried.add(&endpoints[3]);
        for key in 0..1000 {
            assert_eq!(port(&bench.pick()), 5, "{policy:?}");
            assert_eq!(port(&bench.pick_by(key)), 5, "{policy:?}");
        }
        bench.tried.add(&endpoints[4]);
        assert!(port(&bench.pick()) < 4, "{policy:?}: new though ejected");
    }
}

#[test]
fn one_of_two_hundred_is_found() {
    for policy in ALL.into_iter().chain([hashing(125)]) {
        let mut bench = Bench::new(balancer(policy.clone()), ports(200));
        bench.set.endpoints()[1..].iter().for_each(eject);
        for key in 0..100 {
            assert_eq!(port(&bench.pick()), 1, "{policy:?}");
            assert_eq!(port(&bench.pick_by(key)), 1, "{policy:?}");
        }
    }
}

#[test]
fn an_empty_set_gives_nothing_and_a_single_endpoint_itself() {
    for policy in ALL.into_iter().chain([hashing(125)]) {
        let mut bench = Bench::new(balancer(policy.clone()), ports(0));
        assert!(bench.pick_from(Some(1), None).is_none(), "{policy:?}");
        bench.set = EndpointSet::default();
        assert!(bench.pick_from(None, None).is_none(), "never filled");
        let mut bench = Bench::new(balancer(policy), ports(1));
        eject(&bench.set.endpoints()[0].clone());
        assert_eq!(port(&bench.pick()), 1);
        assert_eq!(port(&bench.pick_by(1)), 1);
    }
}

#[test]
fn an_endpoint_that_fails_fast_attracts_nobody() {
    let failures = [
        Outcome::Answered { status: 500 },
        Outcome::Answered { status: 503 },
        Outcome::ConnectFailed,
        Outcome::Broken,
        Outcome::TimedOut,
        Outcome::Invalid,
    ];
    for failure in failures {
        let mut bench = Bench::new(Balancer::default(), ports(10));
        let mut hits = 0;
        // 1,000 requests a second; nobody ejects.
        for request in 0..60_000 {
            bench.now = request;
            let choice = Choice {
                tried: &bench.tried,
                now: bench.now,
                random: bench.random.u64(..),
                turn: 0,
                key: None,
                may_probe: true,
                subset: None,
                vantage: None,
            };
            let pick = bench.balancer.pick(&bench.set, &choice).unwrap();
            let load = &pick.lease.endpoint().load;
            if port(&pick) == 1 {
                hits += 1;
                load.report(failure, Duration::from_micros(100), bench.now);
            } else {
                load.report(OK, Duration::from_millis(10), bench.now);
            }
        }
        println!("{failure:?}: {hits} of 60,000 requests");
        assert!(hits < 60, "{failure:?}: {hits} of 60,000");
    }
}

#[test]
fn turns_are_taken_in_order() {
    let mut bench = Bench::new(balancer(Policy::RoundRobin), ports(3));
    let order: Vec<_> = (0..6).map(|_| port(&bench.pick())).collect();
    assert_eq!(order, [2, 3, 1, 2, 3, 1]);
}

#[test]
fn the_turns_of_an_ejected_endpoint_go_to_all_others() {
    let mut bench = Bench::new(balancer(Policy::RoundRobin), ports(5));
    eject(&bench.set.endpoints()[2].clone());
    let hits = bench.answered(4000);
    assert!(!hits.contains_key(&3));
    assert!(
        hits.values().all(|hits| (950..1050).contains(hits)),
        "{hits:?}"
    );
}

#[test]
fn a_new_endpoint_starts_slowly() {
    let slow = |policy| Balancer {
        slow_start: 30_000,
        ..balancer(policy)
    };
    for policy in ALL {
        let balancer = slow(policy.clone());
        let mut bench = Bench::new(balancer.clone(), ports(9));
        bench.now = 100_000;
        bench.answered(100);
        bench.set = EndpointSet::succeeding(&bench.set, ports(10), &balancer, None, 100_000);
        let mut shares = Vec::new();
        for age in [0, 15_000, 30_000] {
            bench.now = 100_000 + age;
            // What is known of all others decays as well.
            bench.answered(200);
            let hits = bench.answered(10_000);
            shares.push(hits.get(&10).copied().unwrap_or(0));
        }
        println!("{policy:?}: {shares:?} of 10,000 at 0, 15 and 30 s");
        assert!((60..220).contains(&shares[0]), "{policy:?} {shares:?}");
        assert!((400..750).contains(&shares[1]), "{policy:?} {shares:?}");
        assert!((850..1150).contains(&shares[2]), "{policy:?} {shares:?}");
    }
}

#[test]
fn endpoints_that_are_all_new_share_alike() {
    for policy in ALL {
        let balancer = Balancer {
            slow_start: 30_000,
            ..balancer(policy.clone())
        };
        let hits = Bench::new(balancer, ports(10)).answered(10_000);
        assert!(
            hits.values().all(|hits| (850..1150).contains(hits)),
            "{policy:?} {hits:?}"
        );
    }
}

fn zone_aware(policy: Policy) -> Balancer {
    Balancer {
        zones: Some(ZonePreference {
            spill_at_percent: 200,
        }),
        ..balancer(policy)
    }
}

#[test]
fn endpoints_are_loaded_alike_whatever_zone_they_are_in() {
    // Endpoints in the zones a, b and c, and the least share of local requests.
    let table: [(&[u16], u32); 5] = [
        (&[4, 4, 4], 99),
        (&[2, 4, 6], 80),
        (&[1, 10, 10], 60),
        (&[1, 1, 25], 35),
        (&[6, 6], 99),
    ];
    for (counts, local_percent) in table {
        for policy in ALL {
            let mut hits = BTreeMap::<u16, u32>::new();
            let mut local = 0;
            let instances = zoned(counts);
            // One gateway in each zone, each with the same share of requests.
            let zones = ('a'..).take(counts.len()).map(String::from);
            let mut gateways: Vec<_> = zones
                .map(|zone| {
                    Bench::in_zone(Some(&zone), zone_aware(policy.clone()), instances.clone())
                })
                .collect();
            let requests = 30_000;
            for request in 0..requests {
                let gateway = &mut gateways[request as usize % counts.len()];
                gateway.now = u64::from(request);
                let pick = gateway.pick();
                pick.lease
                    .report(OK, Duration::from_millis(10), gateway.now);
                local += u32::from(pick.origin == Origin::ZoneLocal);
                *hits.entry(port(&pick)).or_default() += 1;
            }
            let mean = requests / u32::from(counts.iter().sum::<u16>());
            let (least, most) = (hits.values().min().unwrap(), hits.values().max().unwrap());
            println!(
                "{counts:?} {policy:?}: {}% local, {least} to {most} requests",
                local * 100 / requests
            );
            assert!(
                *most < mean * 13 / 10 && *least > mean * 7 / 10,
                "{counts:?} {policy:?}: {hits:?}"
            );
            assert!(
                local * 100 >= requests * local_percent,
                "{counts:?} {policy:?}: {local}"
            );
        }
    }
}

#[test]
fn a_zone_that_is_too_busy_spills() {
    for policy in TWO_CHOICES {
        let mut bench = Bench::in_zone(Some("a"), zone_aware(policy.clone()), zoned(&[4, 4, 4]));
        bench.answered(100);
        let leases: Vec<_> = (0..600).map(|_| bench.pick()).collect();
        let local: u32 = bench.in_flight()[..4].iter().sum();
        // As loaded as the preference allows: twice the load of the others.
        assert!(
            (270..330).contains(&local),
            "{policy:?}: {local} of 600 are local"
        );
        assert!(leases.iter().any(|it| it.origin == Origin::ZoneLoad));
    }
}

#[test]
fn the_zone_matters_only_where_it_can_be_chosen() {
    let table: [(Option<&str>, &[u16], Origin); 5] = [
        (None, &[2, 2], Origin::Any),
        (Some("z"), &[2, 2], Origin::Any),
        (Some("a"), &[2, 0], Origin::Any),
        (Some("a"), &[0, 2], Origin::Any),
        (Some("a"), &[2, 2], Origin::ZoneLocal),
    ];
    for (zone, counts, expected) in table {
        let mut bench = Bench::in_zone(zone, zone_aware(Policy::P2cEwma), zoned(counts));
        assert_eq!(bench.pick().origin, expected, "{zone:?} {counts:?}");
    }
    let mut bench = Bench::in_zone(Some("a"), zone_aware(Policy::P2cEwma), zoned(&[2, 2]));
    bench.set.endpoints()[..2].iter().for_each(eject);
    assert_eq!(bench.pick().origin, Origin::ZoneHealth);
}

#[test]
fn a_key_keeps_its_endpoint_and_few_keys_move() {
    let mut bench = Bench::new(balancer(hashing(1000)), ports(10));
    let homes = |bench: &mut Bench| -> Vec<_> {
        (0..10_000).map(|key| port(&bench.pick_by(key))).collect()
    };
    let before = homes(&mut bench);
    assert_eq!(before, homes(&mut bench));
    // Another gateway, which found the endpoints in another order.
    let reversed: Vec<_> = ports(10).collect::<Vec<_>>().into_iter().rev().collect();
    assert_eq!(
        before,
        homes(&mut Bench::new(balancer(hashing(1000)), reversed))
    );
    let after = homes(&mut Bench::new(balancer(hashing(1000)), ports(9)));
    let stayed = before
        .iter()
        .zip(&after)
        .filter(|(before, _)| **before != 10);
    let moved = stayed.filter(|(before, after)| before != after).count();
    println!("{moved} of 10,000 keys moved beside those of the endpoint that went");
    assert!(moved < 300, "{moved}");
    for port in 1..=10 {
        let keys = before.iter().filter(|home| **home == port).count();
        assert!((850..1150).contains(&keys), "{port}: {keys}");
    }
}

#[test]
fn a_popular_key_stays_within_the_bound() {
    for percent in [101, 125, 200] {
        let mut bench = Bench::new(balancer(hashing(percent)), ports(10));
        let leases: Vec<_> = (0..1000).map(|_| bench.pick_by(1)).collect();
        let most = bench.in_flight().into_iter().max().unwrap();
        assert!(
            most <= percent + 1,
            "{percent}: {most} where the mean is 100"
        );
        let origins = leases.iter().map(|it| it.origin);
        assert!(origins.clone().any(|it| it == Origin::KeyHome));
        assert!(origins.clone().any(|it| it == Origin::KeyElsewhere));
        drop(leases);
        let home = port(&bench.pick_by(1));
        assert_eq!(home, port(&bench.pick_by(1)), "back home when it is quiet");
    }
}

#[test]
fn the_bound_holds_through_a_change_of_the_set() {
    let balancer = balancer(hashing(125));
    let mut bench = Bench::new(balancer.clone(), ports(10));
    let _before: Vec<_> = (0..500).map(|key| bench.pick_by(key)).collect();
    bench.set = EndpointSet::succeeding(&bench.set, ports(9), &balancer, None, 0);
    let _after: Vec<_> = (0..400).map(|key| bench.pick_by(key)).collect();
    let most = bench.in_flight().into_iter().max().unwrap();
    assert!(most <= 126, "{most}");
}

#[test]
fn without_a_key_the_load_is_balanced() {
    let mut bench = Bench::new(balancer(hashing(125)), ports(10));
    bench.answered(100);
    let leases: Vec<_> = (0..1000).map(|_| bench.pick()).collect();
    assert!(leases.iter().all(|it| it.origin == Origin::KeyMissing));
    assert!(bench.in_flight().iter().all(|it| (95..=105).contains(it)));
}

#[test]
fn a_subset_is_kept_to_and_its_emptiness_is_as_the_file_says() {
    let version = |name: &str| Subset {
        attributes: [("version".to_owned(), name.to_owned())].into(),
    };
    let with = |port, name: &str| Instance {
        attributes: Arc::new(version(name).attributes),
        ..at(port)
    };
    for policy in ALL.into_iter().chain([hashing(125)]) {
        let balancer = Balancer {
            subsets: vec![version("v1"), version("v2"), version("v3")],
            ..balancer(policy.clone())
        };
        let found = [with(1, "v1"), with(2, "v1"), with(3, "v2"), at(4)];
        let mut bench = Bench::new(balancer, found);
        // Index, whether any will do; the ports, and whether that was a fallback.
        let table: [(usize, bool, &[u16], bool); 5] = [
            (0, false, &[1, 2], false),
            (1, true, &[3], false),
            (2, false, &[], false),
            (2, true, &[1, 2, 3, 4], true),
            (9, false, &[], false),
        ];
        for (index, or_any, ports, is_fallback) in table {
            let subset = SubsetChoice { index, or_any };
            let mut seen = BTreeSet::new();
            for key in 0..1000 {
                if let Some(pick) = bench.pick_from(Some(mix(key)), Some(subset)) {
                    assert_eq!(pick.is_subset_fallback, is_fallback, "{policy:?} {index}");
                    pick.lease.report(OK, Duration::from_millis(10), 0);
                    seen.insert(port(&pick));
                }
            }
            assert!(seen.iter().eq(ports), "{policy:?} {index}: {seen:?}");
        }
    }
}

#[test]
fn origins_are_listed_in_the_order_of_their_discriminants() {
    for (index, origin) in Origin::ALL.into_iter().enumerate() {
        assert_eq!(origin as usize, index);
    }
}
