//! What `retries` and an upstream's `limits` mean.

use std::time::Duration;

use super::*;
use crate::cluster::Limits;
use crate::cluster::retry::{Backoff, Conditions, Hold, RetryPolicy, StatusMethods};

fn file(defaults: &str, route: &str, upstream: &str) -> String {
    format!(
        r#"
version: 1
upstreams: {{backend: {{static: ["127.0.0.1:9001"]{upstream}}}}}
defaults: {{retries: {{{defaults}}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, retries: {{{route}}}, backends: [{{upstream: backend}}]}}
"#
    )
}

fn policy(defaults: &str, route: &str) -> RetryPolicy {
    let mut routes = compiled(&file(defaults, route, "")).plan.routes;
    routes.remove(0).retries
}

fn ms(from: u64, to: u64) -> Backoff {
    Backoff {
        base: Duration::from_millis(from),
        max: Duration::from_millis(to),
    }
}

fn hold(bytes_max: usize, unknown_length: u64) -> Hold {
    Hold {
        bytes_max,
        unknown_length: Duration::from_millis(unknown_length),
    }
}

#[test]
fn a_file_that_says_nothing_gets_a_budget_and_retries_what_broke_off() {
    let policy = policy("", "");
    assert_eq!(policy.tries_max, 3);
    assert_eq!(policy.on, Conditions::default());
    assert_eq!(policy.status_methods, StatusMethods::Idempotent);
    assert_eq!((policy.budget_percent, policy.budget_reserve), (20, 3));
    assert_eq!(policy.backoff, ms(25, 250));
    assert_eq!(policy.body_bytes_max, 64 * 1024);
    assert_eq!(policy.hold, hold(16 * 1024, 0));
}

#[test]
fn each_key_of_a_route_stands_before_that_of_the_defaults() {
    let all = "retry_on: [503, reset, 429, 503], status_methods: all, budget_percent: 5, \
               budget_reserve: 0, backoff: {base: 0s, max: 0s}, max_body: 1KiB, \
               hold_answers: {max_body: 2KiB, unknown_length: 50ms}";
    for (defaults, route) in [
        (all, ""),
        (
            "retry_on: [timeout], budget_percent: 9, budget_reserve: 1, \
             hold_answers: {max_body: 0, unknown_length: 1s}",
            all,
        ),
    ] {
        let policy = policy(defaults, route);
        let expected = Conditions {
            connect_failure: false,
            reset: true,
            timeout: false,
            invalid_answer: false,
            statuses: vec![429, 503],
        };
        assert_eq!(policy.on, expected, "{defaults}");
        assert_eq!(policy.status_methods, StatusMethods::All);
        assert_eq!((policy.budget_percent, policy.budget_reserve), (5, 0));
        assert_eq!(policy.backoff, ms(0, 0));
        assert_eq!(policy.body_bytes_max, 1024);
        assert_eq!(policy.hold, hold(2048, 50));
    }
    let mixed = policy("backoff: {base: 10ms}", "backoff: {max: 1s}");
    assert_eq!(mixed.backoff, ms(10, 1000));
    let long = policy("", "backoff: {base: 2s}");
    assert_eq!(long.backoff, ms(2000, 2000), "the bound is never below");
}

#[test]
fn limits_of_an_upstream_have_generous_defaults_key_by_key() {
    let limits = |text| compiled(&file("", "", text)).plan.clusters[0].limits;
    assert_eq!(limits(""), Limits::default());
    let some = Limits {
        pending_max: 7,
        ..Limits::default()
    };
    assert_eq!(limits(", limits: {pending: 7}"), some);
    let all = Limits {
        connections_max: 1,
        pending_max: 2,
        requests_max: 3,
    };
    let text = ", limits: {connections: 1, pending: 2, requests: 3}";
    assert_eq!(limits(text), all);
}
