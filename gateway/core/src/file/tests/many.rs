//! Files with many things wrong: all are reported in one run, in the order of the file.

use expect_test::expect_file;

use super::*;

/// What only the meaning of the file shows, one mistake in nearly every line.
const MANY: &str = r#"version: 2
listeners: [{address: "0.0.0.0:9090"}]
workers: 500
access_log: {output: stdot}
limits: {headers: 0, head_timeout: 2h}
shutdown: {lame_duck: 60s, drain: 60s}
jwt_providers:
  main:
    issuer: ""
    audiences: []
    algorithms: [RS256]
    jwks_uri: http://issuer.example/jwks.json
    clock_skew: 10m
upstreams:
  users: {static: []}
  products: {cloud_map: {namespace: a, service: b}, dns: {name: c, port: 1}}
defaults: {timeout: 2h}
routes:
  - name: users
    match: {path_prefix: /users}
    auth: {jwt: mian, claims_to_headers: {sub: host}}
    retries: {attempts: 9}
    backends: [{upstream: user}, {upstream: products, weight: 2000000}]
  - name: users
    match: {path_prefix: /users}
    auth: none
    respond: {status: 204, body: ok}
  - name: nothing
    match: {path: users}
    auth: none
"#;

#[test]
fn all_that_is_wrong_is_said_in_one_run_and_in_the_order_of_the_file() {
    let problems = try_read(MANY).expect_err("it is wrong everywhere");
    assert!(problems.len() >= 10, "{}", problems.len());
    let places: Vec<_> = problems.iter().map(|problem| problem.position).collect();
    assert!(places.is_sorted(), "{places:?}");
    expect_file!["many.txt"].assert_eq(&problems.to_string());
}

#[test]
fn a_table_that_does_not_build_hides_nothing() {
    let of = |section: &str| {
        let problems = try_read(MANY).expect_err("it is wrong everywhere");
        let paths = problems.iter().map(|problem| problem.path.clone());
        paths.filter(|path| path.starts_with(section)).count()
    };
    for section in [
        "routes[1].match",
        "routes[2].match",
        "workers",
        "limits",
        "shutdown",
        "upstreams",
    ] {
        assert!(of(section) > 0, "{section}");
    }
}

#[test]
fn names_without_a_near_miss_are_listed_up_to_a_bound() {
    let upstreams = (0..30).fold(String::new(), |text, n| {
        format!("{text}  number{n:02}: {{static: [\"127.0.0.1:1\"]}}\n")
    });
    let text = format!(
        "version: 1\nupstreams:\n{upstreams}routes:\n  - {{name: a, match: {{path: /}}, auth: none, backends: [{{upstream: x}}]}}\n"
    );
    let said = problems(&text);
    assert!(
        said.contains("`number00`") && said.contains("`number09` and 20 more"),
        "{said}"
    );
    assert!(!said.contains("number10"), "{said}");
}

#[test]
fn backends_are_bounded() {
    let backends = vec!["{upstream: u, weight: 1000000}"; 5000].join(", ");
    let text = format!(
        "version: 1\nupstreams: {{u: {{static: [\"127.0.0.1:1\"]}}}}\nroutes:\n  - {{name: a, match: {{path: /}}, auth: none, backends: [{backends}]}}\n"
    );
    let said = problems(&text);
    assert!(said.contains("5000 backends are more than 100"), "{said}");
}
