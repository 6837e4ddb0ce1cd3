//! What a reload leaves as it is: connections, health, keys, verified tokens, counters.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde_json::json;

use super::{file, fixed, forwarded, listed, status};
use crate::support::backend::{Backend, Gate, full};
use crate::support::cloud_map::{FakeCloudMap, Mood};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::key_provider::{KeyProvider, Mood as KeyMood};
use crate::support::process::{run, stdout};
use crate::support::tokens::{AUDIENCE, ISSUER, claims, es256, good_token, rs256};
use crate::support::{Refusing, eventually};

const GET: &str = "GET /a HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn connections_of_clients_and_to_upstreams_go_on() {
    let backend = Backend::replying("a");
    let yaml = |more: u16| {
        file(
            &[listed("a", &[&backend])],
            &[forwarded("a", "a"), fixed("more", more)],
        )
    };
    let gateway = TestGateway::start_by_file(&yaml(200));
    let mut client = gateway.wire();
    for round in 201..206 {
        client.send(GET);
        assert_eq!(client.receive().status, 200);
        gateway.reload_well(&yaml(round));
        assert_eq!(status(&gateway, "/more"), round);
    }
    client.send(GET);
    assert_eq!(client.receive().status, 200);
    assert_eq!((backend.requests(), backend.connections()), (6, 1));
}

#[test]
fn a_request_under_way_ends_under_the_plan_it_began_with() {
    let gate = Gate::closed();
    let held = gate.clone();
    let backend = Backend::answering(move |_| {
        let gate = held.clone();
        async move {
            gate.pass().await;
            http::Response::new(full("late"))
        }
    });
    let gateway = TestGateway::start_by_file(&file(
        &[listed("a", &[&backend])],
        &[forwarded("a", "a"), fixed("b", 200)],
    ));
    thread::scope(|scope| {
        let under_way = scope.spawn(|| gateway.get("/a").fetch());
        eventually("it is under way", || {
            (backend.in_flight() == 1).then_some(())
        });
        gateway.reload_well(&file(&[], &[fixed("b", 200)]));
        assert_eq!(status(&gateway, "/a"), 404);
        gate.open();
        let reply = under_way.join().unwrap();
        assert_eq!((reply.status(), reply.text().as_str()), (200, "late"));
    });
    let series = "gateway_requests_total{route=\"a\",upstream=\"a\",status_class=\"2xx\"}";
    gateway.wait_for_metric(series, 1);
}

#[test]
fn health_stays_with_endpoints_that_stay() {
    let (good, more, bad) = (
        Backend::replying("a"),
        Backend::replying("a"),
        Refusing::new(),
    );
    let upstream = |more: &str, balancer: &str| {
        format!(
            "  a: {{static: [\"{}\", \"{}\"{more}], load_balancer: {balancer}, \
             outlier_detection: {{ejection_time: 5m, max_ejection_time: 1h}}}}\n",
            good.address(),
            bad.address()
        )
    };
    let route = || [forwarded("a", "a"), fixed("b", 200)];
    let gateway = TestGateway::start_by_file(&file(&[upstream("", "round_robin")], &route()));
    let ejected = "gateway_upstream_endpoints{upstream=\"a\",state=\"ejected\"}";
    eventually("the bad one is ejected", || {
        assert_eq!(status(&gateway, "/a"), 200);
        (gateway.metrics().value(ejected) == 1).then_some(())
    });
    let another = format!(", \"{}\"", more.address());
    for (yaml, what) in [
        (
            file(&[upstream("", "round_robin")], &[forwarded("a", "a")]),
            "a route",
        ),
        (
            file(&[upstream("", "least_request")], &route()),
            "the policy",
        ),
        (
            file(&[upstream(&another, "least_request")], &route()),
            "another endpoint",
        ),
    ] {
        gateway.reload_well(&yaml);
        assert_eq!(gateway.metrics().value(ejected), 1, "{what}");
        for _ in 0..10 {
            assert_eq!(status(&gateway, "/a"), 200, "{what}");
        }
    }
    let ejections = gateway
        .metrics()
        .series("gateway_upstream_ejections_total")
        .iter()
        .map(|(_, count)| *count)
        .sum::<u64>();
    assert_eq!(ejections, 1);
}

fn guarded(provider: &KeyProvider, scope: &str, more: &str) -> String {
    format!(
        "jwt_providers:\n  main: {{issuer: \"{ISSUER}\", audiences: [{AUDIENCE}], \
         algorithms: [RS256, ES256], jwks_uri: \"{}\"{more}}}\n\
         routes:\n  - {{name: users, match: {{path_prefix: /users}}, respond: {{status: 200}}, \
         auth: {{jwt: main, require: {{scopes: {{all: [{scope}]}}}}}}}}\n",
        provider.url("/jwks.json")
    )
}

fn verdict(gateway: &TestGateway, token: &str) -> String {
    gateway.get("/users").bearer_auth(token).fetch().verdict()
}

