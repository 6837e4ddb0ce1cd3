//! How problems are shown, and the bounds on files and problems.

use expect_test::{expect, expect_file};

use super::super::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, MAX_PROBLEMS};
use super::sample::File;
use super::small::Small;
use super::{problems, read, report};

/// A mistake of each kind that people make.
const MANY_MISTAKES: &str = r#"
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

#[test]
fn a_file_with_many_mistakes_is_reported_in_one_go() {
    expect_file!["many_mistakes.txt"].assert_eq(&report::<File>(MANY_MISTAKES));
}

#[test]
fn control_characters_and_tabs_do_not_reach_the_terminal() {
    let text = "\"na\\u001bme\": \"x\"\nlist: [\"\u{202e}a\", [\t1]]\n";
    let shown = report::<Small>(text);
    expect![[r#"
        error: unknown key `na\u{1b}me`
         --> routes.yaml:1:1
          |
        1 | "na\u001bme": "x"
          | ^^^^^^^^^^^^ help: did you mean `name`?
          = help: known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

        error: expected a string, found a list
         --> routes.yaml:2:14 (list[1])
          |
        2 | list: ["�a", [ 1]]
          |              ^
    "#]].assert_eq(&shown);
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let text = format!("map: {{{}z: 300, y: 1}}", "é".repeat(300) + ": 1, ");
    let shown = report::<Small>(&text);
    expect![[r"
        error: expected a whole number from 0 to 255, found the number `300`
         --> routes.yaml:1:315 (map.z)
          |
        1 | éééééééééééééééééééééééééééééééééééééééééééééééééééé: 1, z: 300, y: 1}
          |                                                             ^^^
    "]]
    .assert_eq(&shown);
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
    expect![[r"
        1:37-1 any[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: lists and maps nest more than 32 deep | close what is open further up, or flatten it
        1:39-1 any[0]: this is not YAML: recursion limit exceeded | close what is open further up, or flatten it
        33:33-1 a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a: lists and maps nest more than 32 deep | close what is open further up, or flatten it
        8:10-3 any[6][0]: the file has more than 500000 keys and values | what an alias stands for counts each time; split the file
        32:11-4 any[30][0]: lists and maps nest more than 32 deep | close what is open further up, or flatten it
        1:1000005-1 any[499999]: the file has more than 500000 keys and values | what an alias stands for counts each time; split the file
        : the file is larger than 8192 KiB | split it, or take out what is generated
    "]].assert_eq(&report);
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
