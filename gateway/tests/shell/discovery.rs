//! Where upstreams find their endpoints: Cloud Map's early news, files, what readiness says.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::time::Duration;

use gateway::dev::registry::{Directory, Registry};
use gateway::{Gateway, Options};
use gateway_core::config::Source;
use gateway_core::file::{self, EndpointSource};

use super::support::backend::Backend;
use super::support::cloud_map::{FakeCloudMap, Mood};
use super::support::gateway::TestGateway;
use super::support::http_client::Fetch as _;
use super::support::{Refusing, eventually, runtime};

/// Two upstreams with one source, which is asked for its instances once in five minutes.
const RARELY_ASKED: &str = r#"
zone: eu-west-1a
upstreams:
  users: {cloud_map: &users {namespace: test.local, service: users, endpoint: "${REGISTRY}", interval: 5m, revision_interval: 200ms}}
  alike: {cloud_map: *users}
routes:
  - {name: users, match: {path_prefix: /users}, auth: none, backends: [{upstream: users}]}
  - {name: alike, match: {path_prefix: /alike}, auth: none, backends: [{upstream: alike}]}
"#;

fn registry() -> (Directory, Registry) {
    let random = fastrand::Rng::with_seed(1);
    let directory = Directory::new("test.local", &[("srv-users", "users")], random);
    let registry = runtime()
        .block_on(Registry::start(directory.clone()))
        .expect("it starts");
    (directory, registry)
}

fn instance(backend: &Backend) -> BTreeMap<String, String> {
    let address = backend.address();
    BTreeMap::from([
        ("AWS_INSTANCE_IPV4".into(), address.ip().to_string()),
        ("AWS_INSTANCE_PORT".into(), address.port().to_string()),
    ])
}

#[test]
fn a_registration_is_seen_long_before_the_interval_has_passed() {
    let (directory, registry) = registry();
    let gateway = TestGateway::start(RARELY_ASKED, &[("REGISTRY", &registry.url())]);
    gateway.wait_until_ready();
    assert_eq!(gateway.get("/users").fetch().status(), 503);
    let backend = Backend::replying("ok");
    directory
        .register("srv-users", "first", instance(&backend))
        .expect("a good instance");
    for path in ["/users", "/alike"] {
        eventually("the instance is found", || {
            (gateway.get(path).fetch().status() == 200).then_some(())
        });
    }
    let metrics = gateway.metrics();
    for upstream in ["users", "alike"] {
        let looks = format!(
            "gateway_discovery_revision_looks_total{{upstream=\"{upstream}\",outcome=\"changed\"}}"
        );
        assert_eq!(metrics.value(&looks), 1);
        let answers = format!(
            "gateway_discovery_answers_total{{upstream=\"{upstream}\",outcome=\"success\"}}"
        );
        assert_eq!(metrics.value(&answers), 2, "asked once for both");
    }
    assert_eq!(metrics.value("gateway_zone{zone=\"eu-west-1a\"}"), 1);
}

#[test]
fn readiness_tells_a_missing_service_from_an_outage() {
    let (_directory, registry) = registry();
    let down = Refusing::new();
    let cases = [
        ("nobody", registry.url(), "not_found", "does not exist"),
        (
            "users",
            format!("http://{}", down.address()),
            "outage",
            "is not available",
        ),
    ];
    for (service, url, reason, expected) in cases {
        let yaml = RARELY_ASKED.replace("service: users", &format!("service: {service}"));
        let gateway = TestGateway::start(&yaml, &[("REGISTRY", &url)]);
        gateway.wait_for_failed_discovery();
        let failing =
            format!("gateway_discovery_failing{{upstream=\"users\",reason=\"{reason}\"}}");
        gateway.wait_for_metric(&failing, 1);
        let ready = eventually("readiness says why", || {
            let waiting = gateway.admin("/readyz").json()["waiting_for"].to_string();
            waiting.contains(": ").then_some(waiting)
        });
        let begin = "endpoints of upstream `users`: ";
        assert!(ready.contains(begin) && ready.contains(expected), "{ready}");
    }
}

#[test]
fn an_instance_with_two_addresses_is_reached_by_the_one_that_answers() {
    let (directory, registry) = registry();
    let backend = Backend::replying("ok");
    // Its port of 127.0.0.2 is nobody's; the mapped address leads to 127.0.0.1 (RFC 4291).
    let attributes = instance(&backend).into_iter().chain([
        ("AWS_INSTANCE_IPV4".into(), "127.0.0.2".into()),
        ("AWS_INSTANCE_IPV6".into(), "::ffff:127.0.0.1".into()),
    ]);
    directory
        .register("srv-users", "first", attributes.collect())
        .expect("a good instance");
    let gateway = TestGateway::start(RARELY_ASKED, &[("REGISTRY", &registry.url())]);
    gateway.wait_until_ready();
    assert_eq!(gateway.get("/users").fetch().status(), 200);
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["tries"], 1, "it is one endpoint");
    let endpoint = line["endpoint"].as_str().expect("it is there");
    assert!(endpoint.starts_with("127.0.0.2:"), "{endpoint}");
}

