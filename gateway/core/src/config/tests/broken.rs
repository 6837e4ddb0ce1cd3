//! Broken files, and what is said about each.
//!
//! One line a problem: place, path, message, and the help after a bar.

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::{Expect, expect};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, MAX_PROBLEMS};
use super::read;
use super::sample::{Algorithm, Auth, Balancer, File};
use crate::words::units::{ByteSize, HumanDuration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
struct Small {
    port: Option<u16>,
    signed: Option<i32>,
    ratio: Option<f64>,
    flag: Option<bool>,
    name: Option<String>,
    wait: Option<HumanDuration>,
    size: Option<ByteSize>,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, u8>,
    #[serde(default)]
    ports: BTreeMap<u16, String>,
    nested: Option<Nested>,
    pair: Option<(u8, HumanDuration)>,
    algorithm: Option<Algorithm>,
    balancer: Option<Balancer>,
    auth: Option<Auth>,
    any: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
struct Nested {
    a: u8,
    b: String,
    wait: HumanDuration,
}

fn problems<T: DeserializeOwned>(text: &str) -> String {
    let Err(problems) = read::<T>(text) else {
        return "decoded".to_owned();
    };
    let mut lines = String::new();
    for problem in &problems {
        if let Some(at) = problem.position {
            write!(lines, "{}:{}-{} ", at.line, at.column, at.length).unwrap();
        }
        write!(lines, "{}: {}", problem.path, problem.message).unwrap();
        let help = problem.help.as_deref().unwrap_or("NONE");
        writeln!(lines, " | {}", help.replace('\n', " / ")).unwrap();
    }
    lines
}

/// Each file, its problems below it.
fn check<T: DeserializeOwned>(files: &[&str], expected: &Expect) {
    let mut report = String::new();
    for file in files {
        writeln!(report, "{file:?}\n{}", problems::<T>(file)).unwrap();
    }
    expected.assert_eq(&report);
}

#[test]
fn text_that_is_not_yaml_names_the_remedy() {
    check::<Small>(
        &[
            "",
            "# only a comment\n",
            "\u{feff}",
            "name: [a\nport: 1",
            "name:\n\t- a",
            "name: a: b",
            "port: 1\n---\nport: 2",
            "name: \"x",
            "name: 'it's'",
            "name: @x",
            "name: a\u{1}b",
            "nested:\n  a: 1\n b: x",
            "- 1\nb: 2",
            "name: {x: ${SECRET}}",
            "list: [${SECRET}]",
            "name: \"\\d\"",
            "<<<<<<< HEAD\nport: 1",
            "port: 1}",
            "nested: {a: 1, b: x",
            "\0\u{1}\u{2}",
        ],
        &expect![[]],
    );
}

#[test]
fn what_yaml_allows_and_a_routes_file_does_not_is_refused() {
    check::<Small>(
        &[
            "name: !secret x\nport: !!str 5",
            "nested: &n {a: 1, b: x}\nmap:\n  <<: *n\n  k: 300",
            "name: *nobody\nport: x",
            "map: &m [*m]",
            "name: a\nport: 1\nname: b\nport: x",
            "? [1, 2]\n: x\nport: x",
            ": x\n~: 3",
            "${SECRET}: x",
            "port: 1\r\nport: 2\r\nprt: 3\r\n",
            "1: x\ntrue: y",
        ],
        &expect![[]],
    );
}

#[test]
fn variables_are_named_and_never_shown() {
    check::<Small>(
        &[
            "name: ${NOBODY}\nport: ${NOBODY:-x}\nratio: ${1}\nlist: ['${', \"${A:-${B}}\"]",
            "port: ${SECRET}\nwait: ${SECRET}\nalgorithm: ${SECRET}\nauth: ${SECRET}\nflag: ${SECRET}",
            "port: \"${WORKERS}\"\nname: ${EMPTY}\nwait: ${EMPTY:-5}",
        ],
        &expect![[]],
    );
}

#[test]
fn values_of_the_wrong_kind_say_what_was_expected_and_found() {
    check::<Small>(
        &[
            "port: 65536\nsigned: -2147483649\nratio: .nan",
            "port: -1\nratio: -.inf\nsigned: 1.5",
            "port: 99999999999999999999999999999999999999999999999999999999999999999999\nany: 99999999999999999999999999",
            "port: \"80\"\nflag: \"true\"\nratio: '1'",
            "flag: yes\nport: on\nlist: no",
            "port:\nname: ~\nwait:\nlist:\nflag: null",
            "name: [a]\nlist: a\nmap: [a]\nnested: [1]\nwait: [10s]\nport: {a: 1}",
            "wait: 10\nsize: 10x",
            "wait: {s: 10}\nsize: [1]",
            "list: [a, [b], {c: d}, e]",
            "map: {a: 1, b: 256, c: x}",
            "pair: [1]\n",
            "pair: [x, 10]",
            "any: .inf\nname: .inf",
            "name: ok\n  more\nwait: |\n  10s\n",
            "[1, 2]",
            "just text",
            "42",
            "ports: {1: a, 70000: b, x: c}",
        ],
        &expect![[]],
    );
}

#[test]
fn unknown_words_name_the_near_miss_and_the_choices() {
    check::<Small>(
        &[
            "prt: 80\nnmae: x\ncompletely_else: 1\nNested: {a: 1}",
            "wiat: 10x\nnestd: {a: x, c: 1}",
            "algorithm: RS255\nbalancer: leastrequest",
            "balancer: consistent_hash\nalgorithm: {RS256: 1}\n",
            "balancer: {consistent_hash: {haeder: x}}",
            "balancer: {consistent_hash: [x], round_robin: }",
            "balancer: {least_requests: 1}\nalgorithm: [RS256]",
            "auth: nome",
            "auth: {jtw: main}\n",
            "auth: [none]",
            "auth: {}",
            "auth:\nport: x",
        ],
        &expect![[]],
    );
}

#[test]
fn missing_keys_are_all_reported() {
    check::<Small>(
        &[
            "nested: {}",
            "nested:\n  - a: 1",
            "nested: {a: x}",
            "nested: {aa: 1}",
        ],
        &expect![[]],
    );
}

#[test]
fn a_file_with_many_mistakes_is_reported_in_one_go() {
    let text = r#"
version: one
listeners: [{adress: "0.0.0.0:8080", max_body: 10X}, {address: nowhere}, {}]
workers: ${WORKRES}
jwt_providers:
  main: {issuer: 1, audiences: api, algorithms: [RS255, none], clock_skew: 60}
upstreams:
  users: {cloudmap: {namespace: x}}
  legacy: {static: ["127.0.0.1:9001", 9002], load_balancer: {hash: x}}
defaults: [10s]
routes:
  - name: users
    match: /users
    auth: {jwt: [main]}
    timout: 3
    retries: {attempts: 300, retry_on: [connect_failure, 200]}
    backends: [{upstream: users, weight: heavy}, {weight: 10}]
  - {match: {path: /status}, auth: open, respond: {status: ok}}
  - {name: sum, match: {}, auth: none, backends: [{upstream: users, weight: 90}]}
  - users
rotues: []
"#;
    let shown = read::<File>(text).map(|_| ()).unwrap_err().to_string();
    expect![[]].assert_eq(&shown);
}

#[test]
fn what_stands_in_for_a_bad_value_never_hides_its_neighbours() {
    check::<File>(
        &[
            "version: 1\nlisteners: [{address: x, proxy_protocol: 1}]\nroutes: [{}, {name: a}]\n",
            "listeners: x\nroutes: x\n",
            "{}",
        ],
        &expect![[]],
    );
}

#[test]
fn control_characters_and_tabs_do_not_reach_the_terminal() {
    let text = "\"na\\u001bme\": \"x\"\nlist: [\"\u{202e}a\", [\t1]]\n";
    let shown = read::<Small>(text).map(|_| ()).unwrap_err().to_string();
    expect![[]].assert_eq(&shown);
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let text = format!("map: {{{}z: 300, y: 1}}", "é".repeat(300) + ": 1, ");
    let shown = read::<Small>(&text).map(|_| ()).unwrap_err().to_string();
    expect![[]].assert_eq(&shown);
}

#[test]
fn every_bound_is_an_error_and_not_a_crash() {
    let deep = |depth: usize| format!("any: {}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(problems::<Small>(&deep(MAX_DEPTH - 1)), "decoded");
    let bomb = (1..10).fold("any:\n  - &a0 [x]\n".to_owned(), |text, n| {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        format!("{text}  - &a{n} [{aliases}]\n")
    });
    let tower = (1..40).fold("any:\n  - &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}  - &a{n} [*a{}]\n", n - 1)
    });
    let mut report = String::new();
    for text in [
        deep(MAX_DEPTH),
        deep(100_000),
        "a:\n"
            .repeat(MAX_DEPTH + 2)
            .lines()
            .enumerate()
            .fold(String::new(), |text, (n, line)| {
                format!("{text}{}{line}\n", " ".repeat(n))
            }),
        bomb,
        tower,
        format!("any: [{}]", "1,".repeat(MAX_NODES)),
        " ".repeat(MAX_FILE_BYTES + 1),
    ] {
        report += &problems::<Small>(&text);
    }
    expect![[]].assert_eq(&report);
}

#[test]
fn problems_beyond_the_bound_are_counted_as_more() {
    let text = format!(
        "ports: {{a: b}}\nlist: [{}]",
        "[],".repeat(MAX_PROBLEMS + 1)
    );
    let problems = read::<Small>(&text).map(|_| ()).unwrap_err();
    assert_eq!(problems.len(), MAX_PROBLEMS);
    assert!(problems.has_more());
    assert!(
        problems
            .to_string()
            .ends_with("and more problems; mend these first\n")
    );
    let exact = format!("list: [{}]", "[],".repeat(MAX_PROBLEMS - 1));
    assert!(!read::<Small>(&exact).map(|_| ()).unwrap_err().has_more());
}
