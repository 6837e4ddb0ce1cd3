//! What keeps an upstream's trouble from becoming worse: the budget of retries, its own word on
//! when to come back, bodies that can be sent again, deadlines, limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use reqwest::Body;

use crate::support::backend::Step::{ReadHead, ReadUntil, Reset, Wait};
use crate::support::backend::{Backend, Gate, echoed, full, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, fetch};
use crate::support::{Refusing, Unanswering, eventually, runtime};

/// Everything may be tried again, and at once: for rules that are not about the budget.
const FREE: &str = "budget_percent: 100, backoff: {base: 0s, max: 0s}";

fn two(retries: &str, first: &Backend, second: &Backend) -> TestGateway {
    let yaml = format!(
        r#"
defaults: {{retries: {{{FREE}, {retries}}}}}
upstreams: {{backend: {{static: ["${{FIRST}}", "${{SECOND}}"]}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, backends: [{{upstream: backend}}]}}
"#
    );
    let variables: [(&str, &dyn std::fmt::Display); 2] =
        [("FIRST", &first.address()), ("SECOND", &second.address())];
    TestGateway::start(&yaml, &variables)
}

fn limited(limits: &str, addresses: &[&dyn std::fmt::Display]) -> TestGateway {
    let addresses: Vec<_> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
    let addresses = addresses.join(", ");
    let yaml = format!(
        r"
upstreams: {{backend: {{static: [{addresses}], limits: {{{limits}}}, connect_timeout: 10s}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, backends: [{{upstream: backend}}]}}
"
    );
    TestGateway::start(&yaml, &[])
}

/// Answers with this status at first, and with 200 from the `good_from`th request on.
fn failing(status: u16, good_from: usize, retry_after: Option<&'static str>) -> Backend {
    let count = Arc::new(AtomicUsize::new(0));
    Backend::answering(move |_request| {
        let nth = count.fetch_add(1, Ordering::SeqCst);
        async move {
            let response = Response::builder();
            if nth >= good_from {
                return response.body(full("good")).expect("a response");
            }
            let response = response.status(status).header("x-mark", "kept");
            let response = match retry_after {
                Some(value) => response.header("retry-after", value),
                None => response,
            };
            response.body(full("busy")).expect("a response")
        }
    })
}

#[test]
fn a_dead_upstream_gets_a_fifth_more_than_was_offered_at_the_most() {
    const REQUESTS: u64 = 500;
    let refusing = Refusing::new();
    let resetting = Backend::scripted([ReadHead, Reset]);
    for address in [refusing.address(), resetting.address()] {
        let yaml = r#"
defaults: {retries: {backoff: {base: 0s, max: 0s}}}
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#;
        let gateway = TestGateway::start(yaml, &[("BACKEND", &address)]);
        for _ in 0..REQUESTS {
            assert_eq!(gateway.get("/").fetch().status(), 502);
        }
        let metrics = gateway.metrics();
        let value = |name: &str| metrics.value(&format!("{name}{{upstream=\"backend\"}}"));
        let tries = value("gateway_upstream_tries_total");
        let denied = value("gateway_upstream_retries_denied_total");
        println!("{address}: {tries} tries for {REQUESTS} requests, {denied} retries denied");
        // However fast they come: five sixths of a fifth, and the reserve.
        let share = REQUESTS / 6 + 3;
        assert!(tries <= REQUESTS + share, "{tries}, not {share} more");
        assert!(tries > REQUESTS, "some are granted");
        assert!(denied >= REQUESTS - share, "{denied}");
        assert_eq!(
            value("gateway_upstream_retries_total"),
            tries - REQUESTS,
            "{address}"
        );
    }
    let seen = resetting.requests() as u64;
    assert!((REQUESTS..=REQUESTS * 12 / 10).contains(&seen), "{seen}");
}

#[test]
fn a_listed_status_is_tried_again_where_that_means_the_same_or_the_file_says_all() {
    const REQUESTS: usize = 20;
    for (retries, method, is_repeated) in [
        ("retry_on: [503]", Method::GET, true),
        ("retry_on: [502, 503]", Method::PUT, true),
        ("retry_on: [502]", Method::GET, false),
        ("attempts: 2", Method::GET, false),
        ("retry_on: [503]", Method::POST, false),
        ("retry_on: [503], status_methods: all", Method::POST, true),
    ] {
        let (bad, good) = (failing(503, usize::MAX, None), Backend::replying("good"));
        let gateway = two(retries, &bad, &good);
        let mut passed = 0;
        for _ in 0..REQUESTS {
            let reply = gateway.request(method.clone(), "/").body("body").fetch();
            match (reply.status(), &*reply.text()) {
                (200, "good") => {}
                (503, "busy") => passed += 1,
                other => panic!("{retries} {method}: {other:?}"),
            }
        }
        assert!(bad.requests() > 0, "{retries} {method}: try again");
        if is_repeated {
            assert_eq!(
                (passed, good.requests()),
                (0, REQUESTS),
                "{retries} {method}"
            );
        } else {
            assert_eq!(bad.requests(), passed, "{retries} {method}");
            assert_eq!(bad.requests() + good.requests(), REQUESTS);
        }
    }
}

#[test]
fn when_all_tries_are_used_up_the_client_gets_the_upstreams_own_answer() {
    let backend = failing(503, usize::MAX, None);
    let settings = format!("defaults: {{retries: {{retry_on: [503], {FREE}}}}}");
    let gateway = TestGateway::with(&settings, &backend);
    let reply = gateway.get("/").fetch();
    assert_eq!((reply.status(), &*reply.text()), (503, "busy"));
    assert_eq!(reply.header("x-mark").as_deref(), Some("kept"));
    assert_eq!(backend.requests(), 3);
    assert_eq!(gateway.access_lines(1)[0]["tries"], 3);
}

#[test]
fn an_answer_that_is_thrown_away_leaves_its_connection_usable() {
    let backend = failing(503, 2, None);
    let settings = format!("defaults: {{retries: {{retry_on: [503], {FREE}}}}}");
    let gateway = TestGateway::with(&settings, &backend);
    assert_eq!(gateway.get("/").fetch().text(), "good");
    assert_eq!((backend.requests(), backend.connections()), (3, 1));
}

#[test]
fn an_answer_that_is_still_coming_is_not_waited_for() {
    let never = Gate::closed();
    let head = "HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\nnever";
    let bad = Backend::scripted([ReadHead, write(head), Wait(never)]);
    let good = Backend::replying("good");
    let gateway = two("retry_on: [503]", &bad, &good);
    for _ in 0..20 {
        assert_eq!(gateway.get("/").fetch().text(), "good");
    }
    assert!(bad.requests() > 0, "try again");
}

#[test]
fn an_upstream_is_not_asked_again_before_it_says() {
    let backend = failing(429, 1, Some("1"));
    let settings = format!("defaults: {{retries: {{retry_on: [429], {FREE}}}}}");
    let gateway = TestGateway::with(&settings, &backend);
    let began = Instant::now();
    assert_eq!(gateway.get("/").fetch().text(), "good");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(backend.requests(), 2);
}

#[test]
fn an_upstream_that_wants_more_time_than_there_is_left_is_not_waited_for() {
    let backend = failing(503, 1, Some("3600"));
    let settings = format!("defaults: {{timeout: 10s, retries: {{retry_on: [503], {FREE}}}}}");
    let gateway = TestGateway::with(&settings, &backend);
    let began = Instant::now();
    let reply = gateway.get("/").fetch();
    assert_eq!((reply.status(), &*reply.text()), (503, "busy"));
    assert_eq!(reply.header("retry-after").as_deref(), Some("3600"));
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(backend.requests(), 1);
}

#[test]
fn a_body_is_sent_again_up_to_its_bound_however_it_is_framed() {
    const REQUESTS: usize = 10;
    let text = |bytes: usize| format!("{}END", "x".repeat(bytes - 3));
    for (retries, bytes, is_chunked, is_repeated) in [
        ("attempts: 2", 64 * 1024, false, true),
        ("attempts: 2", 64 * 1024, true, true),
        ("attempts: 2", 64 * 1024 + 1, false, false),
        ("attempts: 2", 64 * 1024 + 1, true, false),
        ("max_body: 10", 10, false, true),
        ("max_body: 10", 11, true, false),
        ("max_body: 0", 3, false, false),
        ("attempts: 0", 3, false, false),
    ] {
        let case = format!("{retries}, {bytes} bytes, chunked {is_chunked}");
        let (bad, good) = (
            Backend::scripted([ReadUntil("END"), Reset]),
            Backend::echo(),
        );
        let gateway = two(retries, &bad, &good);
        let mut refused = 0;
        for _ in 0..REQUESTS {
            let body = text(bytes);
            let body = if is_chunked {
                let pieces = body.as_bytes().chunks(4000).map(Bytes::copy_from_slice);
                let frames = pieces.map(Frame::data).map(Ok::<_, Infallible>);
                let frames: Vec<_> = frames.collect();
                Body::wrap(StreamBody::new(futures_util::stream::iter(frames)))
            } else {
                Body::from(body)
            };
            let reply = gateway.request(Method::PUT, "/").body(body).fetch();
            match reply.status() {
                200 => assert!(reply.json()["body"] == text(bytes), "{case}"),
                502 => refused += 1,
                other => panic!("{case}: {other}"),
            }
        }
        if is_repeated {
            assert_eq!((refused, good.requests()), (0, REQUESTS), "{case}");
        } else {
            assert_eq!(good.requests() + refused, REQUESTS, "{case}");
            assert_eq!(bad.connections(), refused, "{case}");
        }
    }
}

#[test]
fn upstreams_learn_how_long_they_may_take_and_never_longer_than_the_client_waits() {
    let backend = Backend::echo();
    let settings = "defaults: {timeout: 5s}";
    let gateway = TestGateway::with(settings, &backend);
    let sent = |request: reqwest::RequestBuilder, name: &str| {
        let echo = request.fetch().json();
        let values = echoed(&echo, name);
        assert!(values.len() < 2, "{values:?}");
        values.first().map(|value| (*value).to_owned())
    };
    let millis = |value: Option<String>| {
        let value = value.expect("the header");
        value
            .parse::<u64>()
            .unwrap_or_else(|error| panic!("{error}: {value}"))
    };
    let name = "x-request-deadline";
    for _ in 0..3 {
        assert!((1..5000).contains(&millis(sent(gateway.get("/"), name))));
    }
    for (received, is_kept) in [("1200", true), ("60000", false), ("soon", false)] {
        let left = millis(sent(gateway.get("/").header(name, received), name));
        assert_eq!(left == 1200, is_kept, "{received}: {left}");
        assert!(left < 5000);
    }
    let underscored = sent(
        gateway.get("/").header("x_request_deadline", "1"),
        "x_request_deadline",
    );
    assert_eq!(underscored, None);
    let grpc = |kind: &'static str, timeout: Option<&'static str>| {
        let request = gateway.post("/").header("content-type", kind);
        match timeout {
            Some(timeout) => request.header("grpc-timeout", timeout),
            None => request,
        }
    };
    let name = "grpc-timeout";
    assert_eq!(sent(grpc("application/json", None), name), None);
    let kept = sent(grpc("application/grpc+proto", Some("1200m")), name);
    assert_eq!(kept.as_deref(), Some("1200m"));
    for timeout in [None, Some("1H"), Some("soon")] {
        let value = sent(grpc("application/grpc", timeout), name).expect("one is added");
        let left = value.strip_suffix('m').expect("milliseconds").to_owned();
        assert!(
            (1..5000).contains(&millis(Some(left))),
            "{timeout:?}: {value}"
        );
    }
}

#[test]
fn a_trusted_proxys_deadline_is_kept_and_what_does_not_meet_it_is_not_the_endpoints_fault() {
    const REQUESTS: usize = 8;
    let never = Gate::closed();
    let hanging = never.clone();
    let backend = Backend::answering(move |_request| {
        let gate = hanging.clone();
        async move {
            gate.pass().await;
            Response::new(full("never"))
        }
    });
    for (trusted, deadline, is_kept) in [
        ("127.0.0.0/8", "20", true),
        ("127.0.0.0/8", "soon", false),
        ("127.0.0.0/8", "60000", false),
        ("10.0.0.0/8", "20", false),
    ] {
        let settings = format!(
            "forwarded: {{trusted_proxies: [{trusted}]}}\ndefaults: {{timeout: 600ms, retries: {{attempts: 0}}}}"
        );
        let gateway = TestGateway::with(&settings, &backend);
        let case = format!("{trusted} {deadline}");
        for _ in 0..if is_kept { REQUESTS } else { 1 } {
            let began = Instant::now();
            let request = gateway.get("/").header("x-request-deadline", deadline);
            assert_eq!(request.fetch().verdict(), "504 upstream_timeout", "{case}");
            let is_early = began.elapsed() < Duration::from_millis(500);
            assert!(is_early || !is_kept, "{case}: {:?}", began.elapsed());
            assert!(
                is_kept || began.elapsed() >= Duration::from_millis(590),
                "{case}"
            );
        }
        let healthy = "gateway_upstream_endpoints{upstream=\"backend\",state=\"healthy\"}";
        assert_eq!(gateway.metrics().value(healthy), 1, "{case}");
    }
}

#[test]
fn requests_beyond_the_limit_fail_at_once_and_those_within_it_do_not() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let backend = Backend::answering(move |_request| {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            Response::new(full("done"))
        }
    });
    let gateway = limited("requests: 3", &[&backend.address()]);
    let requests: Vec<_> = (0..3).map(|_| fetch(gateway.get("/"))).collect();
    let all = runtime().spawn(join_all(requests));
    eventually("all are under way", || {
        (backend.in_flight() == 3).then_some(())
    });
    for _ in 0..5 {
        let reply = gateway.post("/").body("body").fetch();
        assert_eq!(reply.verdict(), "503 upstream_overloaded");
        assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
    }
    let in_flight = "gateway_upstream_requests_in_flight{upstream=\"backend\"}";
    assert_eq!(gateway.metrics().value(in_flight), 3);
    gate.open();
    for reply in runtime().block_on(all).expect("no panic") {
        assert_eq!(reply.expect("an answer").status(), 200);
    }
    gateway.wait_for_metric(in_flight, 0);
    assert_eq!(gateway.get("/").fetch().text(), "done");
    assert_eq!(
        backend.requests(),
        4,
        "none of those beyond the limit was sent"
    );
    let refused = "gateway_answers_by_reason_total{route=\"all\",reason=\"upstream_overloaded\"}";
    assert_eq!(gateway.metrics().value(refused), 5);
}