#[test]
fn a_registry_that_throttles_breaks_forgets_or_loses_the_service_costs_no_request() {
    let (first, second) = (Backend::replying("first"), Backend::replying("second"));
    let registry = FakeCloudMap::start(Mood::Listing(vec![first.address()]));
    let variables: [(&str, &dyn Display); 1] = [("REGISTRY", &registry.url())];
    let gateway = TestGateway::start_changed(RARELY_ASKED, &variables, |settings| {
        for source in &mut settings.endpoint_sources {
            if let EndpointSource::CloudMap(cloud_map) = source {
                cloud_map.interval = Duration::from_millis(100);
            }
        }
    });
    gateway.wait_until_ready();
    for (mood, reason) in [
        (Mood::Refusing("RequestLimitExceeded"), "throttled"),
        (Mood::Broken, "outage"),
        (Mood::Refusing("ServiceNotFound"), "not_found"),
        (Mood::Refusing("AccessDeniedException"), "denied"),
        (Mood::Listing(Vec::new()), "empty"),
    ] {
        registry.set(mood);
        let failing =
            format!("gateway_discovery_failing{{upstream=\"users\",reason=\"{reason}\"}}");
        eventually(&format!("discovery fails: {reason}"), || {
            assert_eq!(gateway.get("/users").fetch().text(), "first");
            (gateway.metrics().value(&failing) == 1).then_some(())
        });
        assert_eq!(gateway.admin("/readyz").status(), 200);
    }
    registry.set(Mood::Listing(vec![second.address()]));
    eventually("the next good answer counts", || {
        (gateway.get("/users").fetch().text() == "second").then_some(())
    });
    assert!(
        gateway
            .metrics()
            .series("gateway_discovery_failing")
            .is_empty()
    );
}

/// One route to the endpoints of a file.
const OF_FILE: &str = r#"
upstreams: {users: {file: {path: "${ENDPOINTS}"}}}
routes:
  - {name: users, match: {path_prefix: /}, auth: none, backends: [{upstream: users}]}
"#;

/// Replaces a file as an editor does: never half of it.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("the directory can be written");
    fs::rename(&next, path).expect("it is the same directory");
}

#[test]
fn a_file_of_endpoints_is_followed_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("endpoints.yaml");
    let (first, second) = (Backend::replying("first"), Backend::replying("second"));
    replace(&path, &format!("- {}\n", first.address()));
    let gateway = TestGateway::start(OF_FILE, &[("ENDPOINTS", &path.display())]);
    assert_eq!(gateway.admin("/readyz").status(), 200, "read at the start");
    assert_eq!(gateway.get("/").fetch().text(), "first");

    replace(&path, "[]");
    let outcome = |outcome: &str| {
        format!(
            "gateway_document_readings_total{{document=\"endpoints\",name=\"users\",outcome=\"{outcome}\"}}"
        )
    };
    gateway.wait_for_metric(&outcome("failed"), 1);
    assert_eq!(gateway.get("/").fetch().text(), "first");

    let json = format!(
        r#"[{{"address": "{}", "zone": "eu-west-1a", "weight": 2}}]"#,
        second.address()
    );
    replace(&path, &json);
    gateway.wait_for_metric(&outcome("changed"), 2);
    assert_eq!(gateway.get("/").fetch().text(), "second");
}

#[test]
fn a_gateway_does_not_start_by_a_file_of_endpoints_that_is_missing_or_broken() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let broken = directory.path().join("broken.yaml");
    fs::write(&broken, "- users:80\n").expect("the directory can be written");
    let missing = directory.path().join("missing.yaml");
    for (path, expected) in [
        (&broken, "`users:80` is not an address"),
        (&missing, "cannot read"),
    ] {
        let text = format!(
            "version: 1\nlisteners: [{{address: \"127.0.0.1:0\"}}]\nadmin: {{address: \"127.0.0.1:0\"}}\n{OF_FILE}"
        );
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let shown = path.display().to_string();
        let compiled = file::read(source, &|_| Some(shown.clone())).expect("a good file");
        let error = Gateway::build_with(compiled, Options::default())
            .err()
            .expect("it does not start")
            .to_string();
        assert!(error.starts_with("endpoints `users`: "), "{error}");
        assert!(
            error.contains(expected) && error.contains(&shown),
            "{error}"
        );
    }
}
