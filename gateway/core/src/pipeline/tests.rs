//! The order of the steps, seen from outside: which answer a request gets that several steps
//! would refuse.

use std::cell::Cell;
use std::fmt::Write as _;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use expect_test::expect;
use http::header::AUTHORIZATION;
use serde_json::json;

use super::*;
use crate::config::Source;
use crate::file::{Compiled, read};

const NOW: UnixSeconds = 1_700_000_000;

const ROUTES: &str = r#"
version: 1
jwt_providers:
  main: {issuer: me, audiences: [api], algorithms: [EdDSA], jwks_file: keys.json}
upstreams:
  users: {static: ["127.0.0.1:9001"]}
defaults: {max_request_body: 10}
routes:
  - name: users
    match: {path_prefix: /users, methods: [GET, PUT]}
    auth: {jwt: main, require: {scopes: {all: ["users:read"]}}}
    backends: [{upstream: users}]
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: users}]}
  - {name: fixed, match: {path: /fixed}, auth: none, respond: {status: 200, body: ok}}
"#;

/// A plan, the keys of its one provider, and a worker's cache.
struct Gateway {
    plan: Plan,
    signer: Ed25519KeyPair,
    ring: Arc<KeyRing>,
    cache: TokenCache,
    rings_asked: Cell<usize>,
}

