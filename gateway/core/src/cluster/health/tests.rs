//! Ejection, probes, shares and panic, step by step.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::cluster::balance::{Balancer, Choice, Tried};
use crate::cluster::tests::set_after;
use crate::cluster::{Endpoint, EndpointSet, Instance, Lease};

const OK: Outcome = Outcome::Answered { status: 200 };
const ERROR: Outcome = Outcome::Answered { status: 503 };

fn set_with(count: u16, rules: OutlierRules) -> EndpointSet {
    set_after(&EndpointSet::with_rules(rules), instances(1..=count))
}

fn set(count: u16) -> EndpointSet {
    set_with(count, OutlierRules::default())
}

fn instances(ports: impl Iterator<Item = u16>) -> impl Iterator<Item = Instance> {
    ports.map(|port| Instance::at(SocketAddr::from(([127, 0, 0, 1], port))))
}

fn report(endpoint: &Arc<Endpoint>, outcome: Outcome, now: Millis) {
    Lease::new(endpoint).report(outcome, Duration::ZERO, now);
}

fn report_times(endpoint: &Arc<Endpoint>, outcome: Outcome, times: u32) {
    for _ in 0..times {
        report(endpoint, outcome, 1);
    }
}

fn probe(set: &EndpointSet, now: Millis) -> Option<Lease> {
    set.claim_probe(now, |_| true)
}

fn ejected(set: &EndpointSet) -> usize {
    let endpoints = set.endpoints().iter();
    endpoints
        .filter(|endpoint| endpoint.health.ejected_until().is_some())
        .count()
}

