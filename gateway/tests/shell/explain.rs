//! `gateway explain`: offline by a routes file, and of a running gateway.

use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::process::{run, stderr, stdout};

const ROUTES: &str = "
version: 1
jwt_providers:
  far: {issuer: me, audiences: [api], algorithms: [RS256], jwks_uri: \"https://issuer.example/keys\"}
api_keys:
  partners: {file: not-there.yaml}
upstreams:
  users: {static: [\"127.0.0.1:9001\"]}
  byname: {dns: {name: api.internal, port: 8080}}
routes:
  - {name: users, match: {path_pattern: \"/users/{id}\"}, auth: {jwt: far}, backends: [{upstream: users}]}
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: byname}]}
  - {name: all, match: {path_prefix: /, hosts: [api.example]}, auth: {api_key: partners}, respond: {status: 204}}
";

fn offline(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let path = directory.path().join("routes.yaml");
    std::fs::write(&path, ROUTES).expect("a file can be written");
    let path = path.to_str().expect("text");
    let output = run(&[&["explain", "--config", path], arguments].concat());
    let folder = directory.path().to_str().expect("text");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output).replace(&format!("{folder}/"), "")
}

#[test]
fn a_file_alone_explains_what_it_can_and_says_what_it_cannot_know() {
    for (arguments, expected) in [
        (
            &["GET", "/users/7"][..],
            &[
                "GET /users/7 is refused: 401 jwt_missing",
                "> users                    wins (routes.yaml:11)",
                "  all                      has another host (routes.yaml:13)",
                "upstream users, weight 1 of 1, p2c_ewma (routes.yaml:8)",
                "= {id} is 7",
                "FAIL credential of far: jwt_missing",
                "127.0.0.1:9001        healthy",
                "keys of JWT provider `far`: they are fetched only by a gateway",
            ][..],
        ),
        (
            &["GET", "/open/%61"],
            &[
                "GET /open/%61 goes upstream",
                "its path is read as /open/a",
                "everybody may",
                "gateway   x-forwarded-for: 127.0.0.1",
                "endpoints of upstream `byname`: no name server is asked",
            ],
        ),
        (
            &[
                "GET",
                "http://api.example/x",
                "-H",
                "x-api-key: gwk_a_s3cret",
            ],
            &["401 api_key_unknown", "API keys `partners`: the file"],
        ),
        (
            &["OPTIONS", "*"],
            &["OPTIONS * is answered by the gateway with 204"],
        ),
        (
            &["GET", "/a//b"],
            &["400 path_invalid", "log: path_empty_segment"],
        ),
    ] {
        let told = offline(arguments);
        for line in expected {
            assert!(told.contains(line), "{arguments:?} lacks {line:?}:\n{told}");
        }
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn a_running_gateway_is_asked_by_its_admin_listener() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let url = format!("http://{}/", gateway.admin_address());
    let output = run(&[
        "explain", "--admin", &url, "--format", "json", "GET", "/a?b=c",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(told["route"]["name"], "all");
    assert_eq!(
        told["upstreams"][0]["endpoints"][0]["address"],
        backend.address().to_string()
    );
    let output = run(&["explain", "--admin", "http://127.0.0.1:1", "GET", "/"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot connect"),
        "{}",
        stderr(&output)
    );
}