#[test]
fn a_verified_token_is_verified_again_where_the_policy_is_another() {
    let provider = KeyProvider::with(&[rs256()]);
    let gateway = TestGateway::start_by_file(&guarded(&provider, "\"users:read\"", ""));
    gateway.wait_until_ready();
    let token = good_token();
    assert_eq!(verdict(&gateway, &token), "200");
    gateway.reload_well(&guarded(&provider, "\"users:write\"", ""));
    assert_eq!(verdict(&gateway, &token), "403 jwt_scope_missing");
    gateway.reload_well(&guarded(&provider, "\"users:read\"", ""));
    assert_eq!(verdict(&gateway, &token), "200");
    gateway.reload_well(&guarded(
        &provider,
        "\"users:read\"",
        ", max_token_size: 256B",
    ));
    assert_eq!(verdict(&gateway, &token), "401 jwt_too_large");
    assert_eq!(
        provider.asked_for_keys().len(),
        1,
        "the keys are those of before"
    );
}

#[test]
fn an_unchanged_policy_goes_on_with_what_it_has_verified() {
    let provider = KeyProvider::with(&[rs256()]);
    let gateway = TestGateway::start_by_file(&guarded(&provider, "\"users:read\"", ""));
    gateway.wait_until_ready();
    let token = good_token();
    assert_eq!(verdict(&gateway, &token), "200");
    gateway.wait_for_metric("gateway_tokens_cached", 1);
    let other = guarded(&provider, "\"users:read\"", "") + &fixed("other", 200);
    for yaml in [&other, &guarded(&provider, "\"users:read\"", ""), &other] {
        gateway.reload_well(yaml);
        assert_eq!(verdict(&gateway, &token), "200");
    }
    // A second entry would be that of another number for the same policy.
    let lines = gateway.access_lines(4);
    assert_eq!(lines.len(), 4);
    eventually("the worker has counted again", || {
        (gateway.metrics().value("gateway_tokens_cached") == 1).then_some(())
    });
}

#[test]
fn keys_that_cannot_be_read_now_serve_on_where_only_their_times_change() {
    let provider = KeyProvider::with(&[rs256()]);
    let gateway = TestGateway::start_by_file(&guarded(&provider, "\"users:read\"", ""));
    gateway.wait_until_ready();
    provider.be(KeyMood::Status(500));
    gateway.reload_well(&guarded(
        &provider,
        "\"users:read\"",
        ", refresh_interval: 1m",
    ));
    assert_eq!(verdict(&gateway, &good_token()), "200");
}

#[test]
fn a_token_of_one_provider_is_not_taken_for_one_of_its_successor() {
    let (one, other) = (KeyProvider::with(&[rs256()]), KeyProvider::with(&[es256()]));
    let gateway = TestGateway::start_by_file(&guarded(&one, "\"users:read\"", ""));
    gateway.wait_until_ready();
    let token = good_token();
    assert_eq!(verdict(&gateway, &token), "200");
    gateway.reload_well(&guarded(&other, "\"users:read\"", ""));
    assert_eq!(
        other.asked_for_keys().len(),
        1,
        "read before it came into force"
    );
    assert_eq!(verdict(&gateway, &token), "401 jwt_key_unknown");
    assert_eq!(verdict(&gateway, &es256().sign(&claims(json!({})))), "200");
}

#[test]
fn a_deny_list_comes_changes_and_goes_without_a_fetch_of_keys() {
    let provider = KeyProvider::with(&[rs256()]);
    let directory = tempfile::tempdir().unwrap();
    let list = |name: &str, subject: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("revoked: [{{sub: {subject}}}]\n")).unwrap();
        format!(", revocations: {{file: {}}}", path.display())
    };
    let gateway = TestGateway::start_by_file(&guarded(&provider, "\"users:read\"", ""));
    gateway.wait_until_ready();
    let token = good_token();
    assert_eq!(verdict(&gateway, &token), "200");
    for (more, expected) in [
        (list("one", "user-1"), "401 jwt_revoked"),
        (list("two", "somebody"), "200"),
        (list("three", "user-1"), "401 jwt_revoked"),
        (String::new(), "200"),
    ] {
        gateway.reload_well(&guarded(&provider, "\"users:read\"", &more));
        assert_eq!(verdict(&gateway, &token), expected, "{more}");
    }
    assert_eq!(provider.asked_for_keys().len(), 1);
}

#[test]
fn a_reload_that_is_refused_leaves_the_deny_list_as_it_is() {
    let provider = KeyProvider::with(&[rs256()]);
    let directory = tempfile::tempdir().expect("a directory can be made");
    let list = |name: &str, subject: &str| {
        let path = directory.path().join(name);
        fs::write(&path, format!("revoked: [{{sub: {subject}}}]\n")).expect("it is written");
        format!(", revocations: {{file: {}}}", path.display())
    };
    let first = list("one", "user-1");
    let gateway = TestGateway::start_by_file(&guarded(&provider, "\"users:read\"", &first));
    gateway.wait_until_ready();
    let token = good_token();
    assert_eq!(verdict(&gateway, &token), "401 jwt_revoked");
    let second = guarded(&provider, "\"users:read\"", &list("two", "somebody"));
    let missing = "api_keys: {partners: {file: /nowhere/list}}\n";
    assert_eq!(gateway.reload(&format!("{missing}{second}")).status(), 422);
    assert_eq!(verdict(&gateway, &token), "401 jwt_revoked");
    gateway.reload_well(&second);
    assert_eq!(verdict(&gateway, &token), "200");
}

