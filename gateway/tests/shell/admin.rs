//! What the gateway says about itself, and its bounds.

use std::collections::BTreeMap;

use gateway::dev::registry::{Directory, Registry};
use serde_json::json;

use crate::support::backend::Step::{ReadHead, Wait};
use crate::support::backend::{Backend, Gate};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::wire::Answer;
use crate::support::{eventually, runtime};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn the_admin_listener_answers_what_it_serves_and_nothing_else() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let health = gateway.admin("/healthz");
    assert_eq!(
        (health.status(), health.json()),
        (200, json!({"status": "ok"}))
    );
    let ready = gateway.admin("/readyz");
    assert_eq!(
        (ready.status(), ready.json()),
        (200, json!({"status": "ready"}))
    );
    assert_eq!(gateway.admin("/elsewhere").status(), 404);
    // What it serves belongs to routes elsewhere.
    assert_eq!(gateway.get("/healthz").fetch().text(), "ok");
    let metrics = gateway.admin("/metrics");
    assert_eq!(
        metrics.header("content-type").as_deref(),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
}

#[test]
fn counters_tell_what_has_happened() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for _ in 0..3 {
        wire.send(GET);
        wire.receive();
    }
    wire.send("GET / HTTP/1.1\r\n\r\n");
    wire.receive();
    let metrics = gateway.metrics();
    for (series, value) in [
        (
            "gateway_requests_total{route=\"all\",upstream=\"backend\",status_class=\"2xx\"}",
            3,
        ),
        (
            "gateway_requests_total{route=\"none\",upstream=\"none\",status_class=\"4xx\"}",
            1,
        ),
        (
            "gateway_answers_by_reason_total{route=\"none\",reason=\"host_invalid\"}",
            1,
        ),
        ("gateway_request_duration_seconds_count{route=\"all\"}", 3),
        (
            "gateway_upstream_duration_seconds_count{upstream=\"backend\"}",
            3,
        ),
        ("gateway_upstream_tries_total{upstream=\"backend\"}", 3),
        ("gateway_upstream_retries_total{upstream=\"backend\"}", 0),
        (
            "gateway_upstream_connections_opened_total{upstream=\"backend\"}",
            1,
        ),
        (
            "gateway_upstream_connect_failures_total{upstream=\"backend\"}",
            0,
        ),
        (
            "gateway_upstream_endpoints{upstream=\"backend\",state=\"healthy\"}",
            1,
        ),
        (
            "gateway_upstream_endpoints{upstream=\"backend\",state=\"ejected\"}",
            0,
        ),
        ("gateway_connections_opened_total", 1),
        ("gateway_connections", 1),
        ("gateway_requests_in_flight", 0),
        ("gateway_access_log_lines_dropped_total", 0),
        ("gateway_ready", 1),
    ] {
        assert_eq!(metrics.value(series), value, "{series}");
    }
    drop(wire);
    gateway.wait_for_metric("gateway_connections", 0);
}

#[test]
fn every_histogram_is_cumulative_and_ends_with_infinity() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    for _ in 0..5 {
        gateway.get("/").fetch();
    }
    let metrics = gateway.metrics();
    for name in [
        "gateway_request_duration_seconds",
        "gateway_upstream_duration_seconds",
    ] {
        assert_eq!(metrics.types[name], "histogram");
        let counts: BTreeMap<_, _> = metrics
            .series(&format!("{name}_count"))
            .into_iter()
            .collect();
        for (series, count) in &counts {
            let labels = &series[format!("{name}_count{{").len()..series.len() - 1];
            let mut buckets: Vec<(f64, u64)> = metrics
                .series(&format!("{name}_bucket"))
                .into_iter()
                .filter(|(bucket, _)| bucket.contains(labels))
                .map(|(bucket, value)| (upper_bound(bucket), value))
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.len() > 10, "{series}");
            assert!(
                buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
                "{buckets:?}"
            );
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{series}");
            let finite = buckets.len() - 1;
            assert!(
                buckets[..finite].iter().all(|(bound, _)| *bound < 1e6),
                "{buckets:?}"
            );
        }
        let sum = metrics.seconds(&format!("{name}_sum"));
        assert!(sum > 0.0 && sum < 60.0, "{sum}");
    }
}

fn upper_bound(bucket: &str) -> f64 {
    let from = bucket.find("le=\"").expect("a bound") + 4;
    let bound = &bucket[from..];
    let bound = &bound[..bound.find('"').expect("its end")];
    match bound {
        "+Inf" => f64::INFINITY,
        number => number.parse().expect("a number"),
    }
}

