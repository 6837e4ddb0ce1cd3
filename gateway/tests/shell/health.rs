//! Endpoints that fail are left out, and come back when they are well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, Response};

use crate::support::backend::Step::{AwaitClose, ReadHead, Reset};
use crate::support::backend::{Backend, Gate, full, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, fetch};
use crate::support::{Refusing, eventually, runtime};

/// A service that can be told to fail, and that answers checks at `/healthz` apart.
struct Patient {
    backend: Backend,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    status: AtomicUsize,
    check_status: AtomicUsize,
    checks: AtomicUsize,
    requests: AtomicUsize,
}

impl Patient {
    fn answering(status: usize) -> Self {
        let state = Arc::new(State::default());
        let seen = Arc::clone(&state);
        let backend = Backend::answering(move |request| {
            let is_check = request.uri().path() == "/healthz";
            let (count, status) = if is_check {
                (&seen.checks, &seen.check_status)
            } else {
                (&seen.requests, &seen.status)
            };
            count.fetch_add(1, Ordering::SeqCst);
            let status = status.load(Ordering::SeqCst);
            async move {
                let mut response = Response::new(full("patient"));
                let status = u16::try_from(status).expect("a status");
                *response.status_mut() = status.try_into().expect("a status");
                response
            }
        });
        let patient = Self { backend, state };
        patient.answer(status);
        patient.answer_checks(status);
        patient
    }

