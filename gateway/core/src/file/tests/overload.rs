//! What `limits.adaptive`, `priority` and `hedge` mean, and what is said of wrong ones.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::cluster::{AdaptiveRules, Priority};

fn file(limits: &str, routes: &[&str]) -> String {
    let routes = routes.iter().enumerate().map(|(nth, options)| {
        format!(
            "  - {{name: r{nth}, match: {{path: /{nth}}}, auth: none, {options}backends: [{{upstream: backend}}]}}\n"
        )
    });
    format!(
        "version: 1\nupstreams: {{backend: {{static: [\"127.0.0.1:9001\"], limits: {{{limits}}}}}}}\nroutes:\n{}",
        routes.collect::<String>()
    )
}

fn adaptive(limits: &str) -> Option<AdaptiveRules> {
    compiled(&file(limits, &[""])).plan.clusters[0].adaptive
}

#[test]
fn an_adaptive_limit_is_there_only_where_it_is_asked_for() {
    let default = AdaptiveRules::default();
    let table = [
        ("", None),
        ("adaptive: false", None),
        ("adaptive: true", Some(default)),
        ("adaptive: {}", Some(default)),
        (
            "adaptive: {min: 5, max: 50, initial: 10, tolerance: 50%}",
            Some(AdaptiveRules {
                min: 5,
                max: 50,
                initial: 10,
                tolerance_percent: 50,
            }),
        ),
        // What is left out follows what is said.
        (
            "adaptive: {min: 2000}",
            Some(AdaptiveRules {
                min: 2_000,
                max: 2_000,
                initial: 2_000,
                ..default
            }),
        ),
        (
            "adaptive: {max: 10}",
            Some(AdaptiveRules {
                max: 10,
                initial: 10,
                ..default
            }),
        ),
    ];
    for (limits, expected) in table {
        assert_eq!(adaptive(limits), expected, "{limits}");
    }
}

#[test]
fn the_most_important_routes_of_an_upstream_may_fill_its_limits() {
    for (routes, normal, low) in [
        (&[""][..], 100, 75),
        (&["priority: low, "], 100, 100),
        (&["priority: low, ", "priority: normal, "], 100, 75),
        (&["priority: low, ", "priority: critical, ", ""], 80, 60),
    ] {
        let plan = compiled(&file("", routes)).plan;
        let shares = plan.clusters[0].priorities;
        assert_eq!(shares.room(100, Priority::Normal), normal, "{routes:?}");
        assert_eq!(shares.room(100, Priority::Low), low, "{routes:?}");
    }
}

#[test]
fn a_route_is_normal_and_has_no_hedge_unless_it_says_so() {
    let plan = compiled(&file("", &["", "priority: high, hedge: {after: 50ms}, "])).plan;
    assert_eq!(plan.routes[0].priority, Priority::Normal);
    assert_eq!(plan.routes[0].hedge, None);
    assert_eq!(plan.routes[1].priority, Priority::High);
    let after = plan.routes[1].hedge.map(|hedge| hedge.after);
    assert_eq!(after, Some(Duration::from_millis(50)));
}

fn check(limits: &str, route: &str, expected: &Expect) {
    expected.assert_eq(&problems(&file(limits, &[route])));
}

#[test]
fn values_out_of_range_and_slips_are_said_with_their_place() {
    check(
        "adaptive: {min: 0}",
        "",
        &expect![[r"
        2:76 upstreams.backend.limits.adaptive.min: 0 is out of range | write a number from 1 to 1000000
    "]],
    );
    check(
        "adaptive: {min: 10, max: 5}",
        "",
        &expect![[r"
        2:85 upstreams.backend.limits.adaptive.max: 5 is out of range | write a number from 10 to 1000000
    "]],
    );
    check(
        "adaptive: {max: 5, initial: 6}",
        "",
        &expect![[r"
        2:88 upstreams.backend.limits.adaptive.initial: 6 is out of range | write a number from 3 to 5
    "]],
    );
    check(
        "adaptive: {tolerance: 1%}",
        "",
        &expect![[r"
        2:82 upstreams.backend.limits.adaptive.tolerance: 1 is out of range | write a number from 5 to 100
    "]],
    );
    check(
        "adaptive: {minimum: 1}",
        "",
        &expect![[r"
        2:71 upstreams.backend.limits.adaptive: unknown key `minimum` | known keys: `min`, `max`, `initial`, `tolerance`
    "]],
    );
    check(
        "adaptive: yes",
        "",
        &expect![[r"
        2:70 upstreams.backend.limits.adaptive: unknown value `yes` | known values: `true`, `false`
    "]],
    );
    check(
        "",
        "priority: lowest, ",
        &expect![[r"
        4:57 routes[0].priority: unknown value `lowest` | known values: `critical`, `high`, `normal`, `low`
    "]],
    );
    check(
        "",
        "hedge: {}, ",
        &expect![[r"
        4:47 routes[0].hedge: missing key `after` | add `after: …` here
    "]],
    );
    check(
        "",
        "hedge: {after: 0s}, ",
        &expect![[r"
        4:62 routes[0].hedge.after: 0s is out of range | write a duration from 1ms to 1m
    "]],
    );
    check(
        "",
        "hedge: {after: 50}, ",
        &expect![[r"
        4:62 routes[0].hedge.after: `50` has no unit | write it with one, such as `10s` or `250ms`
    "]],
    );
    check(
        "",
        "hedge: {afer: 50ms}, ",
        &expect![[r"
        4:55 routes[0].hedge: unknown key `afer` | did you mean `after`?
    "]],
    );
}