#[test]
fn ejection_doubles_up_to_its_maximum_and_shrinks_with_good_time() {
    let set = set(3);
    let endpoint = &set.endpoints()[0];
    let mut now = 7;
    report(endpoint, Outcome::ConnectFailed, now);
    let mut lengths = Vec::new();
    for _ in 0..7 {
        let until = endpoint.health.ejected_until().unwrap();
        lengths.push(until - now);
        now = until;
        probe(&set, now)
            .unwrap()
            .report(Outcome::Broken, Duration::ZERO, now);
    }
    assert_eq!(lengths, [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    now = endpoint.health.ejected_until().unwrap();
    probe(&set, now).unwrap().report(OK, Duration::ZERO, now);
    assert_eq!(endpoint.health.state(), HealthState::Healthy);
    // Eight doublings so far, and six stretches of good time.
    now += 6 * GOOD_TIME_MS;
    report(endpoint, Outcome::ConnectFailed, now);
    assert_eq!(endpoint.health.ejected_until(), Some(now + 4000));
}

#[test]
fn each_kind_of_outcome_ejects_as_the_rules_say() {
    use EjectionReason::{ConnectFailure, Consecutive5xx, ConsecutiveGatewayFailures};
    let rules = OutlierRules {
        consecutive_gateway_failures: 3,
        consecutive_5xx: 2,
        ..OutlierRules::default()
    };
    let off = OutlierRules {
        consecutive_gateway_failures: 0,
        consecutive_5xx: 0,
        ..rules
    };
    let (broken, late) = (Outcome::Broken, Outcome::TimedOut);
    let table: &[(OutlierRules, &[Outcome], Option<EjectionReason>)] = &[
        (rules, &[Outcome::ConnectFailed], Some(ConnectFailure)),
        (off, &[Outcome::ConnectFailed], Some(ConnectFailure)),
        (rules, &[broken, late], None),
        (
            rules,
            &[broken, late, Outcome::Invalid],
            Some(ConsecutiveGatewayFailures),
        ),
        (rules, &[broken, late, OK, broken, late], None),
        (rules, &[broken, late, ERROR, broken, late], None),
        (rules, &[ERROR, OK, ERROR, OK], None),
        (rules, &[ERROR, ERROR], Some(Consecutive5xx)),
        (rules, &[ERROR, broken, ERROR], Some(Consecutive5xx)),
        (off, &[broken, broken, broken, ERROR, ERROR, ERROR], None),
    ];
    for (rules, outcomes, expected) in table {
        let set = set_with(3, *rules);
        let endpoint = &set.endpoints()[0];
        for outcome in *outcomes {
            report(endpoint, *outcome, 1);
        }
        let is_ejected = endpoint.health.is_ejected(1);
        let reason = is_ejected.then(|| endpoint.health.last_reason());
        assert_eq!(reason, *expected, "{outcomes:?}");
        for reason in EjectionReason::ALL {
            let count = u64::from(Some(reason) == *expected);
            assert_eq!(set.health().ejections(reason), count, "{outcomes:?}");
        }
    }
}

#[test]
fn one_request_is_the_probe_and_all_others_stay_away_until_it_has_ended() {
    let set = set(3);
    let endpoint = &set.endpoints()[0];
    report(endpoint, Outcome::ConnectFailed, 0);
    assert!(probe(&set, 999).is_none());
    let first = probe(&set, 1000).unwrap();
    assert!(first.is_probe() && Arc::ptr_eq(first.endpoint(), endpoint));
    assert_eq!(endpoint.health.state(), HealthState::Probing);
    assert!(probe(&set, 1001).is_none());
    assert!(endpoint.health.is_ejected(1001));
    // What began before says nothing.
    report(endpoint, OK, 1001);
    assert!(endpoint.health.is_ejected(1001));
    first.report(OK, Duration::ZERO, 1002);
    drop(first);
    assert!(!endpoint.health.is_ejected(1002));
    assert_eq!((set.health().ejected(), set.health().returns()), (0, 1));
    let turns = Turns {
        ejections: 1,
        returns: 1,
    };
    assert_eq!(endpoint.health.turns(), turns);
}

#[test]
fn a_probe_that_nobody_reports_is_free_for_the_next_request() {
    let set = set(3);
    report(&set.endpoints()[0], Outcome::ConnectFailed, 0);
    drop(probe(&set, 1000).unwrap());
    assert!(probe(&set, 1000).is_some());
}

#[test]
fn a_probe_that_never_ends_counts_as_failed_and_its_late_good_answer_counts_all_the_same() {
    let set = set(3);
    let endpoint = &set.endpoints()[0];
    report(endpoint, Outcome::ConnectFailed, 0);
    let hanging = probe(&set, 1000).unwrap();
    let late = 1000 + PROBE_WAIT_MS;
    assert!(probe(&set, late - 1).is_none());
    assert!(probe(&set, late).is_none(), "it is ejected for longer");
    assert_eq!(endpoint.health.ejected_until(), Some(late + 2000));
    assert_eq!(endpoint.health.last_reason(), EjectionReason::ProbeFailed);
    hanging.report(Outcome::TimedOut, Duration::ZERO, late + 1);
    assert_eq!(endpoint.health.ejected_until(), Some(late + 2000));
    hanging.report(OK, Duration::ZERO, late + 2);
    assert!(!endpoint.health.is_ejected(late + 2));
}

#[test]
fn an_endpoint_whose_probe_nobody_takes_is_used_like_any_other() {
    let set = set(3);
    let endpoint = &set.endpoints()[0];
    report(endpoint, Outcome::ConnectFailed, 0);
    assert!(endpoint.health.is_ejected(1000 + PROBE_WAIT_MS - 1));
    assert!(!endpoint.health.is_ejected(1000 + PROBE_WAIT_MS));
    report(endpoint, OK, 1000 + PROBE_WAIT_MS);
    assert_eq!(endpoint.health.state(), HealthState::Healthy);
}

#[test]
fn at_most_the_share_is_ejected() {
    let table = [
        (1, 50, 0),
        (2, 50, 1),
        (3, 50, 1),
        (4, 50, 2),
        (5, 50, 2),
        (10, 50, 5),
        (3, 10, 1),
        (100, 10, 10),
        (3, 100, 2),
        (10, 0, 0),
    ];
    for (count, percent, expected) in table {
        let rules = OutlierRules {
            ejected_percent_max: percent,
            ..OutlierRules::default()
        };
        let set = set_with(count, rules);
        for endpoint in set.endpoints() {
            report(endpoint, Outcome::ConnectFailed, 0);
        }
        assert_eq!(ejected(&set), expected, "{count} {percent}");
        let refused = usize::from(count) - expected;
        assert_eq!(set.health().refused(), refused as u64, "{count} {percent}");
    }
}

#[test]
fn a_set_that_shrinks_takes_back_those_whose_time_is_over_first() {
    let before = set(6);
    for (index, now) in [(0, 300), (1, 100), (2, 200)] {
        report(&before.endpoints()[index], Outcome::ConnectFailed, now);
    }
    let after = set_after(&before, instances(1..=4));
    assert_eq!(ejected(&after), 2);
    assert_eq!(after.endpoints()[1].health.state(), HealthState::Healthy);
    assert_eq!(after.health().ejected(), 2);
}

#[test]
fn an_endpoint_that_left_counts_no_more_whatever_is_reported_of_it() {
    let before = set(4);
    let (first, second) = (&before.endpoints()[0], &before.endpoints()[1]);
    report(first, Outcome::ConnectFailed, 0);
    let hanging = Lease::new(second);
    let after = set_after(&before, instances(3..=6));
    assert_eq!(after.health().ejected(), 0);
    hanging.report(Outcome::ConnectFailed, Duration::ZERO, 5);
    report(first, OK, 2000);
    assert!(probe(&before, 5000).is_none());
    assert_eq!(after.health().ejected(), 0);
    assert!(!after.health().is_panicking());
    assert!(first.health.is_ejected(1 << 40), "old snapshots avoid it");
}

#[test]
fn health_is_ignored_when_too_few_are_left() {
    const FAIL_ONCE: CheckThresholds = CheckThresholds {
        healthy: 1,
        unhealthy: 1,
    };
    let set = set(4);
    report(&set.endpoints()[0], Outcome::ConnectFailed, 0);
    set.endpoints()[1].health.checked(false, FAIL_ONCE);
    assert!(!set.health().is_panicking(), "half of them are left");
    assert!(set.endpoints()[0].health.is_ejected(1));
    set.endpoints()[2].health.checked(false, FAIL_ONCE);
    assert!(set.health().is_panicking());
    for endpoint in set.endpoints() {
        assert!(!endpoint.health.is_ejected(1));
    }
    assert_eq!(set.endpoints()[1].health.state(), HealthState::Unhealthy);
    set.endpoints()[1].health.checked(true, FAIL_ONCE);
    assert!(!set.health().is_panicking());
    assert!(set.endpoints()[2].health.is_ejected(1));
}

#[test]
fn checks_change_the_state_after_enough_of_them_and_the_first_at_once() {
    let thresholds = CheckThresholds {
        healthy: 2,
        unhealthy: 3,
    };
    // Each check with the state after it.
    let table = [
        ("f", "u"),
        ("p", "h"),
        ("pff", "hhh"),
        ("pfff", "hhhu"),
        ("pffpff", "hhhhhh"),
        ("fpp", "uuh"),
        ("fpfpp", "uuuuh"),
        ("pfffppfff", "hhhuuhhhu"),
    ];
    for (checks, states) in table {
        let set = set(3);
        let health = &set.endpoints()[0].health;
        let seen: String = checks
            .chars()
            .map(|check| {
                let before = health.state();
                let is_new = health.checked(check == 'p', thresholds);
                let state = health.state();
                assert_eq!(is_new, before != state, "{checks}");
                match state {
                    HealthState::Unhealthy => 'u',
                    _ => 'h',
                }
            })
            .collect();
        assert_eq!(seen, states, "{checks}");
    }
}

#[test]
fn an_unhealthy_endpoint_is_not_probed_until_checks_pass_again() {
    let once = CheckThresholds {
        healthy: 1,
        unhealthy: 1,
    };
    let set = set(3);
    let endpoint = &set.endpoints()[0];
    report(endpoint, Outcome::ConnectFailed, 0);
    endpoint.health.checked(false, once);
    assert!(probe(&set, 5000).is_none());
    assert!(endpoint.health.is_ejected(1 << 40));
    endpoint.health.checked(true, once);
    assert!(probe(&set, 5000).is_some());
}

#[test]
fn too_few_good_answers_eject_where_most_others_have_enough() {
    type GoodAndBad = (u32, u32);
    // The answers of each endpoint, and which are ejected.
    let table: &[(&[GoodAndBad], &[bool])] = &[
        (&[(100, 0), (100, 0), (0, 100)], &[false, false, true]),
        (&[(100, 0), (100, 0), (79, 21)], &[false, false, true]),
        (&[(100, 0), (100, 0), (80, 20)], &[false, false, false]),
        (&[(100, 0), (100, 0), (0, 49)], &[false, false, false]),
        (&[(100, 0), (0, 100)], &[false, true]),
        // The fault is not theirs.
        (&[(100, 0), (0, 100), (0, 100)], &[false, false, false]),
        (&[(0, 100), (0, 100), (0, 100)], &[false, false, false]),
        // Nobody to compare with.
        (&[(9, 0), (9, 0), (0, 100)], &[false, false, false]),
    ];
    for (answers, expected) in table {
        let set = set(u16::try_from(answers.len()).unwrap());
        set.tick(1);
        for (endpoint, (good, bad)) in set.endpoints().iter().zip(*answers) {
            report_times(endpoint, OK, *good);
            report_times(endpoint, ERROR, *bad);
        }
        set.tick(4_999);
        assert_eq!(ejected(&set), 0, "not before half of the window is over");
        set.tick(5_001);
        let seen = set.endpoints().iter();
        let seen: Vec<_> = seen.map(|it| it.health.is_ejected(5_001)).collect();
        assert_eq!(seen, *expected, "{answers:?}");
    }
}

#[test]
fn answers_count_for_one_window() {
    let set = set(3);
    let [first, second, third] = set.endpoints() else {
        panic!("three");
    };
    report_times(third, ERROR, 60);
    set.tick(5_000);
    assert_eq!(third.health.answers(), (0, 60));
    set.tick(10_000);
    assert_eq!(third.health.answers(), (0, 0));
    for endpoint in [first, second, third] {
        report_times(endpoint, OK, 60);
    }
    set.tick(15_000);
    assert_eq!(ejected(&set), 0);
}

#[test]
fn a_balancer_that_never_draws_an_endpoint_probes_it_all_the_same() {
    let set = set(2);
    report(&set.endpoints()[0], Outcome::ConnectFailed, 0);
    let hold: Vec<_> = (0..9).map(|_| Lease::new(&set.endpoints()[0])).collect();
    let tried = Tried::default();
    let pick = |now, may_probe| {
        let choice = Choice {
            tried: &tried,
            now,
            random: 3,
            turn: 0,
            key: None,
            may_probe,
            subset: None,
            vantage: None,
        };
        Balancer::default().pick(&set, &choice).unwrap().lease
    };
    let (ejected, other) = (&set.endpoints()[0], &set.endpoints()[1]);
    assert!(pick(999, true).endpoint().is(other));
    // One that cannot be repeated leaves it to the next that can.
    assert!(pick(1000, false).endpoint().is(other));
    assert!(pick(1000, true).endpoint().is(ejected));
    drop(hold);
}

#[test]
fn counts_hold_whatever_workers_do_at_the_same_time() {
    let set = set_with(
        10,
        OutlierRules {
            ejection_ms_min: 1,
            ejection_ms_max: 2,
            ..OutlierRules::default()
        },
    );
    let most = set.health().rules().ejected_max(10);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let set = &set;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let once = CheckThresholds {
                    healthy: 1,
                    unhealthy: 1,
                };
                for now in 1..5_000 {
                    let endpoint = random.choice(set.endpoints()).unwrap();
                    match random.u8(..8) {
                        0..=2 => report(endpoint, Outcome::ConnectFailed, now),
                        3 => {
                            endpoint.health.checked(random.bool(), once);
                        }
                        _ => {
                            if let Some(lease) = probe(set, now) {
                                let outcome = if random.bool() { OK } else { Outcome::Broken };
                                lease.report(outcome, Duration::ZERO, now);
                            }
                        }
                    }
                    assert!(set.health().ejected() <= most);
                }
            });
        }
    });
    assert_eq!(set.health().ejected() as usize, ejected(&set));
    let once = CheckThresholds {
        healthy: 1,
        unhealthy: 1,
    };
    for endpoint in set.endpoints() {
        endpoint.health.checked(true, once);
        endpoint.health.readmit(9_999);
        assert_eq!(endpoint.health.state(), HealthState::Healthy);
    }
    assert_eq!(set.health().ejected(), 0);
    assert!(set.endpoints().iter().all(|it| !it.health.is_ejected(1)));
    let successor = set_after(&set, instances(1..=10));
    assert!(!successor.health().is_panicking());
}