    fn answer(&self, status: usize) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    fn answer_checks(&self, status: usize) {
        self.state.check_status.store(status, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    fn checks(&self) -> usize {
        self.state.checks.load(Ordering::SeqCst)
    }
}

/// Two endpoints, `${BAD}` and `${GOOD}`, of an upstream with these keys.
fn file(keys: &str) -> String {
    format!(
        r#"
upstreams: {{backend: {{static: ["${{BAD}}", "${{GOOD}}"], load_balancer: round_robin, {keys}}}}}
routes:
  - name: all
    match: {{path_prefix: /}}
    auth: none
    retries: {{per_try_timeout: 100ms}}
    backends: [{{upstream: backend}}]
"#
    )
}

fn endpoints(gateway: &TestGateway, state: &str) -> u64 {
    let series = format!("gateway_upstream_endpoints{{upstream=\"backend\",state=\"{state}\"}}");
    gateway.metrics().value(&series)
}

fn ejections(gateway: &TestGateway, reason: &str) -> u64 {
    let series =
        format!("gateway_upstream_ejections_total{{upstream=\"backend\",reason=\"{reason}\"}}");
    gateway.metrics().value(&series)
}

fn wait_for_endpoints(gateway: &TestGateway, state: &str, count: u64) {
    let series = format!("gateway_upstream_endpoints{{upstream=\"backend\",state=\"{state}\"}}");
    gateway.wait_for_metric(&series, count);
}

#[test]
fn an_endpoint_that_answers_5xx_in_a_row_is_left_out() {
    let (bad, good) = (Patient::answering(503), Patient::answering(200));
    let keys = "outlier_detection: {consecutive_5xx: 3, ejection_time: 5m}";
    let gateway = TestGateway::start(
        &file(keys),
        &[
            ("BAD", &bad.backend.address()),
            ("GOOD", &good.backend.address()),
        ],
    );
    eventually("it is ejected", || {
        gateway.get("/").fetch();
        (endpoints(&gateway, "ejected") == 1).then_some(())
    });
    for _ in 0..50 {
        assert_eq!(gateway.get("/").fetch().status(), 200);
    }
    assert_eq!(bad.requests(), 3);
    assert_eq!(ejections(&gateway, "consecutive_5xx"), 1);
}

#[test]
fn one_that_answers_5xx_is_not_left_out_for_that_unless_the_file_says_so() {
    let (bad, good) = (Patient::answering(503), Patient::answering(200));
    let gateway = TestGateway::start(
        &file(""),
        &[
            ("BAD", &bad.backend.address()),
            ("GOOD", &good.backend.address()),
        ],
    );
    eventually("it has had many", || {
        gateway.get("/").fetch();
        (bad.requests() >= 10).then_some(())
    });
    assert_eq!(endpoints(&gateway, "healthy"), 2);
}

#[test]
fn one_that_hangs_or_resets_is_left_out_and_costs_no_request_that_may_be_repeated() {
    for script in [vec![AwaitClose], vec![ReadHead, Reset]] {
        let bad = Backend::scripted(script);
        let good = Patient::answering(200);
        let keys = "outlier_detection: {consecutive_gateway_failures: 3, ejection_time: 5m}";
        let gateway = TestGateway::start(
            &file(keys),
            &[("BAD", &bad.address()), ("GOOD", &good.backend.address())],
        );
        eventually("it is ejected", || {
            assert_eq!(gateway.get("/").fetch().status(), 200);
            (endpoints(&gateway, "ejected") == 1).then_some(())
        });
        for _ in 0..50 {
            assert_eq!(gateway.get("/").fetch().status(), 200);
        }
        assert_eq!(bad.connections(), 3);
        assert_eq!(ejections(&gateway, "consecutive_gateway_failures"), 1);
    }
}

#[test]
fn one_request_finds_out_that_an_endpoint_is_well_again() {
    let gate = Gate::closed();
    let (at, held) = (Arc::new(AtomicUsize::new(0)), gate.clone());
    let count = Arc::clone(&at);
    let bad = Backend::answering(move |_request| {
        let (number, gate) = (count.fetch_add(1, Ordering::SeqCst), held.clone());
        async move {
            let mut response = Response::new(full("back"));
            if number == 0 {
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            } else {
                gate.pass().await;
            }
            response
        }
    });
    let good = Patient::answering(200);
    let keys = "outlier_detection: {consecutive_5xx: 1, ejection_time: 100ms}";
    let yaml = file(keys).replace("per_try_timeout: 100ms", "per_try_timeout: 1m");
    let yaml = yaml.replace("retries:", "timeout: 1m\n    retries:");
    let gateway = TestGateway::start(
        &yaml,
        &[("BAD", &bad.address()), ("GOOD", &good.backend.address())],
    );
    let probe = eventually("a probe is under way", || {
        let request = runtime().spawn(fetch(gateway.get("/")));
        eventually("it is answered, or held", || {
            (request.is_finished() || bad.in_flight() == 1).then_some(())
        });
        (bad.in_flight() == 1).then_some(request)
    });
    assert_eq!(endpoints(&gateway, "probing"), 1);
    for _ in 0..50 {
        assert_eq!(gateway.get("/").fetch().text(), "patient");
    }
    assert_eq!(at.load(Ordering::SeqCst), 2);
    gate.open();
    let reply = runtime().block_on(probe).expect("no panic");
    assert_eq!(reply.expect("an answer").text(), "back");
    wait_for_endpoints(&gateway, "healthy", 2);
    let returns = "gateway_upstream_returns_total{upstream=\"backend\"}";
    assert_eq!(gateway.metrics().value(returns), 1);
}

#[test]
fn of_two_that_refuse_one_stays_in_use() {
    let (bad, worse) = (Refusing::new(), Refusing::new());
    let gateway = TestGateway::start(
        &file("outlier_detection: {ejection_time: 5m}"),
        &[("BAD", &bad.address()), ("GOOD", &worse.address())],
    );
    for _ in 0..5 {
        let reply = gateway.get("/").fetch();
        assert_eq!(reply.reason(), "upstream_connect_failure");
    }
    let states = ["healthy", "ejected"].map(|state| endpoints(&gateway, state));
    assert_eq!(states, [1, 1]);
    let refused = "gateway_upstream_ejections_refused_total{upstream=\"backend\"}";
    assert!(gateway.metrics().value(refused) > 0);
}

#[test]
fn an_endpoint_with_too_few_good_answers_is_left_out() {
    let flips = AtomicUsize::new(0);
    let bad = Backend::answering(move |_request| {
        let is_good = flips.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            let mut response = Response::new(full("now and then"));
            if !is_good {
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            }
            response
        }
    });
    let good = Patient::answering(200);
    let keys =
        "outlier_detection: {success_rate: {min_requests: 5, window: 4s}, ejection_time: 5m}";
    let gateway = TestGateway::start(
        &file(keys),
        &[("BAD", &bad.address()), ("GOOD", &good.backend.address())],
    );
    eventually("it is ejected", || {
        for _ in 0..10 {
            gateway.get("/").fetch();
        }
        (ejections(&gateway, "success_rate") == 1).then_some(())
    });
    for _ in 0..50 {
        assert_eq!(gateway.get("/").fetch().status(), 200);
    }
}

#[test]
fn an_endpoint_whose_answers_break_off_is_left_out_though_their_heads_are_good() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let bad = Backend::scripted([ReadHead, write(half)]);
    let good = Patient::answering(200);
    let keys =
        "outlier_detection: {success_rate: {min_requests: 5, window: 4s}, ejection_time: 5m}";
    let gateway = TestGateway::start(
        &file(keys),
        &[("BAD", &bad.address()), ("GOOD", &good.backend.address())],
    );
    eventually("it is ejected", || {
        for _ in 0..10 {
            // Half of them break off; none of them can be tried again.
            drop(gateway.request(Method::POST, "/").try_fetch());
        }
        (ejections(&gateway, "success_rate") == 1).then_some(())
    });
    for _ in 0..50 {
        assert_eq!(gateway.get("/").fetch().status(), 200);
    }
}

