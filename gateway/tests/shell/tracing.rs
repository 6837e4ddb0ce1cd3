//! Traces: what a collector gets, what the next hop is told, and that requests never wait for it.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, Response, StatusCode};
use mesh::client::Client;
use mesh::otlp::{self, PlainHttp, Protocol, Resource, TRACES_PATH};
use mesh::service::{self, Settings, Tracing};
use mesh::shutdown::Signal;
use mesh::testing::{Running, seeded_store, settings};
use users_svc::User;

use crate::support::backend::{Backend, Gate, echoed, full};
use crate::support::collector::{CLIENT, Collected, Collector, SERVER, hex, text};
use crate::support::gateway::{ONE_ROUTE, TestGateway};
use crate::support::http_client::Fetch as _;
use crate::support::{PATIENCE, Refusing, eventually, runtime};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const DROPPED: &str = "gateway_trace_spans_total{outcome=\"dropped\"}";
const EXPORTED: &str = "gateway_trace_spans_total{outcome=\"exported\"}";
const FAILED: &str = "gateway_trace_spans_total{outcome=\"failed\"}";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A gateway that exports to this address, with more of `tracing`.
fn tracing_to(collector: &dyn Display, more: &str, backend: &dyn Display) -> TestGateway {
    let yaml = format!(
        "tracing: {{endpoint: \"http://${{COLLECTOR}}\", interval: 10ms, {more}}}\n{ONE_ROUTE}"
    );
    TestGateway::start(&yaml, &[("COLLECTOR", collector), ("BACKEND", backend)])
}

/// The spans of one kind.
fn of_kind(spans: &[Collected], kind: i32) -> Vec<&Collected> {
    let spans = spans.iter();
    spans.filter(|it| it.span.kind == kind).collect()
}

/// A service that exports to this collector.
fn service_settings(collector: &Collector) -> Settings {
    Settings {
        tracing: Some(Tracing {
            export: otlp::Settings {
                protocol: Protocol::HttpProtobuf,
                headers: HeaderMap::new(),
                resource: Resource::new("users-svc", "1"),
                queue_max: 64,
                batch_max: 64,
                interval: Duration::from_millis(10),
            },
            collector: service::Collector::Plain(PlainHttp {
                client: Client::new(PATIENCE),
                url: format!("http://{}{TRACES_PATH}", collector.address()),
            }),
            root_ratio: 0.0,
        }),
        ..settings()
    }
}

