//! Which endpoint gets a request, and what is counted against it.

use futures_util::future::join_all;
use http::Response;

use crate::support::backend::{Backend, Gate, full};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, fetch};
use crate::support::{eventually, runtime};

/// Answers when the gate opens.
fn waiting(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::answering(move |_request| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Response::new(full("done"))
        }
    })
}

#[test]
fn load_is_even_while_requests_are_under_way() {
    const REQUESTS: usize = 120;
    let gate = Gate::closed();
    let backends = [waiting(&gate), waiting(&gate), waiting(&gate)];
    let gateway = TestGateway::start(
        r#"
workers: 2
upstreams: {backend: {static: ["${A}", "${B}", "${C}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &[
            ("A", &backends[0].address()),
            ("B", &backends[1].address()),
            ("C", &backends[2].address()),
        ],
    );
    let requests: Vec<_> = (0..REQUESTS).map(|_| fetch(gateway.get("/"))).collect();
    let all = runtime().spawn(join_all(requests));
    let in_flight = || backends.iter().map(Backend::in_flight).sum::<usize>();
    eventually("all are under way", || {
        (in_flight() == REQUESTS).then_some(())
    });
    gateway.wait_for_metric("gateway_requests_in_flight", 120);
    for backend in &backends {
        let peak = backend.in_flight_peak();
        // Chance alone would spread them by a standard deviation of 5.
        assert!((36..=44).contains(&peak), "{peak}");
    }
    gate.open();
    for reply in runtime().block_on(all).expect("no panic") {
        assert_eq!(reply.expect("an answer").status(), 200);
    }
    gateway.wait_for_metric("gateway_requests_in_flight", 0);
}

#[test]
fn a_slow_endpoint_gets_fewer_requests() {
    let gate = Gate::closed();
    let (slow, fast) = (waiting(&gate), Backend::replying("fast"));
    let gateway = TestGateway::start(
        r#"
upstreams: {backend: {static: ["${SLOW}", "${FAST}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &[("SLOW", &slow.address()), ("FAST", &fast.address())],
    );
    // Until the slow one has taken one, each draw is a toss; from then on it is the busier one.
    while slow.in_flight() == 0 {
        let request = runtime().spawn(fetch(gateway.get("/")));
        eventually("one of them has it", || {
            (request.is_finished() || slow.in_flight() == 1).then_some(())
        });
    }
    let before = slow.requests();
    for _ in 0..50 {
        assert_eq!(gateway.get("/").fetch().text(), "fast");
    }
    assert_eq!(slow.requests(), before);
    gate.open();
}

#[test]
fn backends_share_requests_by_weight() {
    let (many, few, none) = (
        Backend::replying("a"),
        Backend::replying("b"),
        Backend::replying("c"),
    );
    let gateway = TestGateway::start(
        r#"
upstreams: {many: {static: ["${MANY}"]}, few: {static: ["${FEW}"]}, none: {static: ["${NONE}"]}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: none
    backends: [{upstream: many, weight: 80}, {upstream: none, weight: 0}, {upstream: few, weight: 20}]
"#,
        &[
            ("MANY", &many.address()),
            ("FEW", &few.address()),
            ("NONE", &none.address()),
        ],
    );
    let mut wire = gateway.wire();
    for _ in 0..1000 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(wire.receive().status, 200);
    }
    // Five standard deviations of 12.6.
    assert!(
        (737..=863).contains(&many.requests()),
        "{}",
        many.requests()
    );
    assert_eq!(many.requests() + few.requests(), 1000);
    assert_eq!(none.requests(), 0);
    let metrics = gateway.metrics();
    let series = |name: &str| {
        format!("gateway_requests_total{{route=\"all\",upstream=\"{name}\",status_class=\"2xx\"}}")
    };
    assert_eq!(metrics.value(&series("many")), many.requests() as u64);
    assert_eq!(metrics.value(&series("few")), few.requests() as u64);
}

#[test]
fn connections_to_an_upstream_are_used_again() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    for _ in 0..50 {
        // Each from a client of its own.
        let mut wire = gateway.wire();
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        assert_eq!(wire.last_answer().status, 200);
    }
    assert_eq!((backend.requests(), backend.connections()), (50, 1));
}

/// Three upstream endpoints that name themselves.
fn three() -> [Backend; 3] {
    ["a", "b", "c"].map(Backend::replying)
}

fn start(yaml: &str, [a, b, c]: &[Backend; 3]) -> TestGateway {
    let (a, b, c) = (a.address(), b.address(), c.address());
    TestGateway::start(yaml, &[("A", &a), ("B", &b), ("C", &c)])
}

#[test]
fn turns_are_taken_by_all() {
    let backends = three();
    let gateway = start(
        r#"
workers: 1
upstreams: {backend: {static: ["${A}", "${B}", "${C}"], load_balancer: round_robin}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &backends,
    );
    for _ in 0..30 {
        assert_eq!(gateway.get("/").fetch().status(), 200);
    }
    assert_eq!(backends.each_ref().map(Backend::requests), [10; 3]);
}

#[test]
fn a_key_keeps_its_endpoint() {
    let backends = three();
    let gateway = start(
        r#"
workers: 2
upstreams:
  backend:
    static: ["${A}", "${B}", "${C}"]
    load_balancer: {consistent_hash: {cookie: sid}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &backends,
    );
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20 {
        let answer = || {
            let request = gateway.get("/").header("cookie", format!("a=b; sid={key}"));
            request.fetch().text()
        };
        let first = answer();
        for _ in 0..5 {
            assert_eq!(answer(), first, "{key}");
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 3, "keys are spread: {seen:?}");
    assert_eq!(gateway.get("/").fetch().status(), 200);
    let metrics = gateway.metrics();
    for (origin, count) in [("key_home", 120), ("key_missing", 1)] {
        let series =
            format!("gateway_upstream_picks_total{{upstream=\"backend\",origin=\"{origin}\"}}");
        assert_eq!(metrics.value(&series), count, "{origin}");
    }
}

#[test]
fn a_client_sticks_to_its_backend() {
    let backends = three();
    let gateway = start(
        r#"
upstreams: {old: {static: ["${A}", "${B}"]}, new: {static: ["${C}"]}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: none
    sticky: {header: x-user}
    backends: [{upstream: old, weight: 50}, {upstream: new, weight: 50}]
"#,
        &backends,
    );
    let mut new = 0;
    for user in 0..40 {
        let is_new = || gateway.get("/").header("x-user", user).fetch().text() == "c";
        let first = is_new();
        for _ in 0..5 {
            assert_eq!(is_new(), first, "{user}");
        }
        new += u32::from(first);
    }
    assert!((5..=35).contains(&new), "{new} of 40 users get the new one");
}

#[test]
fn a_worker_uses_a_part_of_a_large_set_and_says_how_much() {
    let backends: Vec<_> = (0..12).map(|_| Backend::replying("ok")).collect();
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let quoted = addresses.iter().map(|it| format!("{it:?}"));
    let list = quoted.collect::<Vec<_>>().join(", ");
    let gateway = TestGateway::start(
        &format!(
            "
workers: 1
upstreams:
  part: {{static: [{list}], load_balancer: {{aperture: {{min_endpoints: 8}}}}}}
  whole: {{static: [{list}]}}
routes:
  - {{name: part, match: {{path: /part}}, auth: none, backends: [{{upstream: part}}]}}
  - {{name: whole, match: {{path: /whole}}, auth: none, backends: [{{upstream: whole}}]}}
"
        ),
        &[],
    );
    let used = |path| {
        let before: Vec<_> = backends.iter().map(Backend::requests).collect();
        for _ in 0..200 {
            assert_eq!(gateway.get(path).fetch().status(), 200);
        }
        let more = backends.iter().zip(before);
        more.filter(|(backend, before)| backend.requests() > *before)
            .count()
    };
    // One more where the window moves on meanwhile.
    assert!(matches!(used("/part"), 8 | 9));
    assert_eq!(used("/whole"), 12);
    let metrics = gateway.metrics();
    for (upstream, endpoints) in [("part", 8), ("whole", 12)] {
        let series = format!("gateway_upstream_aperture_endpoints{{upstream=\"{upstream}\"}}");
        assert_eq!(metrics.value(&series), endpoints, "{upstream}");
    }
}

#[test]
fn an_empty_subset_fails_unless_any_endpoint_will_do() {
    let backends = three();
    let gateway = start(
        r#"
upstreams: {backend: {static: ["${A}", "${B}", "${C}"]}}
routes:
  - name: strict
    match: {path: /strict}
    auth: none
    backends: [{upstream: backend, subset: {version: v2}}]
  - name: any
    match: {path: /any}
    auth: none
    backends: [{upstream: backend, subset: {version: v2}, when_empty: any_endpoint}]
"#,
        &backends,
    );
    let refused = gateway.get("/strict").fetch();
    assert_eq!((refused.status(), &*refused.reason()), (503, "no_endpoint"));
    assert_eq!(gateway.get("/any").fetch().status(), 200);
    let metrics = gateway.metrics();
    let series = "gateway_upstream_subset_fallbacks_total{upstream=\"backend\"}";
    assert_eq!(metrics.value(series), 1);
}