#[test]
fn an_access_line_says_what_became_of_a_request() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("GET /a?secret HTTP/1.1\r\nhost: a.example\r\n\r\n");
    let id = wire.receive().header("x-request-id");
    let line = gateway.access_lines(1).remove(0);
    for (name, value) in [
        ("message", json!("request")),
        ("level", json!("info")),
        ("method", json!("GET")),
        ("path", json!("/a")),
        ("host", json!("a.example")),
        ("status", json!(200)),
        ("route", json!("all")),
        ("upstream", json!("backend")),
        ("endpoint", json!(backend.address().to_string())),
        ("tries", json!(1)),
        ("bytes_sent", json!(2)),
        ("client", json!("127.0.0.1")),
        ("request_id", json!(id)),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert!(
        line["time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{line}"
    );
    assert!(
        line["duration_us"].as_u64() >= line["upstream_us"].as_u64(),
        "{line}"
    );
    assert!(!line.to_string().contains("secret"), "{line}");
    assert_eq!(line.get("reason"), None);
}

/// Routes to a service that Cloud Map knows.
const DISCOVERED: &str = r#"
upstreams: {users: {cloud_map: {namespace: test.local, service: users, endpoint: "${REGISTRY}", interval: 1s}}}
routes:
  - {name: users, match: {path_prefix: /}, auth: none, backends: [{upstream: users}]}
"#;

fn instance(backend: &Backend) -> BTreeMap<String, String> {
    let address = backend.address();
    BTreeMap::from([
        ("AWS_INSTANCE_IPV4".into(), address.ip().to_string()),
        ("AWS_INSTANCE_PORT".into(), address.port().to_string()),
    ])
}

#[test]
fn endpoints_come_and_go_with_cloud_map() {
    let random = fastrand::Rng::with_seed(1);
    let directory = Directory::new("test.local", &[("srv-users", "users")], random);
    let registry = runtime()
        .block_on(Registry::start(directory.clone()))
        .expect("it starts");
    let gateway = TestGateway::start(DISCOVERED, &[("REGISTRY", &registry.url())]);

    // A service without instances is an answer too.
    eventually("it is ready", || {
        (gateway.admin("/readyz").status() == 200).then_some(())
    });
    let reply = gateway.get("/").fetch();
    assert_eq!((reply.status(), &*reply.reason()), (503, "no_endpoint"));
    assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
    assert_eq!(gateway.access_lines(1)[0]["tries"], 0);

    let (first, second) = (Backend::replying("first"), Backend::replying("second"));
    directory
        .register("srv-users", "first", instance(&first))
        .expect("a good instance");
    eventually("the first is found", || {
        (gateway.get("/").fetch().status() == 200).then_some(())
    });
    directory
        .register("srv-users", "second", instance(&second))
        .expect("a good instance");
    directory
        .deregister("srv-users", "first")
        .expect("it is there");
    eventually("the second has taken over", || {
        gateway
            .get("/")
            .fetch()
            .text()
            .contains("second")
            .then_some(())
    });
}

#[test]
fn readiness_waits_for_the_first_answer_of_discovery() {
    let gate = Gate::closed();
    // Takes the question, and answers when the test says so.
    let registry = Backend::scripted([ReadHead, Wait(gate.clone())]);
    let url = format!("http://{}", registry.address());
    let gateway = TestGateway::start(DISCOVERED, &[("REGISTRY", &url)]);
    eventually("it asks", || (registry.requests() > 0).then_some(()));
    let ready = gateway.admin("/readyz");
    assert_eq!(ready.status(), 503);
    assert_eq!(
        ready.json()["waiting_for"],
        json!(["endpoints of upstream `users`"])
    );
    assert_eq!(gateway.metrics().value("gateway_ready"), 0);
    assert_eq!(
        gateway.admin("/healthz").status(),
        200,
        "alive all the same"
    );
    gate.open();
    // It closes without an answer: that is none.
    gateway.wait_for_failed_discovery();
    assert_eq!(gateway.admin("/readyz").status(), 503);
}

#[test]
fn connections_beyond_the_limit_are_refused_with_an_answer() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("limits: {connections: 2}", &backend);
    let mut open = [gateway.wire(), gateway.wire()];
    for wire in &mut open {
        wire.send(GET);
        assert_eq!(wire.receive().status, 200);
    }
    for _ in 0..20 {
        let mut wire = gateway.wire();
        // More than one read's worth, which nobody reads.
        wire.try_send(format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
            "y".repeat(20_000)
        ));
        let answer = wire.last_answer();
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["code"], "overloaded");
        assert_eq!(answer.header("retry-after").as_deref(), Some("1"));
        assert!(answer.says_close());
    }
    assert_eq!(
        gateway.metrics().value("gateway_connections_refused_total"),
        20
    );
    // Those that are open go on, and a place that is given up can be taken.
    open[0].send(GET);
    assert_eq!(open[0].receive().status, 200);
    drop(open);
    eventually("there is room again", || {
        let mut wire = gateway.wire();
        wire.try_send(GET);
        (wire.receive().status == 200).then_some(())
    });
}

#[test]
fn a_connection_carries_as_many_requests_as_it_may() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("limits: {requests_per_connection: 3}", &backend);
    let mut wire = gateway.wire();
    // The fourth is in the same packet, and must not be taken.
    wire.send(GET.repeat(4));
    let answers = wire.all_answers();
    let closing: Vec<_> = answers.iter().map(Answer::says_close).collect();
    assert_eq!(closing, [false, false, true]);
    assert_eq!(backend.requests(), 3);
}

#[test]
fn a_client_that_wants_the_connection_closed_gets_it_closed() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nConnection: Close\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(request);
        assert_eq!(wire.last_answer().text(), "ok");
    }
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    let answer = wire.receive();
    assert_eq!(answer.header("connection").as_deref(), Some("keep-alive"));
}