#[test]
fn few_may_wait_for_a_connection() {
    let silent = Unanswering::new();
    let gateway = limited("pending: 2", &[&silent.address()]);
    let requests: Vec<_> = (0..2).map(|_| fetch(gateway.get("/"))).collect();
    let waiting = runtime().spawn(join_all(requests));
    let pending = "gateway_upstream_requests_pending{upstream=\"backend\"}";
    gateway.wait_for_metric(pending, 2);
    let reply = gateway.get("/").fetch();
    assert_eq!(reply.verdict(), "503 upstream_overloaded");
    let line = &gateway.access_lines(1)[0];
    assert_eq!(
        (&line["detail"], line["tries"].as_u64()),
        (&"pending".into(), Some(0))
    );
    let tries = "gateway_upstream_tries_total{upstream=\"backend\"}";
    assert_eq!(
        gateway.metrics().value(tries),
        2,
        "what was refused is no try"
    );
    waiting.abort();
    // Clients that go away make room.
    gateway.wait_for_metric(pending, 0);
}

#[test]
fn connections_are_limited_and_idle_ones_make_room() {
    let gate = Gate::closed();
    let waiting = gate.clone();
    let slow = Backend::answering(move |_request| {
        let gate = waiting.clone();
        async move {
            gate.pass().await;
            Response::new(full("done"))
        }
    });
    let gateway = limited("connections: 1", &[&slow.address()]);
    let first = runtime().spawn(fetch(gateway.get("/")));
    eventually("it is under way", || (slow.in_flight() == 1).then_some(()));
    let reply = gateway.get("/").fetch();
    assert_eq!(reply.verdict(), "503 upstream_overloaded");
    assert_eq!(gateway.access_lines(1)[0]["detail"], "connections");
    gate.open();
    let first = runtime().block_on(first).expect("no panic");
    assert_eq!(first.expect("an answer").status(), 200);

    // Idle connections to one endpoint do not keep out the other.
    let backends = [Backend::replying("a"), Backend::replying("b")];
    let addresses = backends.each_ref().map(Backend::address);
    let gateway = limited("connections: 1", &[&addresses[0], &addresses[1]]);
    let mut wire = gateway.wire();
    for _ in 0..50 {
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(wire.receive().status, 200);
    }
    assert!(backends.iter().all(|backend| backend.requests() > 0));
    let open = "gateway_upstream_connections{upstream=\"backend\"}";
    assert_eq!(gateway.metrics().value(open), 1);
}
