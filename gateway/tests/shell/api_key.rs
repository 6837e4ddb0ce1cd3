//! `gateway api-key`: keys on standard output, entries in a file.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Output;

use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::config::Source;
use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::process::{run, stderr, stdout};

/// A directory for a file of keys.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the file is there")
    }

    /// Runs a command of `api-key` on `keys.yaml`.
    fn api_key(&self, command: &str, options: &[&str]) -> Output {
        let path = self.path("keys.yaml");
        let path = path.to_str().expect("text");
        run(&[&["api-key", command, "--file", path], options].concat())
    }

    fn new_key(&self, options: &[&str]) -> String {
        let output = self.api_key("new", options);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output).trim_end().to_owned()
    }

    fn mode(&self, name: &str) -> u32 {
        let metadata = fs::metadata(self.path(name)).expect("the file is there");
        metadata.permissions().mode() & 0o777
    }
}

fn parse(text: &str) -> ApiKeys {
    ApiKeys::parse(Source { name: "keys", text }).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", stderr(output));
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    stderr(output)
}

#[test]
fn without_a_file_the_entry_is_told_and_the_key_stands_alone() {
    let output = run(&[
        "api-key",
        "new",
        "--id",
        "partner-a",
        "--scope",
        "users:read",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let (key, told) = (stdout(&output), stderr(&output));
    let key = key.strip_suffix('\n').expect("one line");
    assert!(
        key.starts_with("gwk_partner-a_") && !key.contains(char::is_whitespace),
        "{key}"
    );
    assert!(!told.contains(key), "{told}");
    let (_, entry) = told.split_once("\n\n").expect("an entry below the words");
    let keys = parse(&format!("keys:\n{entry}"));
    let found = keys
        .find(key.as_bytes(), 0)
        .expect("the entry is of this key");
    assert_eq!(found.claims["scope"], "users:read");
    let again = run(&["api-key", "new", "--id", "partner-a"]);
    assert_ne!(stdout(&again), stdout(&output), "each key is another one");
}

#[test]
fn a_file_is_made_for_its_owner_and_keeps_its_mode_afterwards() {
    let directory = Directory::new();
    let first = directory.new_key(&["--id", "a"]);
    assert_eq!(directory.mode("keys.yaml"), 0o600);
    fs::set_permissions(directory.path("keys.yaml"), Permissions::from_mode(0o640))
        .expect("it is ours");
    let options = [
        "--id",
        "b",
        "--expires",
        "90d",
        "--attribute",
        "tenant=x",
        "--subject",
        "acme",
    ];
    let second = directory.new_key(&options);
    assert_eq!(directory.mode("keys.yaml"), 0o640);
    let keys = parse(&directory.text("keys.yaml"));
    assert_eq!(keys.len(), 2);
    assert!(keys.find(first.as_bytes(), 0).is_ok());
    let found = keys.find(second.as_bytes(), 0).expect("it was added");
    assert_eq!(
        (&found.claims["tenant"], &found.claims["sub"]),
        (&"x".into(), &"acme".into())
    );
    assert!(found.expires.is_some());
    let left: Vec<_> = fs::read_dir(directory.0.path()).expect("ours").collect();
    assert_eq!(left.len(), 1, "nothing is left behind: {left:?}");
}

#[test]
fn a_link_stays_a_link() {
    let directory = Directory::new();
    fs::write(directory.path("real.yaml"), "# ours\nkeys: []\n").expect("a file can be written");
    symlink("real.yaml", directory.path("keys.yaml")).expect("a link can be made");
    let key = directory.new_key(&["--id", "a"]);
    let link = fs::symlink_metadata(directory.path("keys.yaml")).expect("it is there");
    assert!(link.is_symlink());
    let text = directory.text("real.yaml");
    assert!(text.starts_with("# ours\n"), "{text}");
    assert!(parse(&text).find(key.as_bytes(), 0).is_ok());
}

#[test]
fn what_cannot_be_added_leaves_the_file_alone_and_no_key_behind() {
    let directory = Directory::new();
    directory.new_key(&["--id", "a"]);
    let before = directory.text("keys.yaml");
    for (options, message) in [
        (["--id", "a", "--scope", "x"], "has a key `a` already"),
        (["--id", "b", "--scope", "x y"], "a scope is one word"),
        (
            ["--id", "b", "--attribute", "sub=x"],
            "cannot be named `sub`",
        ),
        (["--id", "b", "--expires", "2020-01-01"], "lies in the past"),
    ] {
        let told = refused(&directory.api_key("new", &options));
        assert!(told.contains(message), "{told}");
        assert_eq!(directory.text("keys.yaml"), before);
    }
    fs::write(directory.path("keys.yaml"), "keys: [{id: a}]\n").expect("it is ours");
    let told = refused(&directory.api_key("new", &["--id", "b"]));
    assert!(
        told.contains("line 1: keys[0]: missing key `hash`"),
        "{told}"
    );
    assert_eq!(directory.text("keys.yaml"), "keys: [{id: a}]\n");
    let told = refused(&run(&[
        "api-key",
        "new",
        "--id",
        "a",
        "--file",
        "/nowhere/keys.yaml",
    ]));
    assert!(told.contains("/nowhere/keys.yaml"), "{told}");
}

#[test]
fn options_that_mean_nothing_are_errors_of_use() {
    for (options, message) in [
        (["new", "--id", "a b"], "letters, digits and `-`"),
        (["new", "--id", "gwk_a"], "letters, digits and `-`"),
        (["new", "--expires", "90"], "write `90d`"),
        (
            ["new", "--attribute", "tenant"],
            "write a name, `=` and a value",
        ),
        (["remove", "--id", "a"], "--file"),
    ] {
        let output = run(&[&["api-key"], options.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let told = stderr(&output);
        assert!(told.contains(message), "{options:?}: {told}");
    }
}

#[test]
fn keys_are_listed_without_their_hashes_and_removed_by_their_ids() {
    let directory = Directory::new();
    let options = [
        "--id",
        "new",
        "--scope",
        "a",
        "--scope",
        "b",
        "--description",
        "the \u{1b}job",
    ];
    directory.new_key(&options);
    directory.new_key(&["--id", "old"]);
    let text = directory.text("keys.yaml") + "    expires: 2020-01-01\n";
    fs::write(directory.path("keys.yaml"), &text).expect("it is ours");
    let output = directory.api_key("list", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected = "\
ID   STATE    EXPIRES               SCOPES  DESCRIPTION
new  valid    -                     a b     the \u{fffd}job
old  expired  2020-01-01T00:00:00Z  -       -
";
    assert_eq!(stdout(&output), expected);

    let output = directory.api_key("remove", &["--id", "old"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(parse(&directory.text("keys.yaml")).len(), 1);
    let told = refused(&directory.api_key("remove", &["--id", "old"]));
    assert!(told.contains("has no key `old`"), "{told}");
    let output = directory.api_key("remove", &["--id", "new"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(directory.text("keys.yaml"), "keys: []\n");
}

#[test]
fn keys_that_are_added_at_the_same_time_are_all_there() {
    let directory = Directory::new();
    std::thread::scope(|scope| {
        for id in ["a", "b", "c", "d"] {
            let directory = &directory;
            scope.spawn(move || directory.new_key(&["--id", id]));
        }
    });
    assert_eq!(parse(&directory.text("keys.yaml")).len(), 4);
}

#[test]
fn a_key_opens_its_route_until_it_is_removed() {
    let directory = Directory::new();
    let key = directory.new_key(&["--id", "a", "--scope", "users:read", "--subject", "acme"]);
    let other = directory.new_key(&["--id", "b"]);
    let backend = Backend::echo();
    let yaml = "
api_keys: {partners: {file: \"${FILE}\", header: x-partner-key}}
upstreams: {backend: {static: [\"${BACKEND}\"]}}
routes:
  - name: all
    match: {path_prefix: /}
    auth:
      api_key: partners
      require: {scopes: {all: [\"users:read\"]}}
      claims_to_headers: {sub: x-partner}
    backends: [{upstream: backend}]
";
    let file = directory.path("keys.yaml");
    let variables: [(&str, &dyn Display); 2] =
        [("FILE", &file.display()), ("BACKEND", &backend.address())];
    let gateway = TestGateway::start(yaml, &variables);
    let ask = |key: &str| gateway.get("/").header("x-partner-key", key).fetch();
    let answer = ask(&key);
    assert_eq!(answer.status(), 200);
    let echo = answer.text();
    assert!(echo.contains(r#"["x-partner","acme"]"#), "{echo}");
    assert!(!echo.contains(&key), "the key goes no further: {echo}");
    let code = |key: &str| ask(key).json()["code"].as_str().map(str::to_owned);
    assert_eq!(code(&other).as_deref(), Some("api_key_scope_missing"));
    assert_eq!(code(&key[1..]).as_deref(), Some("api_key_unknown"));
    let output = directory.api_key("remove", &["--id", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    eventually("the key is refused", || {
        (ask(&key).status() == 401).then_some(())
    });
    assert_eq!(code(&key).as_deref(), Some("api_key_unknown"));
    let log = fs::read_to_string(gateway.access_log()).expect("a log");
    assert!(!log.contains(&key[10..]), "{log}");
}

#[test]
fn a_running_gateway_takes_up_the_file() {
    let directory = Directory::new();
    directory.new_key(&["--id", "a"]);
    let yaml = "
api_keys: {partners: {file: \"${FILE}\"}}
routes: [{name: all, match: {path_prefix: /}, auth: none, respond: {status: 204}}]
";
    let file = directory.path("keys.yaml");
    let gateway = TestGateway::start(yaml, &[("FILE", &file.display())]);
    let series = |metric: &str| format!("{metric}{{document=\"api_keys\",name=\"partners\"}}");
    gateway.wait_for_metric(&series("gateway_document_entries"), 1);
    directory.new_key(&["--id", "b"]);
    gateway.wait_for_metric(&series("gateway_document_entries"), 2);
    let changed = "gateway_document_readings_total{document=\"api_keys\",name=\"partners\",outcome=\"changed\"}";
    assert_eq!(gateway.metrics().value(changed), 2);
    assert!(
        gateway
            .metrics()
            .value(&series("gateway_document_age_seconds"))
            < 20
    );
}

#[test]
fn a_gateway_does_not_start_without_its_file() {
    let directory = Directory::new();
    let routes = directory.path("routes.yaml");
    let text = format!(
        "version: 1
listeners: [{{address: \"127.0.0.1:0\"}}]
admin: {{address: \"127.0.0.1:0\"}}
api_keys: {{partners: {{file: {}}}}}
routes: [{{name: all, match: {{path: /}}, auth: none, respond: {{status: 204}}}}]
",
        directory.path("keys.yaml").display()
    );
    fs::write(&routes, text).expect("a file can be written");
    let told = refused(&run(&["run", "--config", routes.to_str().expect("text")]));
    assert!(told.contains("api_keys `partners`: cannot read"), "{told}");
    assert!(told.contains("keys.yaml"), "{told}");
}
