//! Keys of providers that rotate, fail and lie, seen by those who send requests.

mod places;

use std::fmt::Display;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::backend::Gate;
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, Reply, client, fetch};
use crate::support::key_provider::{KeyProvider, Mood};
use crate::support::load::Load;
use crate::support::tokens::{Key, claims, es256, write_key_set};
use crate::support::{eventually, runtime};

const ROUTES: &str = r#"
workers: 2
${TOP}
jwt_providers:
  main:
    issuer: "${ISSUER}"
    audiences: [api]
    algorithms: ${ALGORITHMS}
    ${KEYS}
routes:
  - {name: users, match: {path: /users}, auth: {jwt: main}, timeout: 8s, respond: {status: 200}}
  - {name: hasty, match: {path: /hasty}, auth: {jwt: main}, timeout: 300ms, respond: {status: 200}}
"#;

/// What a test says of its gateway.
struct Setting<'a> {
    top: &'a str,
    issuer: &'a str,
    algorithms: &'a str,
    keys: &'a str,
    variables: &'a [(&'a str, &'a dyn Display)],
    factor: u32,
}

const PLAIN: Setting<'static> = Setting {
    top: "",
    issuer: "https://issuer.example/",
    algorithms: "[ES256]",
    keys: "",
    variables: &[],
    factor: 1,
};

impl Setting<'_> {
    fn start(&self) -> TestGateway {
        let yaml = ROUTES
            .replace("${TOP}", self.top)
            .replace("${ISSUER}", self.issuer)
            .replace("${ALGORITHMS}", self.algorithms)
            .replace("${KEYS}", self.keys);
        TestGateway::start_accelerated(&yaml, self.variables, self.factor)
    }
}

/// A gateway with this provider's keys; `times` are further lines of the provider.
fn start(provider: &KeyProvider, times: &str, factor: u32) -> TestGateway {
    let keys = format!("jwks_uri: {}\n    {times}", provider.url("/jwks.json"));
    let gateway = Setting {
        keys: &keys,
        factor,
        ..PLAIN
    }
    .start();
    gateway.wait_until_ready();
    gateway
}

fn token(key: &Key) -> String {
    key.sign(&claims(json!({})))
}

fn ask_at(gateway: &TestGateway, path: &str, token: &str) -> Reply {
    gateway
        .get(path)
        .header("authorization", format!("Bearer {token}"))
        .fetch()
}

fn ask(gateway: &TestGateway, token: &str) -> Reply {
    ask_at(gateway, "/users", token)
}

fn fetches(gateway: &TestGateway, trigger: &str, outcome: &str) -> u64 {
    gateway.metrics().value(&format!(
        "gateway_jwks_fetches_total{{provider=\"main\",trigger=\"{trigger}\",outcome=\"{outcome}\"}}"
    ))
}

fn asked(gateway: &TestGateway, outcome: &str) -> u64 {
    gateway.metrics().value(&format!(
        "gateway_jwks_unknown_key_requests_total{{provider=\"main\",outcome=\"{outcome}\"}}"
    ))
}

fn gauge(name: &str) -> String {
    format!("gateway_jwks_{name}{{provider=\"main\"}}")
}

#[test]
fn a_rotation_with_overlap_refuses_nobody() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    let provider = KeyProvider::with(&[&old]);
    let gateway = start(&provider, "refresh_interval: 1m", 60);
    let load = Load::start(&gateway, token(&old));
    load.go_on_for(50);
    provider.publish(&[&old, &new]);
    load.switch(token(&new), || ());
    load.go_on_for(50);
    load.switch(token(&old), || ());
    load.go_on_for(50);
    load.switch(token(&new), || provider.publish(&[&new]));
    gateway.wait_for_metric(&gauge("keys"), 1);
    load.go_on_for(50);
    assert_eq!(load.end(), [""; 0]);
    assert_eq!(ask(&gateway, &token(&old)).verdict(), "401 jwt_key_unknown");
}

#[test]
fn a_rotation_without_overlap_refuses_nobody() {
    let keys = ["a", "b", "c", "d"].map(Key::es256);
    let provider = KeyProvider::with(&[&keys[0]]);
    let gateway = start(&provider, "refresh_interval: 1d\n    max_stale: 3d", 10);
    let load = Load::start(&gateway, token(&keys[0]));
    for key in &keys[1..] {
        load.go_on_for(20);
        load.switch(token(key), || provider.publish(&[key]));
    }
    load.go_on_for(20);
    assert_eq!(load.end(), [""; 0]);
    let fetches = fetches(&gateway, "unknown_key", "success");
    assert_eq!(
        fetches, 3,
        "one for each rotation, for all requests together"
    );
    assert!(asked(&gateway, "found") >= 3);
    let old = token(&keys[0]);
    assert_eq!(ask(&gateway, &old).verdict(), "401 jwt_key_unknown");
}

