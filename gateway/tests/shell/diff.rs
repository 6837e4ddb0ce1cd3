//! `gateway diff` as a program: exit codes, words, the JSON, and the gateway's own access log.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;

const OLD: &str = "version: 1
upstreams: {users: {static: [\"127.0.0.1:9001\"]}}
routes:
  - {name: users, match: {path_prefix: /users}, auth: none, timeout: 3s, backends: [{upstream: users}]}
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200}}
";

/// The same, written otherwise.
const SAME: &str = "version: 1
# The order of the routes, and what is the default anyhow, change nothing.
include: [users.yaml]
listeners: [{address: \"0.0.0.0:8080\"}]
routes:
  - name: status
    match: {path: /status}
    auth: none
    respond: {status: 200, body: \"\"}
";
const USERS: &str = "upstreams: {users: {static: [\"127.0.0.1:9001\"]}}
routes:
  - name: users
    match: {path_prefix: /users}
    auth: none
    timeout: 3000ms
    backends: [{upstream: users, weight: 5}]
";
const NEW: &str = "version: 1
workers: 2
upstreams: {users: {static: [\"127.0.0.1:9001\"]}}
routes:
  - {name: users, match: {path_prefix: /users}, auth: none, timeout: 5s, backends: [{upstream: users}]}
  - {name: health, match: {path: /status}, auth: none, respond: {status: 200}}
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("old.yaml", OLD),
        ("same.yaml", SAME),
        ("users.yaml", USERS),
        ("new.yaml", NEW),
        ("bad.yaml", "version: 1\nroutes: [\n"),
    ] {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

const KEYS: &str = "version: 1
api_keys: {partners: {file: partners.yaml}}
jwt_providers:
  main: {issuer: me, audiences: [api], algorithms: [RS256], jwks_file: keys.json}
routes:
  - {name: all, match: {path_prefix: /}, auth: {jwt: main}, respond: {status: 200}}
";

#[test]
fn of_files_that_are_named_the_path_counts_and_they_are_not_read() {
    let folder = folder();
    fs::write(folder.path().join("keys.old.yaml"), KEYS).expect("a file");
    // None of these files is there.
    let same = diff(folder.path(), &["keys.old.yaml", "keys.old.yaml"]);
    assert_eq!(same.status.code(), Some(0), "{same:?}");
    let moved = KEYS.replace("keys.json", "copy.json");
    fs::write(folder.path().join("keys.new.yaml"), moved).expect("a file");
    let changed = diff(folder.path(), &["keys.old.yaml", "keys.new.yaml"]);
    assert_eq!(changed.status.code(), Some(1), "{changed:?}");
    let told = String::from_utf8_lossy(&changed.stdout);
    assert!(told.contains("`keys.json` → `copy.json`"), "{told}");
    let help = diff(folder.path(), &["--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("of those the path counts"), "{help}");
}

fn diff(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("diff")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn the_exit_code_tells_the_same_from_another_and_from_a_bad_file() {
    let folder = folder();
    let cases: [(&[&str], i32); 8] = [
        (&["old.yaml", "old.yaml"], 0),
        (&["old.yaml", "same.yaml"], 0),
        (&["old.yaml", "new.yaml"], 1),
        (&["old.yaml", "bad.yaml"], 2),
        (&["absent.yaml", "old.yaml"], 2),
        (&["old.yaml"], 2),
        (&["old.yaml", "new.yaml", "--format", "xml"], 2),
        (&["old.yaml", "new.yaml", "--replay", "absent"], 2),
    ];
    for (arguments, code) in cases {
        let output = diff(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    }
}

#[test]
fn people_are_told_what_changes_with_places_and_what_waits_for_a_restart() {
    let folder = folder();
    let output = diff(folder.path(), &["old.yaml", "new.yaml"]);
    let expected = "\
- route `status` (old.yaml:5)
~ route `users` (old.yaml:4 → new.yaml:5)
    timeout: `3s` → `5s`
+ route `health` (new.yaml:6)
~ setting `workers` (new.yaml:2): holds from the next start or `gateway upgrade` on
    workers: not given → `2`
2 changed, 1 added, 1 removed
";
    assert_eq!(text(&output.stdout), expected);
    let output = diff(folder.path(), &["old.yaml", "same.yaml"]);
    let told = text(&output.stdout);
    assert!(
        told.starts_with("in another order, which changes nothing: "),
        "{told}"
    );
    assert!(told.ends_with("both mean the same\n"), "{told}");
}

#[test]
fn both_files_are_told_what_is_wrong_with_them() {
    let folder = folder();
    let output = diff(folder.path(), &["bad.yaml", "absent.yaml"]);
    let told = text(&output.stderr);
    assert!(told.contains("--> bad.yaml:2:"), "{told}");
    assert!(told.contains("cannot read `absent.yaml`"), "{told}");
    let output = diff(
        folder.path(),
        &["bad.yaml", "absent.yaml", "--format", "json"],
    );
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["problems"].as_array().map(Vec::len), Some(2), "{told}");
}

#[test]
fn programs_get_one_object() {
    let folder = folder();
    let output = diff(folder.path(), &["old.yaml", "new.yaml", "--format", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["is_same"], false);
    assert_eq!(told["needs_restart"], json!(["workers"]));
    assert_eq!(told["replay"], Value::Null);
    let expected = json!({
        "section": "routes", "name": "users", "change": "changed",
        "before": {"file": "old.yaml", "line": 4}, "after": {"file": "new.yaml", "line": 5},
        "options": [{
            "option": "timeout", "is_default": false,
            "before": {"text": "3s", "place": {"file": "old.yaml", "line": 4}},
            "after": {"text": "5s", "place": {"file": "new.yaml", "line": 5}},
        }],
    });
    let changes = told["changes"].as_array().expect("a list");
    assert!(changes.contains(&expected), "{told}");
}

#[test]
fn the_gateways_own_access_log_says_who_notices() {
    let gateway = TestGateway::start(
        "upstreams: {users: {static: [\"127.0.0.1:9\"]}}\nroutes:\n  - {name: users, match: \
         {path_prefix: /users}, auth: none, backends: [{upstream: users}]}\n  - {name: status, \
         match: {path: /status}, auth: none, respond: {status: 200}}\n",
        &[],
    );
    for path in ["/users/7?secret=1", "/users/8", "/status", "/absent"] {
        let _answered = gateway.get(path).fetch();
    }
    let _all_are_there = gateway.access_lines(4);
    let folder = folder();
    let log = folder.path().join("access.jsonl");
    let mut lines = fs::read(gateway.access_log()).expect("a log");
    lines.extend_from_slice(
        b"no JSON\n\n{\"message\":\"another\"}\n{\"method\":\"GET\",\"path\":\"/\\u001b[31m\"}\n",
    );
    lines.extend_from_slice(format!("{}\n", "x".repeat(200_000)).as_bytes());
    fs::write(&log, lines).expect("a file");
    let arguments = ["old.yaml", "new.yaml", "--replay", "access.jsonl"];
    let output = diff(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout);
    for part in [
        "of 5 logged requests, 3 would be treated otherwise\n",
        "       2  timeout: 3s → 5s\n",
        "       1  route: status → health\n",
        "/users/7\n",
        "       1  left out: no JSON line of the gateway\n",
        "       1  left out: the line is too long\n",
        "       1  left out: no method and path\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(
        !told.contains('\u{1b}') && !told.contains("secret"),
        "{told}"
    );
    let output = diff(
        folder.path(),
        &[&arguments[..], &["--format", "json"]].concat(),
    );
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let replay = &told["replay"];
    assert_eq!(replay["requests"], 5, "{replay}");
    assert_eq!(replay["changed"], 3, "{replay}");
    assert_eq!(replay["long_lines"], 1, "{replay}");
    assert_eq!(replay["groups"][0]["count"], 2, "{replay}");
    assert_eq!(replay["groups"][0]["changes"][0]["what"], "timeout");
}
