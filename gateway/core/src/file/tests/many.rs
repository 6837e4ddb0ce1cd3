//! Files with many things wrong: all are reported in one run, in the order of the file.

use expect_test::{expect, expect_file};

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

/// Mistakes of both kinds: values that cannot be read, and others that can and make no sense.
const BOTH: &str = r#"version: 1
listeners: [{address: here}, {address: "127.0.0.1:8080"}, {address: "127.0.0.1:8080"}]
workers: many
limits: {headers: 0, connections: none}
shutdown: {lame_duck: 5, drain: 119s}
jwt_providers:
  main: {issuer: me, audiences: [], algorithms: [RS256], jwks_uri: [], clock_skew: 1d}
  other: 5
upstreams:
  users: {static: [nowhere, "127.0.0.1:0"]}
  products: [a]
  byname: {dns: {name: "", port: x}}
routes:
  - name: bad
    match: {path_prefix: [/bad]}
    auth: {jwt: other}
    retries: {attempts: 9, per_try_timeout: 5}
    backends: [{upstream: products}, {upstream: gone}]
  - {name: all, match: {path_prefix: /}, auth: {jwt: nobody}, backends: [{upstream: users, weight: x}, {upstream: usrs}]}
  - {name: all, match: {path: all}, auth: maybe, respond: {status: 600}}
"#;

#[test]
fn what_can_be_read_is_checked_although_something_else_cannot() {
    expect![[r"
        2:23 listeners[0].address: `here` is not an address | write an IP address and a port, such as `127.0.0.1:8080`
        3:10 workers: expected a whole number from 0 to 4294967295, found the text `many`
        4:19 limits.headers: 0 is out of range | write a number from 1 to 1000
        4:35 limits.connections: expected a whole number from 0 to 4294967295, found the text `none`
        5:23 shutdown.lame_duck: `5` has no unit | write it with one, such as `10s` or `250ms`
        7:22 jwt_providers.main.audiences: `audiences` is empty: no token would pass | name at least one that the tokens have as `aud`, such as `[api]`
        7:68 jwt_providers.main.jwks_uri: expected a string, found a list
        7:84 jwt_providers.main.clock_skew: 1d is out of range | write a duration from 0s to 5m
        8:10 jwt_providers.other: expected a map, found the number `5` | its keys are `issuer`, `audiences`, `algorithms`, `discovery`, `jwks_uri`, `jwks_file`, `jwks`, `secret`, `allow_http`, `audience_claim`, `token_type`, `token_from`, `clock_skew`, `refresh_interval`, `min_refresh_interval`, `max_refresh_interval`, `max_stale`, `unknown_key_wait`, `revocations`, `max_token_size`
        10:20 upstreams.users.static[0]: `nowhere` is not an address | write an IP address and a port, such as `127.0.0.1:8080`
        11:13 upstreams.products: expected a map, found a list | its keys are `cloud_map`, `static`, `dns`, `file`, `load_balancer`, `zone_aware`, `slow_start`, `connect_timeout`, `connections`, `limits`, `outlier_detection`, `health_check`, `identity`
        12:24 upstreams.byname.dns.name: `name` is empty | write the name to look up, such as `api.internal`
        12:34 upstreams.byname.dns.port: expected a whole number from 0 to 65535, found the text `x`
        15:26 routes[0].match.path_prefix: expected a string, found a list
        17:25 routes[0].retries.attempts: 9 is out of range | write a number from 0 to 5
        17:45 routes[0].retries.per_try_timeout: `5` has no unit | write it with one, such as `10s` or `250ms`
        18:49 routes[0].backends[1].upstream: `gone` is not defined under `upstreams` | `upstreams` has `byname`, `users`
        19:54 routes[1].auth.jwt: `nobody` is not defined under `jwt_providers` | `jwt_providers` has `main`
        19:100 routes[1].backends[0].weight: expected a whole number from 0 to 4294967295, found the text `x`
        19:115 routes[1].backends[1].upstream: `usrs` is not defined under `upstreams` | did you mean `users`?
        20:12 routes[2].name: the name `all` is that of routes[1] too | give each route a name of its own: logs and metrics go by it
        20:31 routes[2].match.path: no request can have the path `all`: the path does not begin with `/`
        20:43 routes[2].auth: unknown value `maybe` | known values: `none`
        20:68 routes[2].respond.status: 600 is out of range | write a number from 200 to 599
    "]].assert_eq(&problems(BOTH));
}

#[test]
fn an_item_that_cannot_be_read_does_not_shift_the_blame() {
    let route = |name: &str, upstream: &str| {
        format!(
            "  - {{name: {name}, match: {{path: /{name}}}, auth: none, backends: [{{upstream: {upstream}}}]}}\n"
        )
    };
    let text = [
        "version: 1\nupstreams: {u: {static: [\"127.0.0.1:1\"]}}\nroutes:\n",
        &route("a", "u"),
        "  - 7\n",
        &route("b", "gone"),
    ]
    .concat();
    expect![[r"
        5:5 routes[1]: expected a map, found the number `7` | its keys are `name`, `match`, `auth`, `timeout`, `retries`, `hedge`, `priority`, `access_log`, `max_request_body`, `backends`, `sticky`, `respond`
    "]].assert_eq(&problems(&text));
}

#[test]
fn no_mutation_of_a_file_panics_and_every_refusal_says_why() {
    const PIECES: [&str; 12] = [
        "",
        "x",
        "0",
        "-1",
        "[]",
        "{}",
        "\"",
        ": ",
        "\n",
        "4294967295",
        "${X}",
        "null",
    ];
    let seed = 7;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..1_000 {
        println!("seed {seed}, round {round}");
        let mut text = [MANY, BOTH, good::FULL][round % 3].to_owned();
        for _ in 0..random.usize(1..4) {
            let mut at = [random.usize(..text.len()), random.usize(..text.len())];
            at[1] = at[1].min(at[0] + 12).max(at[0]);
            let piece = random.choice(PIECES).expect("there are pieces");
            if at.iter().all(|at| text.is_char_boundary(*at)) {
                text.replace_range(at[0]..at[1], piece);
            }
        }
        if let Err(problems) = try_read(&text) {
            assert!(!problems.is_empty(), "{text}");
        }
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