#[test]
fn a_provider_that_is_down_for_long_costs_nothing_but_a_few_fetches() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "refresh_interval: 10s", 300);
    let load = Load::start(&gateway, token(es256()));
    load.go_on_for(20);
    provider.be(Mood::Status(503));
    let before = provider.asked_for_keys().len();
    eventually("ten minutes pass", || {
        let age = gateway.metrics().value(&gauge("age_seconds"));
        (age >= 600).then_some(())
    });
    let fetched = provider.asked_for_keys().len() - before;
    // 1, 2, 4, 8, 16 and then 30 seconds at the most, half of each at the least.
    assert!((10..=80).contains(&fetched), "{fetched}");
    provider.be(Mood::Good);
    eventually("it is asked again", || {
        let age = gateway.metrics().value(&gauge("age_seconds"));
        (age < 60).then_some(())
    });
    load.go_on_for(20);
    assert_eq!(load.end(), [""; 0]);
}

#[test]
fn whatever_a_provider_answers_instead_of_keys_those_at_hand_stay() {
    let other = KeyProvider::with(&[&Key::es256("intruder")]);
    for (mood, outcome) in [
        (Mood::Status(500), "status"),
        (Mood::Status(204), "status"),
        (Mood::Text("<html>"), "malformed"),
        (Mood::Text("{\"keys\":[]}"), "no_keys"),
        (Mood::Oversize, "too_large"),
        (Mood::Redirect(other.url("/jwks.json")), "redirect"),
    ] {
        let provider = KeyProvider::with(&[es256()]);
        let gateway = start(&provider, "", 1);
        provider.be(mood);
        let unknown = es256().sign_as("unknown", &claims(json!({})));
        let reply = ask(&gateway, &unknown);
        assert_eq!(reply.verdict(), "503 jwt_keys_unavailable", "{outcome}");
        assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
        assert_eq!(fetches(&gateway, "unknown_key", outcome), 1, "{outcome}");
        assert_eq!(asked(&gateway, "unavailable"), 1, "{outcome}");
        assert_eq!(ask(&gateway, &token(es256())).verdict(), "200", "{outcome}");
    }
    assert_eq!(other.asked_for_keys().len(), 0, "nobody went elsewhere");
}

#[test]
fn a_provider_that_does_not_answer_is_given_up_in_time() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "unknown_key_wait: 500ms", 1);
    provider.be(Mood::Held(Gate::closed()));
    let unknown = es256().sign_as("unknown", &claims(json!({})));
    let asked_at = Instant::now();
    let reply = ask(&gateway, &unknown);
    assert_eq!(reply.verdict(), "503 jwt_keys_unavailable");
    assert!(asked_at.elapsed() >= Duration::from_millis(500));
    assert_eq!(ask(&gateway, &token(es256())).verdict(), "200");
    eventually("the fetch ends", || {
        (fetches(&gateway, "unknown_key", "timeout") > 0).then_some(())
    });
}

