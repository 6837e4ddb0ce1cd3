//! Answers that are held until they are whole, so that one that breaks off costs no request.

use std::time::{Duration, Instant};

use http::Method;

use crate::support::backend::Step::{AwaitClose, ReadHead, Reset, Wait};
use crate::support::backend::{Backend, Gate, Step, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
const HALF_CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n8\r\n";

fn two(retries: &str, first: &Backend, second: &Backend) -> TestGateway {
    let yaml = format!(
        r#"
limits: {{body_timeout: 100ms}}
defaults: {{retries: {{budget_reserve: 100, {retries}}}}}
upstreams:
  backend:
    static: ["${{FIRST}}", "${{SECOND}}"]
    load_balancer: round_robin
    outlier_detection: {{consecutive_gateway_failures: 0, success_rate: {{threshold: 0%}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, backends: [{{upstream: backend}}]}}
"#
    );
    let variables: [(&str, &dyn std::fmt::Display); 2] =
        [("FIRST", &first.address()), ("SECOND", &second.address())];
    TestGateway::start(&yaml, &variables)
}

#[test]
fn a_short_answer_that_breaks_off_is_asked_for_again_if_that_means_the_same() {
    const REQUESTS: usize = 20;
    let unknown = "hold_answers: {unknown_length: 10s}";
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    // What the bad endpoint does, under which rule, and how the client's request may end.
    let table: [(&str, Vec<Step>, &str, Method, bool); 10] = [
        ("its head", vec![write(head)], "", Method::GET, true),
        ("half of it", vec![write(HALF)], "", Method::GET, true),
        ("a reset", vec![write(HALF), Reset], "", Method::GET, true),
        (
            "silence",
            vec![write(HALF), AwaitClose],
            "",
            Method::GET,
            true,
        ),
        ("PUT", vec![write(HALF)], "", Method::PUT, true),
        (
            "chunks",
            vec![write(HALF_CHUNKED)],
            unknown,
            Method::GET,
            true,
        ),
        (
            "a stream",
            vec![write(HALF_CHUNKED)],
            "",
            Method::GET,
            false,
        ),
        ("POST", vec![write(HALF)], "", Method::POST, false),
        (
            "longer than is held",
            vec![write(HALF)],
            "hold_answers: {max_body: 9B}",
            Method::GET,
            false,
        ),
        (
            "not listed",
            vec![write(HALF)],
            "retry_on: [timeout]",
            Method::GET,
            false,
        ),
    ];
    for (name, steps, retries, method, are_all_good) in table {
        let steps = [ReadHead].into_iter().chain(steps);
        let bad = Backend::scripted(steps.collect::<Vec<_>>());
        let good = Backend::replying("good");
        let gateway = two(retries, &bad, &good);
        let mut broken = 0;
        for _ in 0..REQUESTS {
            match gateway.request(method.clone(), "/").try_fetch() {
                Ok(reply) => assert_eq!(reply.text(), "good", "{name}"),
                Err(_) => broken += 1,
            }
        }
        assert_eq!(broken == 0, are_all_good, "{name}: {broken} broke off");
        assert!(bad.requests() > 0, "{name}");
        let lines = gateway.access_lines(REQUESTS);
        let tries: u64 = lines.iter().filter_map(|line| line["tries"].as_u64()).sum();
        let lost = gateway
            .metrics()
            .value("gateway_upstream_held_answers_lost_total{upstream=\"backend\"}");
        assert_eq!(lost > 0, are_all_good, "{name}: {lost}");
        let seen = (bad.requests() + good.requests()) as u64;
        assert_eq!(tries, seen, "{name}: nothing is asked for unseen");
    }
}

#[test]
fn what_may_be_a_stream_or_is_long_or_slow_is_sent_on_as_it_comes() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 17000\r\n\r\nhalf";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (name, start, retries) in [
        ("of unknown length", chunked, "attempts: 2"),
        ("long", long, "attempts: 2"),
        ("slow", HALF, "per_try_timeout: 50ms"),
        (
            "of unknown length, slow",
            chunked,
            "hold_answers: {unknown_length: 50ms}",
        ),
    ] {
        let gate = Gate::closed();
        let backend = Backend::scripted([ReadHead, write(start), Wait(gate.clone())]);
        let gateway = TestGateway::with(&format!("defaults: {{retries: {{{retries}}}}}"), &backend);
        let mut wire = gateway.wire();
        wire.send(GET);
        // The rest of it does not come before the beginning is here.
        wire.wait_for("half");
        gate.open();
        drop(wire.try_rest());
        assert_eq!(backend.requests(), 1, "{name}");
    }
}

#[test]
fn a_whole_answer_is_never_waited_for_beyond_its_end() {
    let table = [
        (
            "a length",
            "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf",
            "half",
        ),
        (
            "chunks and a trailer",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "4\r\nhalf\r\n0\r\nx-sum: 8\r\n\r\n",
        ),
        ("no body", "HTTP/1.1 204 No Content\r\n\r\n", ""),
    ];
    for (name, first, second) in table {
        // The connection stays open: only the framing says that it is over.
        let gate = Gate::closed();
        gate.open();
        let steps = [
            ReadHead,
            write(first),
            Wait(gate),
            write(second),
            AwaitClose,
        ];
        let backend = Backend::scripted(steps);
        let retries = "defaults: {retries: {hold_answers: {unknown_length: 10s}}}";
        let gateway = TestGateway::with(retries, &backend);
        let began = Instant::now();
        let reply = gateway.get("/").fetch();
        assert!(began.elapsed() < Duration::from_secs(5), "{name}");
        let expected = if second.is_empty() { "" } else { "halfhalf" };
        assert_eq!(reply.text(), expected, "{name}");
        assert_eq!(backend.requests(), 1, "{name}");
    }
}
