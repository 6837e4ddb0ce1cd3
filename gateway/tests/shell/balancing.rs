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
