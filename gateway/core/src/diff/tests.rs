//! What counts as a change and what does not, and which requests notice.

use std::fmt::Write as _;

use expect_test::expect;
use http::Method;

use super::*;
use crate::config::{NoFiles, Source};
use crate::file::{Report, check_included};

const FILE: &str = "version: 1
jwt_providers:
  main: {issuer: https://a.example/, audiences: [api], algorithms: [RS256], jwks_uri: https://a.example/k}
upstreams:
  users: {static: [\"127.0.0.1:1\"]}
  spare: {static: [\"127.0.0.1:2\"]}
defaults: {timeout: 10s}
routes:
  - {name: users, match: {path_prefix: /users, methods: [GET, POST]}, auth: {jwt: main}, backends: [{upstream: users}]}
  - {name: spare, match: {path: /spare}, auth: none, timeout: 3s, backends: [{upstream: spare}]}
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200}}
";

fn variables(name: &str) -> Option<String> {
    match name {
        "TIMEOUT" => Some("3s".to_owned()),
        "SECRET" => Some("hunter2-hunter2-hunter2-hunter2-hunter2".to_owned()),
        "OTHER" => Some("hunter3-hunter3-hunter3-hunter3-hunter3".to_owned()),
        _ => None,
    }
}

fn report(text: &str) -> Report {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    check_included(source, &NoFiles, &variables)
}

fn side(report: &Report) -> Side<'_> {
    Side {
        compiled: match &report.outcome {
            Ok(compiled) => compiled,
            Err(problems) => panic!("{problems}"),
        },
        written: report.written.as_ref().expect("it was read"),
        positions: &report.positions,
    }
}

fn differences(before: &str, after: &str) -> Differences {
    let (before, after) = (report(before), report(after));
    compare(side(&before), side(&after))
}

/// One line a thing, one an option.
fn told(differences: &Differences) -> String {
    let mut told = String::new();
    let line = |place: &Option<Place>| place.as_ref().map_or(0, |it| it.line);
    for it in &differences.things {
        let lines = (line(&it.before), line(&it.after));
        writeln!(told, "{:?} {} {} {lines:?}", it.change, it.section, it.name).unwrap();
        for option in &it.options {
            let text = |value: &Option<Value>| {
                let value = value.as_ref();
                value.map_or("-".to_owned(), |it| {
                    format!("{}@{}", it.text, it.place.line)
                })
            };
            let by = if option.is_default {
                " by defaults"
            } else {
                ""
            };
            let (before, after) = (text(&option.before), text(&option.after));
            writeln!(told, "  {}: {before} to {after}{by}", option.option).unwrap();
        }
    }
    for name in &differences.reordered {
        writeln!(told, "moved {name}").unwrap();
    }
    told
}

#[test]
fn spelling_makes_no_difference() {
    let table: &[(&str, &str, &str)] = &[
        ("a remark", "defaults:", "# all of them\ndefaults:"),
        (
            "another form",
            "defaults: {timeout: 10s}",
            "defaults:\n  timeout: 10000ms",
        ),
        (
            "a default written out",
            "timeout: 3s",
            "timeout: 3s, priority: normal",
        ),
        ("the default of defaults", "defaults: {timeout: 10s}\n", ""),
        (
            "a default in a route",
            "auth: {jwt: main}",
            "auth: {jwt: main}, timeout: 10s",
        ),
        ("methods in another order", "[GET, POST]", "[POST, GET]"),
        (
            "a weight of one backend",
            "{upstream: users}",
            "{upstream: users, weight: 7}",
        ),
        ("a variable", "timeout: 3s", "timeout: \"${TIMEOUT}\""),
        ("a list of one", "{jwt: main}", "{jwt: [main]}"),
        (
            "the default listener",
            "upstreams:",
            "listeners: [{address: \"0.0.0.0:8080\"}]\nupstreams:",
        ),
        (
            "an alias",
            "timeout: 10s}",
            "timeout: &t 10s, max_request_body: 10MiB}",
        ),
    ];
    for (what, piece, other) in table {
        assert_eq!(FILE.matches(piece).count(), 1, "{what}");
        let differences = differences(FILE, &FILE.replace(piece, other));
        assert!(differences.is_empty(), "{what}\n{}", told(&differences));
        assert!(differences.reordered.is_empty(), "{what}");
    }
}

#[test]
fn what_changes_is_told_in_the_words_and_lines_of_the_files() {
    let table: &[(&str, &str, &str)] = &[
        ("a timeout", "timeout: 3s", "timeout: 5s"),
        (
            "a default that reaches one route",
            "defaults: {timeout: 10s}",
            "defaults: {timeout: 4s}",
        ),
        ("an option that is left out", ", timeout: 3s", ""),
        (
            "retries",
            "timeout: 3s",
            "timeout: 3s, retries: {attempts: 1}",
        ),
        ("who may call", "auth: {jwt: main}", "auth: none"),
        (
            "what is asked",
            "auth: {jwt: main}",
            "auth: {jwt: main, require: {scopes: {all: [a]}}}",
        ),
        ("a match", "path: /spare", "path: /extra"),
        (
            "an upstream of a route",
            "[{upstream: spare}]",
            "[{upstream: spare, weight: 9}, {upstream: users}]",
        ),
        ("an answer", "status: 200", "status: 204"),
        ("an endpoint", "127.0.0.1:2", "127.0.0.1:3"),
        (
            "a source",
            "spare: {static: [\"127.0.0.1:2\"]}",
            "spare: {dns: {name: a.internal, port: 80}}",
        ),
        (
            "health checks",
            "[\"127.0.0.1:2\"]}",
            "[\"127.0.0.1:2\"], health_check: {path: /h}}",
        ),
        (
            "keys",
            "jwks_uri: https://a.example/k}",
            "jwks_uri: https://b.example/k}",
        ),
        (
            "a setting",
            "upstreams:",
            "listeners: [{address: \"127.0.0.1:1\"}]\nworkers: 2\nupstreams:",
        ),
        (
            "a thing that is renamed",
            "  - {name: status, match: {path: /status}",
            "  - {name: state, match: {path: /status}",
        ),
    ];
    let mut shown = String::new();
    for (what, piece, other) in table {
        assert_eq!(FILE.matches(piece).count(), 1, "{what}");
        let differences = differences(FILE, &FILE.replace(piece, other));
        assert!(!differences.is_empty(), "{what}");
        writeln!(shown, "## {what}\n{}", told(&differences)).unwrap();
    }
    expect_test::expect_file!["tests.txt"].assert_eq(&shown);
}

#[test]
fn a_secret_that_is_another_one_is_told_and_not_shown() {
    let with = |text: &str| {
        let piece = "algorithms: [RS256], jwks_uri: https://a.example/k";
        FILE.replace(piece, text)
    };
    let with_url = |password: &str| {
        with(&format!(
            "algorithms: [RS256], jwks_uri: \"https://u:{password}@a.example/k\""
        ))
    };
    let pairs = [
        (
            with("algorithms: [HS256], secret: {env: SECRET}"),
            with("algorithms: [HS256], secret: {env: OTHER}"),
        ),
        (with_url("hunter2"), with_url("hunter3")),
    ];
    for (before, after) in pairs {
        let differences = differences(&before, &after);
        let told = format!("{} {differences:?}", told(&differences));
        assert_eq!(differences.things.len(), 1, "{told}");
        assert!(
            !told.contains("hunter") && !told.contains("aHVudG"),
            "{told}"
        );
    }
}

#[test]
fn routes_in_another_order_are_told_apart_and_change_nothing() {
    let mut lines: Vec<_> = FILE.lines().collect();
    let last = lines.pop().expect("a route");
    lines.insert(8, last);
    let differences = differences(FILE, &lines.join("\n"));
    assert!(differences.is_empty(), "{}", told(&differences));
    assert_eq!(told(&differences), "moved status\n");
}

#[test]
fn a_longest_run_keeps_its_order() {
    for (numbers, moved) in [
        (vec![], 0),
        (vec![0, 1, 2], 0),
        (vec![2, 1, 0], 2),
        (vec![1, 2, 3, 0], 1),
        (vec![3, 0, 1, 4, 2], 2),
    ] {
        let named: Vec<_> = numbers.iter().map(|it| ("", *it)).collect();
        let kept = longest_rise(&named);
        assert!(kept.is_sorted_by(|a, b| a < b && named[*a].1 < named[*b].1));
        assert_eq!(numbers.len() - kept.len(), moved, "{numbers:?}");
    }
}

fn replayed(after: &str, requests: &[(&str, &str)]) -> (String, Counts) {
    let (before, after) = (report(FILE), report(after));
    let plan = |report| &side(report).compiled.plan;
    let mut replay = Replay::new(plan(&before), plan(&after));
    for (method, path) in requests {
        let method: Method = method.parse().expect("a method");
        replay.add(&Logged {
            method: &method,
            host: Some("a.example"),
            path,
        });
    }
    let (groups, counts) = replay.into_groups();
    let mut shown = String::new();
    for group in groups {
        writeln!(shown, "{} {}", group.count, group.sample).unwrap();
        for it in group.changes {
            let words = |text: Option<String>| text.unwrap_or("-".to_owned());
            let (before, after) = (words(it.before), words(it.after));
            writeln!(shown, "  {}: {before} to {after}", it.what).unwrap();
        }
    }
    (shown, counts)
}

#[test]
fn logged_requests_are_grouped_by_what_changes_for_them() {
    let after = FILE
        .replace("timeout: 3s", "timeout: 5s, retries: {attempts: 1}")
        .replace(
            "auth: {jwt: main}, backends: [{upstream: users}]",
            "auth: none, backends: [{upstream: spare}]",
        )
        .replace("path: /status", "path: /state");
    let (shown, counts) = replayed(
        &after,
        &[
            ("GET", "/users/7"),
            ("POST", "/users/8"),
            ("DELETE", "/users/8"),
            ("GET", "/spare"),
            ("GET", "/status"),
            ("GET", "/absent"),
            ("GET", "/bad/%zz"),
        ],
    );
    expect![[r"
        2 GET a.example/users/7
          auth: jwt main to none
          upstream: users to spare
        1 GET a.example/spare
          timeout: 3s to 5s
          retries: 3 tries to 2 tries
        1 GET a.example/status
          route: status to (no_route)
    "]]
    .assert_eq(&shown);
    let expected = Counts {
        requests: 7,
        changed: 4,
        uncertain: 0,
        ungrouped: 0,
    };
    assert_eq!(counts, expected);
}

#[test]
fn what_a_header_decides_is_counted_as_uncertain() {
    let after = FILE.replace(
        "path: /spare}",
        "path: /spare, headers: [{name: x-canary, present: true}]}",
    );
    let (shown, counts) = replayed(&after, &[("GET", "/spare"), ("GET", "/status")]);
    assert_eq!((counts.uncertain, counts.changed), (1, 1), "{shown}");
}

#[test]
fn pairs_of_routes_have_a_bound() {
    let route = |number: usize, status: u16| {
        format!(
            "  - {{name: r{number}, match: {{path: /{number}}}, auth: none, respond: {{status: {status}}}}}\n"
        )
    };
    let file = |status| {
        let routes: String = (0..=GROUPS_MAX).map(|it| route(it, status)).collect();
        report(&format!("version: 1\nroutes:\n{routes}"))
    };
    let (before, after) = (file(200), file(204));
    let mut replay = Replay::new(&side(&before).compiled.plan, &side(&after).compiled.plan);
    for number in 0..=GROUPS_MAX {
        let path = format!("/{number}");
        replay.add(&Logged {
            method: &Method::GET,
            host: None,
            path: &path,
        });
    }
    let (groups, counts) = replay.into_groups();
    assert_eq!((groups.len(), counts.ungrouped), (GROUPS_MAX, 1));
}