#[test]
fn a_new_upstream_has_its_endpoints_before_it_is_used_and_a_removed_one_is_asked_for_no_more() {
    let backend = Backend::replying("found");
    let registry = FakeCloudMap::start(Mood::Listing(vec![backend.address()]));
    let asked = format!(
        "  found: {{cloud_map: {{namespace: n, service: s, interval: 1s, revision_interval: 200ms, endpoint: \"{}\"}}}}\n",
        registry.url()
    );
    let without = file(&[], &[fixed("one", 200)]);
    let gateway = TestGateway::start_by_file(&without);
    let answer = gateway.reload_well(&file(
        &[asked],
        &[forwarded("found", "found"), fixed("one", 200)],
    ));
    assert_eq!(answer["unanswered"], json!([]));
    assert_eq!(gateway.get("/found").fetch().text(), "found");
    gateway.reload_well(&without);
    assert_eq!(
        gateway.metrics().series("gateway_discovery_answers_total"),
        []
    );
}

#[test]
fn an_endpoint_file_and_the_upstream_it_feeds_survive_a_change_elsewhere() {
    let (one, other) = (Backend::replying("one"), Backend::replying("other"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("list");
    let write =
        |backend: &Backend| fs::write(&path, format!("[\"{}\"]", backend.address())).unwrap();
    write(&one);
    let upstream = || format!("  a: {{file: {{path: {}}}}}\n", path.display());
    let yaml = |status| file(&[upstream()], &[forwarded("a", "a"), fixed("b", status)]);
    let gateway = TestGateway::start_by_file(&yaml(200));
    assert_eq!(gateway.get("/a").fetch().text(), "one");
    gateway.reload_well(&yaml(201));
    assert_eq!(gateway.get("/a").fetch().text(), "one");
    write(&other);
    eventually("the list is read again", || {
        (gateway.get("/a").fetch().text() == "other").then_some(())
    });
}

#[test]
fn no_counter_goes_back() {
    let backend = Backend::replying("a");
    let with = file(
        &[listed("a", &[&backend])],
        &[forwarded("a", "a"), fixed("b", 200)],
    );
    let without = file(&[], &[fixed("b", 200)]);
    let gateway = TestGateway::start_by_file(&with);
    let counted = || -> BTreeMap<String, u64> {
        let metrics = gateway.metrics();
        let names = [
            "gateway_requests_total",
            "gateway_request_duration_seconds_count",
            "gateway_upstream_tries_total",
            "gateway_upstream_connections_opened_total",
        ];
        let series = names.iter().flat_map(|name| metrics.series(name));
        series
            .map(|(series, count)| (series.to_owned(), count))
            .collect()
    };
    let mut before = BTreeMap::new();
    for round in 1..=6_usize {
        let expected = if round % 2 == 1 { 200 } else { 404 };
        assert_eq!(status(&gateway, "/a"), expected);
        assert_eq!(status(&gateway, "/b"), 200);
        gateway.access_lines(2 * round);
        let now = counted();
        for (series, count) in &before {
            assert!(now.get(series) >= Some(count), "{series}");
        }
        before = now;
        gateway.reload_well(if round % 2 == 1 { &without } else { &with });
    }
    let series = "gateway_requests_total{route=\"a\",upstream=\"a\",status_class=\"2xx\"}";
    assert_eq!(before.get(series), Some(&3));
}

#[test]
fn an_unchanged_list_of_api_keys_is_not_read_again() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("keys.yaml");
    let path = path.to_str().expect("text");
    let made = run(&["api-key", "new", "--id", "partner", "--file", path]);
    let key = stdout(&made).trim_end().to_owned();
    let yaml = |more: u16| {
        format!(
            "api_keys: {{partners: {{file: {path}}}}}\nroutes:\n  - {{name: keyed, \
             match: {{path: /keyed}}, auth: {{api_key: partners}}, respond: {{status: 200}}}}\n{}",
            fixed("more", more)
        )
    };
    let gateway = TestGateway::start_by_file(&yaml(200));
    let taken = || {
        gateway
            .get("/keyed")
            .header("x-api-key", &key)
            .fetch()
            .status()
    };
    assert_eq!(taken(), 200);
    gateway.reload_well(&yaml(201));
    assert_eq!(taken(), 200);
    let changed = "gateway_document_readings_total{document=\"api_keys\",name=\"partners\",outcome=\"changed\"}";
    assert_eq!(gateway.metrics().value(changed), 1);
}