const CHECK: &str = "health_check: {path: /healthz, interval: 100ms, unhealthy_threshold: 1}";

#[test]
fn an_endpoint_that_fails_its_checks_gets_no_requests_until_it_passes_them() {
    let (bad, good) = (Patient::answering(200), Patient::answering(200));
    let gateway = TestGateway::start(
        &file(CHECK),
        &[
            ("BAD", &bad.backend.address()),
            ("GOOD", &good.backend.address()),
        ],
    );
    for round in 1..=2 {
        bad.answer_checks(503);
        wait_for_endpoints(&gateway, "unhealthy", 1);
        let before = bad.requests();
        for _ in 0..50 {
            assert_eq!(gateway.get("/").fetch().status(), 200);
        }
        assert_eq!(bad.requests(), before, "{round}");
        bad.answer_checks(204);
        wait_for_endpoints(&gateway, "healthy", 2);
        eventually("it is used again", || {
            gateway.get("/").fetch();
            (bad.requests() > before).then_some(())
        });
    }
    let checks = gateway.metrics();
    let passed = "gateway_health_checks_total{upstream=\"backend\",outcome=\"passed\"}";
    assert!(checks.value(passed) > 0);
    assert!(good.checks() > 0);
}

#[test]
fn whatever_a_check_meets_but_the_answer_it_wants_is_a_failure() {
    let hanging = Backend::scripted([AwaitClose]);
    let resetting = Backend::scripted([ReadHead, Reset]);
    let refusing = Refusing::new();
    let redirecting = Patient::answering(302);
    for address in [
        hanging.address(),
        resetting.address(),
        refusing.address(),
        redirecting.backend.address(),
    ] {
        let good = Patient::answering(200);
        let gateway = TestGateway::start(
            &file(CHECK),
            &[("BAD", &address), ("GOOD", &good.backend.address())],
        );
        wait_for_endpoints(&gateway, "unhealthy", 1);
        for _ in 0..20 {
            assert_eq!(gateway.get("/").fetch().status(), 200);
        }
        assert_eq!(good.requests(), 20);
        // No request had to find out.
        let tries = gateway.metrics();
        assert_eq!(
            tries.value("gateway_upstream_tries_total{upstream=\"backend\"}"),
            20
        );
    }
}

#[test]
fn when_all_fail_their_checks_all_are_used() {
    let (first, second) = (Patient::answering(200), Patient::answering(200));
    first.answer_checks(500);
    second.answer_checks(500);
    let gateway = TestGateway::start(
        &file(CHECK),
        &[
            ("BAD", &first.backend.address()),
            ("GOOD", &second.backend.address()),
        ],
    );
    wait_for_endpoints(&gateway, "unhealthy", 2);
    let panic = "gateway_upstream_panic{upstream=\"backend\"}";
    assert_eq!(gateway.metrics().value(panic), 1);
    eventually("both are used", || {
        assert_eq!(gateway.get("/").fetch().status(), 200);
        (first.requests() > 0 && second.requests() > 0).then_some(())
    });
    second.answer_checks(200);
    gateway.wait_for_metric(panic, 0);
}