impl Gateway {
    fn new() -> Self {
        let source = Source {
            name: "routes.yaml",
            text: ROUTES,
        };
        let Compiled { plan, .. } =
            read(source, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let signer = Ed25519KeyPair::generate().unwrap();
        let x = URL_SAFE_NO_PAD.encode(signer.public_key());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]});
        let ring = KeyRing::from_jwk_set(set.to_string().as_bytes()).unwrap();
        Self {
            plan,
            signer,
            ring: Arc::new(ring),
            cache: TokenCache::new(10, 10_000),
            rings_asked: Cell::new(0),
        }
    }

    fn token(&self, scope: &str) -> String {
        let claims =
            json!({"iss": "me", "aud": "api", "sub": "ann", "exp": NOW + 60, "scope": scope});
        let [header, payload] =
            [json!({"alg": "EdDSA"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{payload}");
        let signature = self.signer.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What becomes of `METHOD PATH`, with the text of an `Authorization` header.
    fn answer(&mut self, line: &str, credential: &str, body_bytes: Option<u64>) -> String {
        let (method, path) = line.split_once(' ').unwrap();
        let mut headers = HeaderMap::new();
        if !credential.is_empty() {
            headers.insert(AUTHORIZATION, credential.parse().unwrap());
        }
        let head = Head {
            method: &method.parse().unwrap(),
            host: Some("gateway.example"),
            path: &CleanPath::parse(path).unwrap(),
            query: None,
            headers: &headers,
            body_bytes,
        };
        let ring = |_| {
            self.rings_asked.set(self.rings_asked.get() + 1);
            &self.ring
        };
        match decide(&self.plan, &head, ring, &mut self.cache, NOW) {
            Ok(decision) => {
                assert_eq!(
                    &*decision.route.name,
                    &*self.plan.routes[decision.route_index].name
                );
                let subject = decision
                    .caller
                    .as_ref()
                    .and_then(|caller| caller.subject.as_deref());
                format!("{} {}", decision.route.name, subject.unwrap_or("anybody"))
            }
            Err(Refusal {
                rejection,
                route_index,
                allow,
                ..
            }) => {
                let status = rejection.reason.status().as_u16();
                let mut text = format!("{status} {}", rejection.reason.code());
                if let Some(index) = route_index {
                    write!(text, " at {}", self.plan.routes[index].name).unwrap();
                }
                if let Some(allow) = allow {
                    write!(text, " allow {}", allow.to_str().unwrap()).unwrap();
                }
                text
            }
        }
    }
}

#[test]
fn route_then_method_then_caller_then_body() {
    let mut gateway = Gateway::new();
    let good = format!("Bearer {}", gateway.token("users:read"));
    let weak = format!("Bearer {}", gateway.token("users:write"));
    let (bad, none) = ("Bearer a.b.c", "");
    let mut report = String::new();
    for (line, who, body_bytes) in [
        ("GET /nowhere", none, Some(11)),
        ("GET /nowhere", bad, None),
        ("GET /nowhere", &good, None),
        ("GET /usersx", &good, None),
        ("POST /users", none, Some(11)),
        ("POST /users", bad, Some(11)),
        ("POST /users", &good, Some(11)),
        ("PUT /users", none, Some(11)),
        ("PUT /users", bad, Some(11)),
        ("PUT /users", &weak, Some(11)),
        ("PUT /users", &good, Some(11)),
        ("PUT /users", &good, Some(u64::MAX)),
        ("PUT /users", &good, Some(10)),
        ("PUT /users", &good, Some(0)),
        ("PUT /users", &good, None),
        ("HEAD /users", &good, None),
        ("GET /users", &weak, None),
        ("POST /open", none, None),
        ("POST /open", bad, Some(10)),
        ("POST /open", bad, Some(11)),
        ("GET /fixed", none, None),
        ("DELETE /fixed", bad, Some(10)),
        ("GET /fixed/more", none, None),
    ] {
        let credential = match who {
            "" => "nobody",
            who if who == good => "good token",
            who if who == weak => "token without the scope",
            _ => "bad token",
        };
        let answer = gateway.answer(line, who, body_bytes);
        writeln!(report, "{line}, {credential}, {body_bytes:?}: {answer}").unwrap();
    }
    expect![[r"
        GET /nowhere, nobody, Some(11): 404 no_route
        GET /nowhere, bad token, None: 404 no_route
        GET /nowhere, good token, None: 404 no_route
        GET /usersx, good token, None: 404 no_route
        POST /users, nobody, Some(11): 405 method_not_allowed allow GET, HEAD, PUT
        POST /users, bad token, Some(11): 405 method_not_allowed allow GET, HEAD, PUT
        POST /users, good token, Some(11): 405 method_not_allowed allow GET, HEAD, PUT
        PUT /users, nobody, Some(11): 401 jwt_missing at users
        PUT /users, bad token, Some(11): 401 jwt_malformed at users
        PUT /users, token without the scope, Some(11): 403 jwt_scope_missing at users
        PUT /users, good token, Some(11): 413 body_too_large at users
        PUT /users, good token, Some(18446744073709551615): 413 body_too_large at users
        PUT /users, good token, Some(10): users ann
        PUT /users, good token, Some(0): users ann
        PUT /users, good token, None: users ann
        HEAD /users, good token, None: users ann
        GET /users, token without the scope, None: 403 jwt_scope_missing at users
        POST /open, nobody, None: open anybody
        POST /open, bad token, Some(10): open anybody
        POST /open, bad token, Some(11): 413 body_too_large at open
        GET /fixed, nobody, None: fixed anybody
        DELETE /fixed, bad token, Some(10): fixed anybody
        GET /fixed/more, nobody, None: 404 no_route
    "]]
    .assert_eq(&report);
}

#[test]
fn keys_are_looked_at_only_where_a_route_asks_for_a_token() {
    let mut gateway = Gateway::new();
    for line in ["GET /nowhere", "POST /users", "GET /open", "GET /fixed"] {
        gateway.answer(line, "Bearer x", None);
    }
    assert_eq!(gateway.rings_asked.get(), 0);
    gateway.answer("GET /users", "", None);
    assert_eq!(gateway.rings_asked.get(), 1);
}

#[test]
fn a_cached_token_is_refused_for_its_body_all_the_same() {
    let mut gateway = Gateway::new();
    let good = format!("Bearer {}", gateway.token("users:read"));
    assert_eq!(gateway.answer("GET /users", &good, None), "users ann");
    assert_eq!(gateway.cache.len(), 1);
    let answer = gateway.answer("GET /users", &good, Some(11));
    assert_eq!(answer, "413 body_too_large at users");
}
