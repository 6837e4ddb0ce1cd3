//! How endpoints are chosen, as the file says.

use expect_test::expect;
use http::HeaderName;

use super::*;
use crate::cluster::aperture::ApertureRules;
use crate::cluster::balance::{Balancer, ConsistentHash, Policy, SubsetChoice};
use crate::cluster::{HashKey, ZonePreference};
use crate::plan::{Action, Backends};

/// One upstream with these options, and one route with these lines after its `auth`.
fn file(upstream: &str, route: &str) -> String {
    format!(
        "
version: 1
upstreams: {{users: {{static: ['127.0.0.1:1']{upstream}}}}}
routes:
  - name: users
    match: {{path_prefix: /}}
    auth: none
    {route}
"
    )
}

fn balancer(upstream: &str) -> Balancer {
    let text = file(upstream, "backends: [{upstream: users}]");
    compiled(&text).plan.clusters.remove(0).balancer
}

fn backends(route: &str) -> Backends {
    match compiled(&file("", route)).plan.routes.remove(0).action {
        Action::Forward(backends) => backends,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_policy_is_named_or_has_options() {
    let hash = |key, load_percent_max| {
        Policy::ConsistentHash(ConsistentHash {
            key,
            load_percent_max,
        })
    };
    let header = HashKey::Header(HeaderName::from_static("x-user"));
    let table = [
        ("", Policy::P2cEwma),
        ("p2c_ewma", Policy::P2cEwma),
        ("least_request", Policy::LeastRequest),
        ("round_robin", Policy::RoundRobin),
        ("{policy: least_request}", Policy::LeastRequest),
        ("{aperture: false}", Policy::P2cEwma),
        ("{consistent_hash: {header: X-User}}", hash(header, 125)),
        (
            "{consistent_hash: {cookie: sid, max_load_percent: 200}}",
            hash(HashKey::Cookie("sid".into()), 200),
        ),
        (
            "{consistent_hash: {claim: sub}}",
            hash(HashKey::Subject, 125),
        ),
    ];
    for (written, expected) in table {
        let option = match written {
            "" => String::new(),
            written => format!(", load_balancer: {written}"),
        };
        assert_eq!(balancer(&option).policy, expected, "{written}");
    }
}

#[test]
fn a_large_set_is_used_in_part_unless_the_file_says_otherwise() {
    let rules = |endpoints_min, width_percent| {
        Some(ApertureRules {
            endpoints_min,
            width_percent,
        })
    };
    let table = [
        ("p2c_ewma", rules(32, 50)),
        ("{}", rules(32, 50)),
        ("{policy: round_robin}", rules(32, 50)),
        ("{aperture: true}", rules(32, 50)),
        ("{aperture: false}", None),
        ("{aperture: {min_endpoints: 8}}", rules(8, 50)),
        ("{aperture: {width_percent: 400}}", rules(32, 400)),
        ("{consistent_hash: {header: a}}", None),
        ("{consistent_hash: {header: a}, aperture: false}", None),
    ];
    for (written, expected) in table {
        let balancer = balancer(&format!(", load_balancer: {written}"));
        assert_eq!(balancer.aperture, expected, "{written}");
    }
}

#[test]
fn zones_and_slow_start_are_off_unless_asked_for() {
    let zones = |spill_at_percent| Some(ZonePreference { spill_at_percent });
    let table = [
        ("", None, 0),
        (", zone_aware: false", None, 0),
        (", zone_aware: true", zones(200), 0),
        (", zone_aware: {}", zones(200), 0),
        (", zone_aware: {spill_at_percent: 150}", zones(150), 0),
        (", slow_start: 30s", None, 30_000),
    ];
    for (written, zones, slow_start) in table {
        let balancer = balancer(written);
        assert_eq!(balancer.zones, zones, "{written}");
        assert_eq!(balancer.slow_start, slow_start, "{written}");
    }
}

#[test]
fn equal_subsets_are_one() {
    let route = "backends:
      - {upstream: users, weight: 0, subset: {version: v1}}
      - {upstream: users, weight: 1, subset: {version: v2, track: canary}, when_empty: any_endpoint}
      - {upstream: users, weight: 0, subset: {track: canary, version: v2}, when_empty: fail}";
    let plan = compiled(&file("", route)).plan;
    let subsets = &plan.clusters[0].balancer.subsets;
    let versions: Vec<_> = subsets
        .iter()
        .map(|it| &*it.attributes["version"])
        .collect();
    assert_eq!(versions, ["v1", "v2"]);
    let (position, target) = backends(route).choose(|| 0);
    let expected = SubsetChoice {
        index: 1,
        or_any: true,
    };
    assert_eq!((position, target.subset), (1, Some(expected)));
}

#[test]
fn a_key_chooses_only_where_there_is_a_choice() {
    let two = "backends: [{upstream: users}, {upstream: users}]\n    sticky: {cookie: sid}";
    assert_eq!(backends(two).sticky(), Some(&HashKey::Cookie("sid".into())));
    let one = "backends: [{upstream: users}]\n    sticky: {cookie: sid}";
    assert_eq!(backends(one).sticky(), None);
}

#[test]
fn an_open_route_has_no_claim_to_stick_to() {
    let text = file(
        "",
        "backends: [{upstream: users}]\n    sticky: {claim: sub}",
    );
    expect![[r"
        9:21 routes[0].sticky.claim: the route has `auth: none`, so that no request has a claim | name a header or a cookie, or ask for a token
    "]].assert_eq(&problems(&text));
}

#[test]
fn an_upstream_has_a_bounded_number_of_subsets() {
    let backends: Vec<_> = (0..=32)
        .map(|version| format!("{{upstream: users, subset: {{version: v{version}}}}}"))
        .collect();
    let text = file("", &format!("backends: [{}]", backends.join(", ")));
    expect![[r"
        8:1400 routes[0].backends[32].subset: an upstream has at most 32 different subsets | make an upstream of its own for some of them
    "]].assert_eq(&problems(&text));
}
