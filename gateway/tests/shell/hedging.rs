//! A second try at another endpoint while the first is slow.

use std::time::{Duration, Instant};

use http::{Method, Response};

use crate::support::backend::{Backend, Gate, full};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, fetch};
use crate::support::{eventually, runtime};

/// Answers once the gate lets it.
fn behind(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::answering(move |_request| {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            Response::new(full("late"))
        }
    })
}

/// One route with a hedge; endpoints take turns, and none is left out.
fn hedging(route: &str, retries: &str, backends: &[&Backend]) -> TestGateway {
    let addresses: Vec<_> = backends
        .iter()
        .map(|it| format!("\"{}\"", it.address()))
        .collect();
    let addresses = addresses.join(", ");
    let yaml = format!(
        r"
upstreams:
  backend:
    static: [{addresses}]
    load_balancer: round_robin
    outlier_detection: {{max_ejected: 0%}}
routes:
  - name: all
    match: {{path_prefix: /}}
    auth: none
    {route}
    retries: {{{retries}}}
    backends: [{{upstream: backend}}]
"
    );
    TestGateway::start(&yaml, &[])
}

fn hedges(gateway: &TestGateway, outcome: &str) -> u64 {
    let labels = format!("upstream=\"backend\",outcome=\"{outcome}\"");
    gateway
        .metrics()
        .value(&format!("gateway_upstream_hedges_total{{{labels}}}"))
}

