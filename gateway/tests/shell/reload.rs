//! Another routes file while requests are served: what changes, and what goes on.

mod included;
mod kept;
mod load;
mod triggers;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, Reply};

/// A route that the gateway answers itself.
fn fixed(name: &str, status: u16) -> String {
    format!(
        "  - {{name: {name}, match: {{path: /{name}}}, auth: none, respond: {{status: {status}}}}}\n"
    )
}

/// A route to an upstream.
fn forwarded(name: &str, upstream: &str) -> String {
    format!(
        "  - {{name: {name}, match: {{path_prefix: /{name}}}, auth: none, backends: [{{upstream: {upstream}}}]}}\n"
    )
}

/// An upstream with these addresses.
fn listed(name: &str, backends: &[&Backend]) -> String {
    let addresses = backends.iter().map(|it| format!("\"{}\"", it.address()));
    let addresses: Vec<_> = addresses.collect();
    format!("  {name}: {{static: [{}]}}\n", addresses.join(", "))
}

fn file(upstreams: &[String], routes: &[String]) -> String {
    let upstreams = match upstreams.concat() {
        none if none.is_empty() => none,
        upstreams => format!("upstreams:\n{upstreams}"),
    };
    format!("{upstreams}routes:\n{}", routes.concat())
}

fn status(gateway: &TestGateway, path: &str) -> u16 {
    gateway.get(path).fetch().status()
}

/// The code of a problem of the admin listener.
fn code(reply: &Reply) -> String {
    assert_eq!(
        reply.header("content-type").as_deref(),
        Some("application/problem+json")
    );
    reply.json()["code"].as_str().expect("a code").to_owned()
}

#[test]
fn routes_and_upstreams_come_change_and_go() {
    let (one, other) = (Backend::replying("one"), Backend::replying("other"));
    let gateway = TestGateway::start_by_file(&file(
        &[listed("a", &[&one]), listed("b", &[&one])],
        &[
            fixed("stays", 200),
            fixed("changes", 200),
            fixed("goes", 200),
            forwarded("a", "a"),
        ],
    ));
    for (path, expected) in [
        ("/stays", 200),
        ("/changes", 200),
        ("/goes", 200),
        ("/comes", 404),
    ] {
        assert_eq!(status(&gateway, path), expected, "{path}");
    }
    assert_eq!(gateway.get("/a").fetch().text(), "one");
    let answer = gateway.reload_well(&file(
        &[listed("a", &[&other]), listed("c", &[&one])],
        &[
            fixed("comes", 201),
            fixed("stays", 200),
            fixed("changes", 202),
            forwarded("a", "a"),
        ],
    ));
    for (path, expected) in [
        ("/stays", 200),
        ("/changes", 202),
        ("/goes", 404),
        ("/comes", 201),
    ] {
        assert_eq!(status(&gateway, path), expected, "{path}");
    }
    assert_eq!(gateway.get("/a").fetch().text(), "other");
    assert_eq!(answer["result"], "applied");
    assert_eq!(answer["generation"], 2);
    assert_eq!(answer["needs_restart"], json!([]));
    assert_eq!(
        answer["changes"]["routes"],
        json!({"added": ["comes"], "removed": ["goes"], "changed": ["changes"]})
    );
    assert_eq!(
        answer["changes"]["upstreams"],
        json!({"added": ["c"], "removed": ["b"], "changed": ["a"]})
    );
    let again = gateway.post_admin("/reload").fetch().json();
    assert_eq!(again["result"], "unchanged");
    assert_eq!(again["generation"], 2);
    assert_eq!(again["hash"], answer["hash"]);
    let metrics = gateway.metrics();
    let info = format!("gateway_config_info{{hash={}}}", answer["hash"]);
    for (series, expected) in [
        ("gateway_config_reloads_total{result=\"applied\"}", 1),
        ("gateway_config_reloads_total{result=\"unchanged\"}", 1),
        ("gateway_config_reloads_total{result=\"refused\"}", 0),
        ("gateway_config_generation", 2),
        ("gateway_config_last_reload_successful", 1),
        ("gateway_config_needs_restart", 0),
        (&info, 1),
    ] {
        assert_eq!(metrics.value(series), expected, "{series}");
    }
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_is_told_of() {
    let good = file(&[], &[fixed("good", 200)]);
    let gateway = TestGateway::start_by_file(&good);
    let missing = "jwt_providers: {p: {issuer: \"https://i.example/\", audiences: [a], algorithms: [ES256], jwks_file: /nowhere/keys}}\n";
    let table = [
        (format!("{good}    respnd: 1\n"), "respnd"),
        ("routes: [".into(), "not YAML"),
        (
            file(&[], &[forwarded("a", "nowhere")]),
            "`nowhere` is not defined",
        ),
        (format!("{missing}{good}"), "/nowhere/keys"),
        (
            format!("api_keys: {{k: {{file: /nowhere/list}}}}\n{good}"),
            "/nowhere/list",
        ),
        (
            format!("upstreams: {{u: {{file: {{path: /nowhere/set}}}}}}\n{good}"),
            "/nowhere/set",
        ),
    ];
    let count = table.len();
    for (yaml, told) in table {
        let reply = gateway.reload(&yaml);
        assert_eq!(reply.status(), 422, "{told}: {}", reply.text());
        assert_eq!(code(&reply), "config_refused");
        let problem = reply.json();
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
        let problems = problem["problems"].as_array().unwrap();
        assert!(
            !problems.is_empty() && problem["generation"] == 1,
            "{problem}"
        );
        assert_eq!(status(&gateway, "/good"), 200);
    }
    let ready = gateway.admin("/readyz");
    assert_eq!(ready.status(), 200, "it serves");
    assert_eq!(ready.json()["configuration"]["generation"], 1);
    let metrics = gateway.metrics();
    assert_eq!(
        metrics.value("gateway_config_reloads_total{result=\"refused\"}"),
        count as u64
    );
    assert_eq!(metrics.value("gateway_config_last_reload_successful"), 0);
    assert_eq!(gateway.reload_well(&good)["result"], "unchanged");
    assert_eq!(
        gateway.admin("/readyz").json()["configuration"],
        Value::Null
    );
    assert_eq!(
        gateway
            .metrics()
            .value("gateway_config_last_reload_successful"),
        1
    );
}

#[test]
fn what_only_a_new_process_can_change_is_named_and_the_rest_applied() {
    let before = file(&[], &[fixed("one", 200)]);
    let gateway = TestGateway::start_by_file(&before);
    let after = file(&[], &[fixed("one", 204)]);
    let process = "workers: 3\nlimits: {connections: 7}\nshutdown: {drain: 1s}\n";
    let answer = gateway.reload_well(&format!("{process}{after}"));
    assert_eq!(
        answer["needs_restart"],
        json!(["workers", "limits", "shutdown"])
    );
    assert_eq!(status(&gateway, "/one"), 204);
    assert_eq!(gateway.metrics().value("gateway_config_needs_restart"), 1);
    let answer = gateway.reload_well(&before);
    assert_eq!(answer["needs_restart"], json!([]));
    assert_eq!(gateway.metrics().value("gateway_config_needs_restart"), 0);
}