#[test]
fn a_request_waits_no_longer_than_its_route_allows() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "unknown_key_wait: 30s", 1);
    provider.be(Mood::Held(Gate::closed()));
    let unknown = es256().sign_as("unknown", &claims(json!({})));
    let asked_at = Instant::now();
    let reply = ask_at(&gateway, "/hasty", &unknown);
    assert_eq!(reply.verdict(), "503 jwt_keys_unavailable");
    // A fetch has 5 s.
    assert!(asked_at.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "unknown_key_wait: 30s", 1);
    provider.be(Mood::Held(Gate::closed()));
    let mut wires: Vec<_> = (0..5).map(|_| gateway.wire()).collect();
    for (index, wire) in wires.iter_mut().enumerate() {
        let token = es256().sign_as(&format!("unknown {index}"), &claims(json!({})));
        wire.send(format!(
            "GET /users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        ));
    }
    gateway.wait_for_metric(&gauge("waiting_requests"), 5);
    drop(wires);
    gateway.wait_for_metric(&gauge("waiting_requests"), 0);
    for line in gateway.access_lines(5) {
        assert_eq!(line["reason"], "client_closed");
    }
}

#[test]
fn a_fetch_that_was_under_way_before_says_nothing_of_a_key_that_came_later() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    let provider = KeyProvider::with(&[&old]);
    let gateway = start(&provider, "", 1);
    let gate = Gate::closed();
    provider.be(Mood::Held(gate.clone()));
    let wire = |key: &str, signer: &Key| {
        let mut wire = gateway.wire();
        let token = signer.sign_as(key, &claims(json!({})));
        wire.send(format!(
            "GET /users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        ));
        wire
    };
    let mut early = wire("unknown", &old);
    eventually("the fetch is under way", || {
        (provider.asked_for_keys().len() == 2).then_some(())
    });
    provider.publish(&[&old, &new]);
    let mut late = wire("new", &new);
    gateway.wait_for_metric(&gauge("waiting_requests"), 2);
    // What it holds back is the set without the new key.
    provider.be(Mood::Good);
    gate.open();
    let answer = early.receive();
    assert_eq!((answer.status, &*answer.reason()), (401, "jwt_key_unknown"));
    assert_eq!(late.receive().status, 200);
}

#[test]
fn invented_key_ids_cause_a_bounded_number_of_fetches_and_harm_nobody() {
    const CLIENTS: usize = 50;
    const REQUESTS: usize = 20;
    let factor = 20;
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "", factor);
    let load = Load::start(&gateway, token(es256()));
    let began = Instant::now();
    let url = format!("http://{}/users", gateway.address());
    let clients = (0..CLIENTS).map(|number| {
        let url = url.clone();
        let tokens: Vec<_> = (0..REQUESTS)
            .map(|index| es256().sign_as(&format!("{number}-{index}"), &claims(json!({}))))
            .collect();
        runtime().spawn(async move {
            let mut verdicts = Vec::new();
            for token in tokens {
                let reply = fetch(client().get(&url).bearer_auth(token)).await;
                verdicts.push(reply.expect("an answer").verdict());
            }
            verdicts
        })
    });
    let clients: Vec<_> = clients.collect();
    for client in clients {
        for verdict in runtime().block_on(client).expect("it ends") {
            assert_eq!(verdict, "401 jwt_key_unknown");
        }
    }
    let simulated = began.elapsed() * factor;
    let fetched = provider.asked_for_keys().len() as u64;
    // Four seconds apart, once the first few were in vain.
    let most = simulated.as_secs() / 4 + 5;
    assert!(fetched <= most, "{fetched} fetches in {simulated:?}");
    assert_eq!(load.end(), [""; 0]);
    assert_eq!(asked(&gateway, "not_found"), (CLIENTS * REQUESTS) as u64);
}

#[test]
fn a_key_id_that_was_looked_for_in_vain_is_refused_at_once_for_a_while() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "", 1);
    let unknown = es256().sign_as("unknown", &claims(json!({})));
    let mut wire = gateway.wire();
    for _ in 0..10 {
        wire.send(format!(
            "GET /users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {unknown}\r\n\r\n"
        ));
        assert_eq!(wire.receive().reason(), "jwt_key_unknown");
    }
    let counts = ["not_found", "remembered"].map(|outcome| asked(&gateway, outcome));
    assert_eq!(counts, [1, 9], "one connection stays with one worker");
    assert_eq!(provider.asked_for_keys().len(), 2);
}

#[test]
fn keys_that_cannot_be_read_for_too_long_serve_no_more() {
    let provider = KeyProvider::with(&[es256()]);
    let times = "refresh_interval: 30s\n    max_stale: 2m";
    let gateway = start(&provider, times, 120);
    let good = token(es256());
    assert_eq!(ask(&gateway, &good).verdict(), "200");
    provider.be(Mood::Status(500));
    let alarm =
        |level| format!("gateway_jwks_stale_alarms_total{{provider=\"main\",level=\"{level}\"}}");
    gateway.wait_for_metric(&alarm("half"), 1);
    gateway.wait_for_metric(&alarm("reached"), 1);
    assert_eq!(gateway.metrics().value(&gauge("keys")), 0);
    assert_eq!(gateway.metrics().value(&gauge("seconds_until_stale")), 0);
    assert_eq!(ask(&gateway, &good).verdict(), "503 jwt_keys_unavailable");
    provider.be(Mood::Good);
    gateway.wait_for_metric(&gauge("keys"), 1);
    assert_eq!(ask(&gateway, &good).verdict(), "200");
}

#[test]
fn what_is_measured_of_keys_is_there_from_the_start() {
    let provider = KeyProvider::with(&[es256()]);
    let gateway = start(&provider, "", 1);
    let metrics = gateway.metrics();
    assert_eq!(metrics.value(&gauge("keys")), 1);
    assert_eq!(metrics.value(&gauge("waiting_requests")), 0);
    let rest = metrics.value(&gauge("seconds_until_stale"));
    assert!((86_000..=86_400).contains(&rest), "{rest}");
    assert!(metrics.value(&gauge("age_seconds")) < 60);
    let outcomes = metrics.series("gateway_jwks_unknown_key_requests_total");
    assert_eq!(outcomes.len(), 5);
    assert_eq!(fetches(&gateway, "refresh", "success"), 1);
}