#[test]
fn with_one_endpoint_of_three_that_hangs_all_answers_come_in_time_and_it_is_given_up() {
    const REQUESTS: u64 = 30;
    let never = Gate::closed();
    let hanging = behind(&never);
    let (one, two) = (Backend::replying("good"), Backend::replying("good"));
    let gateway = hedging(
        "hedge: {after: 20ms}",
        "budget_percent: 100",
        &[&hanging, &one, &two],
    );
    let mut times = Vec::new();
    for _ in 0..REQUESTS {
        let began = Instant::now();
        assert_eq!(gateway.get("/").fetch().text(), "good");
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!(
        "median {:?}, slowest {:?}",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    // Without a second try a third of them would have taken the route's 10 s.
    assert!(times[times.len() - 1] < Duration::from_secs(5));
    assert!(hanging.requests() >= 5, "try again");
    // On a busy machine a good one may be slow too.
    let won = hedges(&gateway, "won");
    let hedged = won + hedges(&gateway, "lost");
    assert!(
        won > 0 && hanging.requests() as u64 <= hedged,
        "{won} {hedged}"
    );
    eventually("connections of those who lost are closed", || {
        (hanging.in_flight() == 0).then_some(())
    });
    let lines = gateway.access_lines(times.len());
    let tries = lines.iter().filter_map(|line| line["tries"].as_u64());
    assert_eq!(tries.sum::<u64>(), REQUESTS + hedged);
    let total = gateway
        .metrics()
        .value("gateway_upstream_tries_total{upstream=\"backend\"}");
    assert_eq!(total, REQUESTS + hedged);
    let in_flight = "gateway_upstream_requests_in_flight{upstream=\"backend\"}";
    gateway.wait_for_metric(in_flight, 0);
}

#[test]
fn the_first_answer_is_taken_whosever_it_is() {
    for (is_first, outcome) in [(true, "lost"), (false, "won")] {
        let (gate, never) = (Gate::closed(), Gate::closed());
        let (answering, hanging) = (behind(&gate), behind(&never));
        let backends = if is_first {
            [&answering, &hanging]
        } else {
            [&hanging, &answering]
        };
        let gateway = hedging("hedge: {after: 1ms}", "budget_percent: 100", &backends);
        let request = runtime().spawn(fetch(gateway.get("/")));
        eventually("both are under way", || {
            (answering.in_flight() == 1 && hanging.in_flight() == 1).then_some(())
        });
        gate.open();
        let reply = runtime().block_on(request).expect("no panic");
        assert_eq!(reply.expect("an answer").text(), "late");
        eventually("the other is given up", || {
            (hanging.in_flight() == 0).then_some(())
        });
        assert_eq!(hedges(&gateway, outcome), 1, "{outcome}");
        let line = &gateway.access_lines(1)[0];
        let endpoint = answering.address().to_string();
        assert_eq!(line["endpoint"].as_str(), Some(&*endpoint), "{outcome}");
        assert_eq!(line["tries"].as_u64(), Some(2), "{outcome}");
    }
}

#[test]
fn hedges_are_retries_of_the_budget() {
    const REQUESTS: u64 = 40;
    let never = Gate::closed();
    let (hanging, good) = (behind(&never), Backend::replying("good"));
    let route = "hedge: {after: 5ms}\n    timeout: 100ms";
    let retries = "budget_percent: 10, budget_reserve: 0, attempts: 0";
    let gateway = hedging(route, retries, &[&hanging, &good]);
    for _ in 0..REQUESTS {
        gateway.get("/").fetch();
    }
    let (won, denied) = (hedges(&gateway, "won"), hedges(&gateway, "denied"));
    println!("{won} won, {denied} denied, of {REQUESTS}");
    assert!(won <= REQUESTS / 10, "{won}");
    assert!(denied >= REQUESTS / 4, "{denied}");
}

#[test]
fn only_what_may_be_repeated_is_sent_twice_and_only_whole() {
    for (method, body, is_hedged) in [
        (Method::GET, "", true),
        (Method::PUT, "a body", true),
        (Method::DELETE, "", true),
        (Method::POST, "", false),
        (Method::POST, "a body", false),
        (Method::PATCH, "a body", false),
    ] {
        let never = Gate::closed();
        let (one, two) = (behind(&never), behind(&never));
        let route = "hedge: {after: 5ms}\n    timeout: 300ms";
        let retries = "budget_percent: 100, attempts: 0";
        let gateway = hedging(route, retries, &[&one, &two]);
        let request = gateway.request(method.clone(), "/").body(body);
        assert_eq!(
            request.fetch().verdict(),
            "504 upstream_timeout",
            "{method}"
        );
        let sent = one.requests() + two.requests();
        assert_eq!(sent, 1 + usize::from(is_hedged), "{method} {body}");
        assert_eq!(
            hedges(&gateway, "failed"),
            u64::from(is_hedged),
            "{method} {body}"
        );
        assert_eq!(hedges(&gateway, "denied"), 0, "{method} {body}");
    }
}

#[test]
fn the_second_try_has_the_whole_body() {
    let never = Gate::closed();
    let (hanging, echo) = (behind(&never), Backend::echo());
    let gateway = hedging(
        "hedge: {after: 5ms}",
        "budget_percent: 100",
        &[&hanging, &echo],
    );
    let reply = gateway.request(Method::PUT, "/").body("all of it").fetch();
    assert_eq!(reply.json()["body"], "all of it");
    assert_eq!(hedges(&gateway, "won"), 1);
}

#[test]
fn without_another_endpoint_or_room_there_is_no_second_try() {
    for (limits, others) in [("", 0), ("limits: {requests: 1}", 1)] {
        let gate = Gate::closed();
        let backends: Vec<_> = (0..=others).map(|_| behind(&gate)).collect();
        let addresses: Vec<_> = backends
            .iter()
            .map(|it| format!("\"{}\"", it.address()))
            .collect();
        let yaml = format!(
            r"
upstreams: {{backend: {{static: [{}], {limits}}}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, hedge: {{after: 5ms}}, backends: [{{upstream: backend}}]}}
",
            addresses.join(", ")
        );
        let gateway = TestGateway::start(&yaml, &[]);
        let request = runtime().spawn(fetch(gateway.get("/")));
        eventually("it would have begun", || {
            (hedges(&gateway, "denied") == 1).then_some(())
        });
        gate.open();
        let reply = runtime().block_on(request).expect("no panic");
        assert_eq!(reply.expect("an answer").text(), "late");
        let sent: usize = backends.iter().map(Backend::requests).sum();
        assert_eq!(sent, 1, "{limits}");
        let shed = "gateway_upstream_requests_shed_total{upstream=\"backend\",priority=\"low\"}";
        assert_eq!(gateway.metrics().value(shed), 0, "nobody was left out");
    }
}
