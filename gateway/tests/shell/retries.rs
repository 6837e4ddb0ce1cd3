//! Tries after the first: made where the request cannot have been carried out, or where carrying
//! it out twice means the same; never otherwise.

use std::time::{Duration, Instant};

use http::Method;

use crate::support::backend::Step::{AwaitClose, ReadHead, ReadUntil, Reset, Wait};
use crate::support::backend::{Backend, Gate, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::{Refusing, Unanswering, eventually};

/// With a budget for every request, for half of the endpoints are bad.
const TWO: &str = r#"
defaults: {retries: {budget_percent: 100}}
upstreams: {backend: {static: ["${FIRST}", "${SECOND}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn an_endpoint_that_refuses_costs_no_request_and_is_left_out() {
    let (bad, good) = (Refusing::new(), Backend::echo());
    let gateway = TestGateway::start(
        TWO,
        &[("FIRST", &bad.address()), ("SECOND", &good.address())],
    );
    for _ in 0..50 {
        for method in [Method::GET, Method::POST] {
            let reply = gateway.request(method, "/").body("body").fetch();
            assert_eq!(reply.status(), 200);
            assert_eq!(reply.json()["body"], "body");
        }
    }
    assert_eq!(good.requests(), 100);
    let metrics = gateway.metrics();
    // 1 s after the first failure it is tried once more; not for each request.
    let failures = metrics.value("gateway_upstream_connect_failures_total{upstream=\"backend\"}");
    assert!((1..=4).contains(&failures), "{failures}");
    let retries = metrics.value("gateway_upstream_retries_total{upstream=\"backend\"}");
    assert_eq!(retries, failures);
    assert_eq!(
        metrics.value("gateway_upstream_endpoints{upstream=\"backend\",state=\"ejected\"}"),
        1
    );
    assert_eq!(
        metrics.value("gateway_upstream_endpoints{upstream=\"backend\",state=\"healthy\"}"),
        1
    );
}

#[test]
fn an_endpoint_that_does_not_answer_a_connection_costs_connect_timeout_once() {
    let (bad, good) = (Unanswering::new(), Backend::replying("good"));
    let gateway = TestGateway::start(
        r#"
upstreams: {backend: {static: ["${FIRST}", "${SECOND}"], connect_timeout: 200ms}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &[("FIRST", &bad.address()), ("SECOND", &good.address())],
    );
    let began = Instant::now();
    for _ in 0..30 {
        assert_eq!(gateway.post("/").body("body").fetch().text(), "good");
    }
    let metrics = gateway.metrics();
    let failures = metrics.value("gateway_upstream_connect_failures_total{upstream=\"backend\"}");
    // It is left out for 1, 2, 4, … s, and each time tried by one request of this one client.
    let most = 2 + u64::from((1 + began.elapsed().as_secs()).ilog2());
    assert!((1..=most).contains(&failures), "{failures}, not {most}");
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_request_that_broke_off_is_sent_again_only_if_that_means_the_same() {
    for (method, is_repeated) in [
        (Method::GET, true),
        (Method::HEAD, true),
        (Method::OPTIONS, true),
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        let bad = Backend::scripted([ReadHead, Reset]);
        let good = Backend::replying("good");
        let gateway = TestGateway::start(
            TWO,
            &[("FIRST", &bad.address()), ("SECOND", &good.address())],
        );
        // Enough that the bad one is drawn with near certainty.
        let mut refused = 0;
        for _ in 0..20 {
            let reply = gateway.request(method.clone(), "/").fetch();
            match reply.status() {
                200 => {}
                502 => {
                    assert_eq!(reply.reason(), "upstream_reset");
                    refused += 1;
                }
                other => panic!("{method}: {other}"),
            }
        }
        assert!(bad.requests() > 0, "{method}: try again");
        if is_repeated {
            assert_eq!((refused, good.requests()), (0, 20), "{method}");
        } else {
            // Each was sent once, to one of the two.
            assert_eq!(bad.requests(), refused, "{method}");
            assert_eq!(good.requests(), 20 - refused, "{method}");
        }
    }
}

#[test]
fn a_body_that_has_gone_is_sent_again_only_if_that_means_the_same() {
    for (method, is_repeated) in [
        (Method::PUT, true),
        (Method::DELETE, true),
        (Method::POST, false),
        (Method::PATCH, false),
    ] {
        let bad = Backend::scripted([ReadUntil("whole body"), Reset]);
        let good = Backend::echo();
        let gateway = TestGateway::start(
            TWO,
            &[("FIRST", &bad.address()), ("SECOND", &good.address())],
        );
        let mut refused = 0;
        for _ in 0..20 {
            let request = gateway.request(method.clone(), "/").body("whole body");
            let reply = request.fetch();
            match reply.status() {
                200 => assert_eq!(reply.json()["body"], "whole body"),
                502 => refused += 1,
                other => panic!("{method}: {other}"),
            }
        }
        assert!(bad.connections() > 0, "{method}: try again");
        if is_repeated {
            assert_eq!((refused, good.requests()), (0, 20), "{method}");
        } else {
            assert_eq!(good.requests() + refused, 20, "{method}");
            assert_eq!(bad.connections(), refused, "{method}");
        }
    }
}

#[test]
fn connections_that_the_upstream_has_closed_cost_nothing() {
    let gate = Gate::closed();
    let backend = Backend::scripted([ReadHead, write(OK), Wait(gate.clone())]);
    // Without a second try, so that nothing hides behind one.
    let gateway = TestGateway::with("defaults: {retries: {attempts: 0}}", &backend);
    for round in 1..=3 {
        for method in [Method::GET, Method::POST] {
            let reply = gateway.request(method, "/").body("body").fetch();
            assert_eq!((reply.status(), &*reply.text()), (200, "ok"), "{round}");
            gateway.wait_for_metric("gateway_upstream_connections_idle", 1);
            gate.open_once();
            gateway.wait_for_metric("gateway_upstream_connections_idle", 0);
        }
    }
    assert_eq!((backend.connections(), backend.requests()), (6, 6));
}

#[test]
fn a_connection_that_closes_just_as_it_is_used_costs_no_request_that_may_be_repeated() {
    // Closes right behind its answer, without having said so.
    let backend = Backend::scripted([ReadHead, write(OK)]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for round in 0..200 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(wire.receive().status, 200, "{round}");
    }
    assert_eq!(backend.requests(), 200, "each was answered once");
}

#[test]
fn a_post_is_never_sent_twice_whatever_the_connection_does() {
    let backend = Backend::scripted([ReadHead, write(OK), ReadHead, Reset]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
        statuses.push(wire.receive().status);
    }
    assert_eq!(statuses, [200, 502, 200, 502]);
    assert_eq!(backend.requests(), 4);
}

#[test]
fn the_number_of_tries_is_what_the_file_says() {
    for (attempts, tries) in [(0, 1), (1, 2), (5, 6)] {
        let backend = Backend::scripted([ReadHead, Reset]);
        let settings =
            format!("defaults: {{retries: {{attempts: {attempts}, budget_reserve: 10}}}}");
        let gateway = TestGateway::with(&settings, &backend);
        assert_eq!(gateway.get("/").fetch().reason(), "upstream_reset");
        assert_eq!(backend.requests(), tries);
        assert_eq!(gateway.access_lines(1)[0]["tries"], tries);
    }
}

#[test]
fn tries_end_with_the_routes_time() {
    let backend = Backend::scripted([AwaitClose]);
    let settings = "defaults: {timeout: 100ms, retries: {attempts: 5}}";
    let gateway = TestGateway::with(settings, &backend);
    assert_eq!(gateway.get("/").fetch().reason(), "upstream_timeout");
    eventually("the connection is given up", || {
        (backend.connections() == 1).then_some(())
    });
}