#[test]
fn the_spans_of_gateway_service_and_database_are_one_trace() {
    let collector = Collector::start();
    let users = Running::start(service_settings(&collector), seeded_store::<User>());
    let users = runtime().block_on(users);
    let yaml = r#"
tracing: {endpoint: "http://${COLLECTOR}", interval: 10ms, resource: {team: a}, headers: {x-key: {env: KEY}}}
upstreams: {users: {static: ["${USERS}"]}}
routes:
  - {name: users, match: {path_pattern: "/users/{id}"}, auth: none, backends: [{upstream: users}]}
"#;
    let variables: [(&str, &dyn Display); 3] = [
        ("COLLECTOR", &collector.address()),
        ("USERS", &users.address),
        ("KEY", &"a secret"),
    ];
    let gateway = TestGateway::start(yaml, &variables);
    let request = gateway.get("/users/1");
    let request = request.header("traceparent", traceparent("01"));
    let reply = request.header("user-agent", "a test").fetch();
    assert_eq!(reply.status(), 200, "{}", reply.text());

    let spans = collector.wait_for(4);
    assert_eq!(spans.len(), 4, "{spans:?}");
    assert!(spans.iter().all(|it| it.trace_id() == TRACE), "{spans:?}");
    let find = |service: &str, kind| {
        let of_service = of_kind(&spans, kind);
        let mut of_service = of_service.into_iter().filter(|it| it.service == service);
        of_service.next().unwrap_or_else(|| panic!("{spans:?}"))
    };
    let (request, attempt) = (find("gateway", SERVER), find("gateway", CLIENT));
    let (served, query) = (find("users-svc", SERVER), find("users-svc", CLIENT));
    assert_eq!(hex(&request.span.parent_span_id), PARENT);
    assert!(attempt.is_child_of(request));
    assert!(served.is_child_of(attempt));
    assert!(query.is_child_of(served));
    for (outer, inner) in [(request, attempt), (served, query)] {
        assert!(outer.span.start_time_unix_nano <= inner.span.start_time_unix_nano);
        assert!(inner.span.end_time_unix_nano <= outer.span.end_time_unix_nano);
    }

    assert_eq!(request.span.name, "GET /users/{id}");
    assert_eq!(attempt.span.name, "GET");
    assert_eq!(served.span.name, "GET /users/{id}");
    assert_eq!(query.span.name, "get users");
    let address = users.address.ip().to_string();
    let port = gateway.address().port().to_string();
    for (span, name, value) in [
        (request, "http.request.method", "GET"),
        (request, "http.route", "/users/{id}"),
        (request, "http.response.status_code", "200"),
        (request, "url.path", "/users/1"),
        (request, "url.scheme", "http"),
        (request, "server.address", "127.0.0.1"),
        (request, "server.port", &port),
        (request, "client.address", "127.0.0.1"),
        (request, "network.protocol.version", "1.1"),
        (request, "user_agent.original", "a test"),
        (request, "gateway.route", "users"),
        (request, "gateway.upstream", "users"),
        (attempt, "server.address", &address),
        (attempt, "server.port", &users.address.port().to_string()),
        (attempt, "http.response.status_code", "200"),
        (served, "http.response.status_code", "200"),
        (query, "db.system.name", "sqlite"),
        (query, "db.operation.name", "get"),
    ] {
        assert_eq!(span.get(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(attempt.get("http.request.resend_count"), None);
    assert_eq!(text(&request.resource, "team").as_deref(), Some("a"));
    let all = format!("{spans:?}");
    assert!(!all.contains("secret"), "{all}");
    let (path, head) = &collector.exports()[0];
    assert_eq!(path, "/v1/traces");
    let is_keyed = |(_, head): &(String, HeaderMap)| head.get("x-key").is_some();
    assert!(collector.exports().iter().any(is_keyed), "{head:?}");
    gateway.wait_for_metric(EXPORTED, 2);
}

#[test]
fn each_try_has_a_span_and_the_upstream_is_told_of_its_own() {
    let collector = Collector::start();
    let is_first = AtomicBool::new(true);
    let backend = Backend::answering(move |request| {
        let is_first = is_first.swap(false, Ordering::Relaxed);
        let trace = request.headers()["traceparent"]
            .to_str()
            .unwrap_or("?")
            .to_owned();
        async move {
            let mut answer = Response::new(full(trace));
            if is_first {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            answer
        }
    });
    let yaml = r#"
tracing: {endpoint: "http://${COLLECTOR}", protocol: http/json, interval: 10ms, sampling: {rate: 100%}}
upstreams: {backend: {static: ["${BACKEND}", "${REFUSING}"], load_balancer: round_robin}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: none
    retries: {attempts: 3, retry_on: [connect_failure, 503], budget_percent: 100}
    backends: [{upstream: backend}]
"#;
    let refusing = Refusing::new();
    let variables: [(&str, &dyn Display); 3] = [
        ("COLLECTOR", &collector.address()),
        ("BACKEND", &backend.address()),
        ("REFUSING", &refusing.address()),
    ];
    let gateway = TestGateway::start(yaml, &variables);
    let reply = gateway.get("/").fetch();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let spans = collector.wait_for(4);
    let requests = of_kind(&spans, SERVER);
    let tries = of_kind(&spans, CLIENT);
    assert_eq!((requests.len(), tries.len()), (1, 3), "{spans:?}");
    assert!(tries.iter().all(|it| it.is_child_of(requests[0])));
    let ends = tries.iter().map(|it| {
        let end = it.get("error.type").or(it.get("http.response.status_code"));
        (it.get("http.request.resend_count"), end)
    });
    let mut ends: Vec<_> = ends.collect();
    let number = |number: &str| Some(number.to_owned());
    let numbers: Vec<_> = ends.iter().map(|(number, _)| number.clone()).collect();
    assert_eq!(numbers, [None, number("1"), number("2")]);
    ends.sort_by(|a, b| a.1.cmp(&b.1));
    let ends: Vec<_> = ends.into_iter().filter_map(|(_, end)| end).collect();
    assert_eq!(ends, ["200", "503", "upstream_connect_failure"]);
    let last = hex(&tries[2].span.span_id);
    assert_eq!(
        reply.text(),
        format!("00-{}-{last}-01", tries[2].trace_id())
    );
}

#[test]
fn a_hedge_has_a_span_and_the_one_that_was_given_up_says_so() {
    let collector = Collector::start();
    let never = Gate::closed();
    let hanging = Backend::answering(move |_request| {
        let never = never.clone();
        async move {
            never.pass().await;
            Response::new(full("late"))
        }
    });
    let good = Backend::replying("good");
    let yaml = r#"
tracing: {endpoint: "http://${COLLECTOR}", interval: 10ms, sampling: {rate: 100%}}
upstreams: {backend: {static: ["${HANGING}", "${GOOD}"], load_balancer: round_robin}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: none
    hedge: {after: 10ms}
    retries: {budget_percent: 100}
    backends: [{upstream: backend}]
"#;
    let variables: [(&str, &dyn Display); 3] = [
        ("COLLECTOR", &collector.address()),
        ("HANGING", &hanging.address()),
        ("GOOD", &good.address()),
    ];
    let gateway = TestGateway::start(yaml, &variables);
    // Of two in turn one begins at the endpoint that hangs, whatever the turn begins with.
    for _ in 0..2 {
        assert_eq!(gateway.get("/").fetch().text(), "good");
    }
    gateway.stop(Signal::Interrupt);
    gateway.join();
    let spans = collector.spans();
    let (requests, tries) = (of_kind(&spans, SERVER), of_kind(&spans, CLIENT));
    let is_given_up = |it: &&Collected| it.get("error.type").as_deref() == Some("given_up");
    let (given_up, answered): (Vec<_>, Vec<_>) = tries.into_iter().partition(is_given_up);
    assert_eq!((requests.len(), answered.len()), (2, 2), "{spans:?}");
    assert!(!given_up.is_empty(), "{spans:?}");
    for lost in given_up {
        let request = requests.iter().find(|it| lost.is_child_of(it));
        let request = request.unwrap_or_else(|| panic!("{spans:?}"));
        let won = answered.iter().find(|it| it.is_child_of(request));
        let resends = won.and_then(|it| it.get("http.request.resend_count"));
        assert_eq!(resends.as_deref(), Some("1"));
    }
}

#[test]
fn what_is_not_sampled_leaves_no_span_and_the_next_hop_is_told_so() {
    let collector = Collector::start();
    let backend = Backend::echo();
    let gateway = tracing_to(
        &collector.address(),
        "sampling: {rate: 0%}, b3: {send: single}",
        &backend.address(),
    );
    let sent = |headers: &[(&str, &str)]| {
        let mut request = gateway.get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.fetch().json();
        ["traceparent", "b3"].map(|name| echoed(&reply, name).concat())
    };
    let [root, b3] = sent(&[]);
    assert!(
        root.ends_with("-00") && b3.ends_with("-0"),
        "{root:?} {b3:?}"
    );
    let [child, _] = sent(&[("traceparent", &traceparent("00"))]);
    assert!(child.contains(TRACE) && child.ends_with("-00"), "{child:?}");
    let [child, _] = sent(&[("b3", &format!("{TRACE}-{PARENT}-0"))]);
    assert!(child.contains(TRACE) && child.ends_with("-00"), "{child:?}");
    // One that is sampled comes last: before it nothing has come.
    let [child, b3] = sent(&[("b3", &format!("{TRACE}-{PARENT}-1"))]);
    assert!(child.contains(TRACE) && child.ends_with("-01"), "{child:?}");
    assert!(b3.contains(TRACE) && b3.ends_with("-1"), "{b3:?}");
    assert!(!b3.contains(PARENT), "{b3:?}");
    let spans = collector.wait_for(2);
    assert_eq!(spans.len(), 2, "{spans:?}");
}

#[test]
fn a_refusal_is_a_span_with_the_reason() {
    let collector = Collector::start();
    let refusing = Refusing::new();
    let gateway = tracing_to(
        &collector.address(),
        "sampling: {rate: 100%}",
        &refusing.address(),
    );
    assert_eq!(
        gateway
            .request(http::Method::POST, "/a?token=secret")
            .fetch()
            .status(),
        502
    );
    let spans = collector.wait_for(2);
    let request = of_kind(&spans, SERVER)[0];
    assert!(!format!("{spans:?}").contains("secret"), "{spans:?}");
    assert_eq!(request.span.name, "POST /*");
    assert_eq!(
        request.get("http.response.status_code").as_deref(),
        Some("502")
    );
    assert_eq!(
        request.get("error.type").as_deref(),
        Some("upstream_connect_failure")
    );
    assert_eq!(
        request.span.status.as_ref().map(|status| status.code),
        Some(2)
    );
}

#[test]
fn a_trace_state_goes_on_only_with_the_trace_that_it_belongs_to() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    for (parent, expected) in [(traceparent("01"), 1), ("00-bad".to_owned(), 0)] {
        let request = gateway.get("/").header("tracestate", "vendor=1");
        let reply = request.header("traceparent", parent).fetch().json();
        assert_eq!(echoed(&reply, "tracestate").len(), expected);
    }
}

#[test]
fn requests_do_not_notice_a_collector_that_is_away_and_spans_are_dropped_and_counted() {
    const REQUESTS: u64 = 200;
    let refusing = Refusing::new();
    let backend = Backend::replying("good");
    let gateway = tracing_to(
        &refusing.address(),
        "sampling: {rate: 100%}, queue_size: 64, batch_size: 8",
        &backend.address(),
    );
    for _ in 0..REQUESTS {
        assert_eq!(gateway.get("/").fetch().text(), "good");
    }
    // All but the queue and the batch that is tried again and again, which may be smaller than
    // allowed where not many had come when it was made.
    let kept = 64 + 1..=64 + 8;
    eventually("spans are dropped", || {
        let dropped = gateway.metrics().value(DROPPED);
        kept.contains(&(2 * REQUESTS - dropped)).then_some(())
    });
    assert_eq!(gateway.metrics().value(EXPORTED), 0);
    // It leaves all the same.
    gateway.stop(Signal::Interrupt);
    gateway.join();
}

#[test]
fn what_the_collector_refuses_is_counted_and_a_process_that_leaves_sends_what_it_has() {
    let collector = Collector::start();
    let backend = Backend::replying("good");
    let yaml = "sampling: {rate: 100%}, batch_size: 2";
    let gateway = tracing_to(&collector.address(), yaml, &backend.address());
    collector.answer(StatusCode::BAD_REQUEST);
    assert_eq!(gateway.get("/").fetch().text(), "good");
    gateway.wait_for_metric(FAILED, 2);
    collector.answer(StatusCode::OK);
    assert_eq!(gateway.get("/").fetch().text(), "good");
    gateway.stop(Signal::Interrupt);
    gateway.join();
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn buckets_have_the_trace_of_their_last_sampled_request_as_an_exemplar() {
    let collector = Collector::start();
    let backend = Backend::replying("good");
    let gateway = tracing_to(
        &collector.address(),
        "sampling: {rate: 0%}",
        &backend.address(),
    );
    assert_eq!(gateway.get("/").fetch().status(), 200);
    assert_eq!(gateway.metrics().exemplars, []);
    let request = gateway.get("/").header("traceparent", traceparent("01"));
    assert_eq!(request.fetch().status(), 200);
    // Spans are noted where exemplars are.
    collector.wait_for(2);
    let exemplars = gateway.metrics().exemplars;
    for family in ["gateway_request_duration", "gateway_upstream_duration"] {
        let of_family = |(line, _): &&(String, String)| line.starts_with(family);
        let found: Vec<_> = exemplars.iter().filter(of_family).collect();
        let [(line, exemplar)] = &found[..] else {
            panic!("{exemplars:?}");
        };
        assert!(line.contains("_seconds_bucket{"), "{line}");
        let labels = format!("{{trace_id=\"{TRACE}\"}} ");
        assert!(exemplar.starts_with(&labels), "{exemplar}");
        let numbers = exemplar[labels.len()..].split(' ');
        assert_eq!(numbers.filter(|it| it.parse::<f64>().is_ok()).count(), 2);
    }
}
