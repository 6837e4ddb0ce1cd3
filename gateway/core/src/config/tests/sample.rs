//! Types that mirror the routes file, and what a good file decodes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use super::super::{Problems, Source, TextOr, item, join, near};
use super::read;
use crate::words::units::{ByteSize, HumanDuration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct File {
    pub(super) version: u8,
    pub(super) listeners: Vec<Listener>,
    pub(super) workers: Option<u16>,
    #[serde(default)]
    pub(super) jwt_providers: BTreeMap<String, Provider>,
    #[serde(default)]
    pub(super) upstreams: BTreeMap<String, Upstream>,
    #[serde(default)]
    pub(super) defaults: Defaults,
    pub(super) routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    #[serde(default)]
    pub(super) proxy_protocol: bool,
    pub(super) max_body: Option<ByteSize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Provider {
    issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    jwks_uri: String,
    clock_skew: Option<HumanDuration>,
}

#[derive(Debug, Deserialize)]
pub(super) enum Algorithm {
    RS256,
    ES256,
}

/// One source of endpoints; that it is exactly one is for a later check.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Upstream {
    cloud_map: Option<CloudMap>,
    r#static: Option<Vec<SocketAddr>>,
    #[serde(default)]
    load_balancer: Balancer,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct CloudMap {
    namespace: String,
    service: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Balancer {
    #[default]
    RoundRobin,
    LeastRequest,
    ConsistentHash {
        #[expect(dead_code, reason = "only decoding matters here")]
        header: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Defaults {
    timeout: Option<HumanDuration>,
    retries: Option<Retries>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Retries {
    attempts: u8,
    budget_percent: Option<f64>,
    per_try_timeout: Option<HumanDuration>,
    #[serde(default)]
    retry_on: Vec<RetryOn>,
}

/// `connect_failure` or a status.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum RetryOn {
    ConnectFailure,
    Status(#[expect(dead_code, reason = "only decoding matters here")] u16),
}

impl TryFrom<String> for RetryOn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match (text.as_str(), text.parse()) {
            ("connect_failure", _) => Ok(Self::ConnectFailure),
            (_, Ok(status @ 500..=599)) => Ok(Self::Status(status)),
            _ => Err(format!(
                "`{text}` is nothing to retry on; write `connect_failure` or a status such as `503`"
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) r#match: Match,
    pub(super) auth: Auth,
    pub(super) timeout: Option<HumanDuration>,
    pub(super) retries: Option<Retries>,
    #[serde(default)]
    pub(super) backends: Backends,
    pub(super) respond: Option<Respond>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Match {
    path: Option<String>,
    path_prefix: Option<String>,
    #[serde(default)]
    methods: Vec<String>,
}

/// `none`, or a map.
#[derive(Debug, Deserialize)]
#[serde(from = "TextOr<Open, Check>")]
pub(super) enum Auth {
    Open,
    Check(#[expect(dead_code, reason = "only decoding matters here")] Check),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Open {
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Check {
    jwt: String,
    #[serde(default)]
    claims_to_headers: BTreeMap<String, String>,
}

impl From<TextOr<Open, Check>> for Auth {
    fn from(written: TextOr<Open, Check>) -> Self {
        match written {
            TextOr::Text(Open::None) => Self::Open,
            TextOr::Other(check) => Self::Check(check),
        }
    }
}

/// A check over several values, which must stay silent when one is bad.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<Backend>")]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Backends(Vec<Backend>);

impl TryFrom<Vec<Backend>> for Backends {
    type Error = &'static str;

    fn try_from(backends: Vec<Backend>) -> Result<Self, Self::Error> {
        let sum: u32 = backends.iter().map(|backend| backend.weight).sum();
        if sum == 100 {
            Ok(Self(backends))
        } else {
            Err("the weights do not sum to 100; change one")
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Backend {
    upstream: String,
    #[serde(default = "all")]
    weight: u32,
}

fn all() -> u32 {
    100
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Respond {
    status: u16,
    body: String,
}

pub(super) const SAMPLE: &str = r#"
version: 1
listeners: [{address: "0.0.0.0:8080", max_body: 10MiB}]
workers: ${WORKERS:-2}
jwt_providers:
  main:
    issuer: https://issuer.example/
    audiences: [api]
    algorithms: [RS256, ES256]
    jwks_uri: https://issuer.example/.well-known/jwks.json
    clock_skew: 60s
upstreams:
  users:    {cloud_map: &map {namespace: "${NAMESPACE}", service: users}}
  products: {cloud_map: *map}
  legacy:   {static: ["127.0.0.1:9001", "127.0.0.1:9002"], load_balancer: least_request}
  hashed:   {static: ["127.0.0.1:9001"], load_balancer: {consistent_hash: {header: x-user}}}
defaults: {timeout: 10s, retries: {attempts: 2, budget_percent: 20}}
routes:
  - name: users
    match: {path_prefix: /users, methods: [GET]}
    auth:
      jwt: main
      claims_to_headers: {sub: x-user-id, "a.b": x-ab}
    timeout: 3s
    retries: {attempts: 2, per_try_timeout: 1s, retry_on: [connect_failure, 502, 503]}
    backends: [{upstream: users, weight: 90}, {upstream: legacy, weight: 10}]
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200, body: ok}}
"#;

#[test]
fn a_good_file_decodes_with_its_variables() {
    let (file, _) = read::<File>(SAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(file.workers, Some(4));
    assert_eq!(file.routes.len(), 2);
    assert!(matches!(file.routes[0].auth, Auth::Check(_)));
    assert!(matches!(file.routes[1].auth, Auth::Open));
    let map = file.upstreams["products"].cloud_map.as_ref().unwrap();
    assert_eq!(map.namespace, "prod.internal");
    assert!(matches!(
        file.upstreams["hashed"].load_balancer,
        Balancer::ConsistentHash { .. }
    ));
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let crlf = format!("\u{feff}{}", SAMPLE.replace('\n', "\r\n"));
    let (_, positions) = read::<File>(&crlf).unwrap_or_else(|problems| panic!("{problems}"));
    let (_, expected) = read::<File>(SAMPLE).unwrap();
    assert_eq!(
        positions.at("routes[1].name"),
        expected.at("routes[1].name")
    );
}

#[test]
fn positions_fall_back_to_the_nearest_enclosing_path() {
    let (_, positions) = read::<File>(SAMPLE).unwrap();
    let at = |path: &str| {
        let position = positions.at(path).unwrap();
        (position.line, position.column, position.length)
    };
    for (path, expected) in [
        ("routes[0].timeout", (24, 14, 2)),
        ("routes[0].auth", (21, 5, 4)),
        ("routes[0].auth.claims_to_headers.absent.more", (23, 7, 17)),
        (r#"routes[0].auth.claims_to_headers["a.b"]"#, (23, 50, 4)),
        (r#"routes[0].auth.claims_to_headers["c.d"]"#, (23, 7, 17)),
        ("routes[7]", (18, 1, 6)),
        ("nothing", (2, 1, 1)),
        ("", (2, 1, 1)),
    ] {
        assert_eq!(at(path), expected, "{path}");
    }
    let key = positions.key("routes[0].timeout").unwrap();
    assert_eq!((key.line, key.column, key.length), (24, 5, 7));
    assert!(positions.is_given("workers") && !positions.is_given("admin"));
}

#[test]
fn later_checks_add_problems_of_their_own() {
    let (_, positions) = read::<File>(SAMPLE).unwrap();
    let mut problems = Problems::new(&Source {
        name: "routes.yaml",
        text: SAMPLE,
    });
    assert!(problems.clone().into_result().is_ok());
    let route = item("routes", 0);
    let path = join(&item(&join(&route, "backends"), 1), "upstream");
    let help = near("lagacy", ["users", "legacy"]).map(|near| format!("did you mean `{near}`?"));
    for _ in 0..2 {
        let message = "upstream `lagacy` is not defined";
        problems.add(&positions, path.as_str(), message, help.clone());
    }
    problems.add(&positions, "version", "version 1 is old", None);
    expect_test::expect![[r"
        error: version 1 is old
         --> routes.yaml:2:10 (version)
          |
        2 | version: 1
          |          ^

        error: upstream `lagacy` is not defined
          --> routes.yaml:26:58 (routes[0].backends[1].upstream)
           |
        26 |     backends: [{upstream: users, weight: 90}, {upstream: legacy, weight: 10}]
           |                                                          ^^^^^^ help: did you mean `legacy`?
    "]]
    .assert_eq(&problems.to_string());
    assert_eq!(problems.into_result().unwrap_err().len(), 2);
}
