//! Where credentials come from, what the upstream gets of them, and what a client without one is
//! told.

use serde_json::{Value, json};

use crate::support::backend::{Backend, echoed};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, Reply};
use crate::support::tokens::{self, AUDIENCE, ISSUER, claims, es256, rs256};

const ROUTES: &str = r#"
forwarded: {trusted_proxies: [127.0.0.0/8]}
jwt_providers:
  main:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [RS256, ES256]
    jwks_file: "${KEYS}"
    token_from: [authorization, {cookie: session}, {header: x-id-token}]
  partner:
    issuer: https://partner.example/
    audiences: [theirs]
    audience_claim: client_id
    algorithms: [ES256]
    token_type: at+jwt
    jwks_file: "${KEYS}"
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
  - name: browser
    match: {path_prefix: /browser}
    auth: {jwt: main, payload_to_header: x-jwt-payload, forward_credential: false}
    backends: [{upstream: backend}]
  - name: both
    match: {path_prefix: /both}
    auth: {jwt: [main, partner], claims_to_headers: {sub: x-user-id}}
    backends: [{upstream: backend}]
  - name: office
    match: {path_prefix: /office}
    auth:
      any:
        - {jwt: main, require: {scopes: {all: [admin, write]}, network: [192.0.2.0/24]}}
        - {network: [198.51.100.0/24]}
    backends: [{upstream: backend}]
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: backend}]}
"#;

struct Guarded {
    _backend: Backend,
    gateway: TestGateway,
    _keys: tempfile::NamedTempFile,
}

impl Guarded {
    fn start() -> Self {
        let keys = tempfile::NamedTempFile::new().expect("a file can be made");
        tokens::write_key_set(keys.path(), &[rs256(), es256()]);
        let backend = Backend::echo();
        let gateway = TestGateway::start(
            ROUTES,
            &[
                ("ISSUER", &ISSUER),
                ("AUDIENCE", &AUDIENCE),
                ("BACKEND", &backend.address()),
                ("KEYS", &keys.path().display()),
            ],
        );
        Self {
            _backend: backend,
            gateway,
            _keys: keys,
        }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let request = self.gateway.get(path);
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.fetch()
    }

    /// Status and code of a refusal.
    fn refusal(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let reply = self.get(path, headers);
        let code = reply.json()["code"].as_str().unwrap_or_default().to_owned();
        (reply.status(), code)
    }
}

fn token(change: Value) -> String {
    rs256().sign(&claims(change))
}

#[test]
fn a_token_may_come_in_a_cookie_or_a_header_and_need_not_go_on() {
    let guarded = Guarded::start();
    let token = token(json!({}));
    let payload = token.split('.').nth(1).expect("three parts");
    let bearer = format!("Bearer {token}");
    let cookies = format!("theme=dark; session={token}; lang=en");
    for headers in [
        [
            ("authorization", &*bearer),
            ("cookie", "theme=dark; lang=en"),
        ],
        [("cookie", &*cookies), ("x-jwt-payload", "e30")],
        [("x-id-token", &*token), ("cookie", "theme=dark; lang=en")],
        [("cookie", &*cookies), ("x_jwt_payload", "e30")],
    ] {
        let reply = guarded.get("/browser", &headers);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let echo = reply.json();
        assert_eq!(echoed(&echo, "x-jwt-payload"), [payload]);
        assert_eq!(echoed(&echo, "x_jwt_payload"), [""; 0]);
        assert_eq!(echoed(&echo, "cookie"), ["theme=dark; lang=en"]);
        for gone in ["authorization", "x-id-token"] {
            assert_eq!(echoed(&echo, gone), [""; 0], "{gone}");
        }
        assert!(!reply.text().contains(&token), "the token stays here");
    }
    let query = guarded.refusal(&format!("/browser?access_token={token}&token={token}"), &[]);
    assert_eq!(query, (401, "jwt_missing".into()));
    let twice = format!("session={token}; session={token}");
    let twice = guarded.refusal("/browser", &[("cookie", &twice)]);
    assert_eq!(twice, (400, "jwt_repeated".into()));
}

#[test]
fn the_payload_header_is_the_gateways_own_on_every_route() {
    let guarded = Guarded::start();
    for name in ["x-jwt-payload", "x_jwt_payload", "X-User-Id"] {
        let echo = guarded.get("/open", &[(name, "e30")]).json();
        assert_eq!(echoed(&echo, name), [""; 0], "{name}");
    }
}

#[test]
fn of_two_providers_the_issuer_of_the_token_decides() {
    let guarded = Guarded::start();
    let theirs = |change: Value| {
        let mut all = json!({
            "iss": "https://partner.example/", "aud": null, "client_id": "theirs", "sub": "pat",
        });
        let change = change.as_object().expect("an object").clone();
        all.as_object_mut().expect("an object").extend(change);
        es256().sign_as("at+jwt", &claims(all))
    };
    for (token, expected) in [
        (token(json!({})), "user-1"),
        (theirs(json!({})), "pat"),
        (
            theirs(json!({"client_id": "api", "aud": "theirs"})),
            "jwt_audience_mismatch",
        ),
        (theirs(json!({"iss": ISSUER})), "jwt_audience_mismatch"),
        (
            theirs(json!({"iss": "https://nobody.example/"})),
            "jwt_issuer_mismatch",
        ),
        (
            es256().sign(&claims(
                json!({"iss": "https://partner.example/", "client_id": "theirs"}),
            )),
            "jwt_issuer_mismatch",
        ),
    ] {
        let bearer = format!("Bearer {token}");
        let reply = guarded.get("/both", &[("authorization", &bearer)]);
        let json = reply.json();
        if reply.status() == 200 {
            assert_eq!(echoed(&json, "x-user-id"), [expected]);
        } else {
            assert_eq!(json["code"], expected);
        }
    }
}

#[test]
fn a_network_counts_by_the_clients_address_and_not_by_the_proxys() {
    let guarded = Guarded::start();
    let admin = format!("Bearer {}", token(json!({"scope": "write admin"})));
    let user = format!("Bearer {}", token(json!({})));
    let from = |client: &'static str| ("x-forwarded-for", client);
    for (headers, expected) in [
        (vec![from("198.51.100.7")], (200, "")),
        (vec![from("203.0.113.1, 198.51.100.7")], (200, "")),
        (
            vec![from("192.0.2.1"), ("authorization", &*admin)],
            (200, ""),
        ),
        (
            vec![from("192.0.2.1"), ("authorization", &*user)],
            (403, "jwt_scope_missing"),
        ),
        (vec![from("192.0.2.1")], (401, "jwt_missing")),
        (
            vec![from("203.0.113.1"), ("authorization", &*admin)],
            (403, "network_not_allowed"),
        ),
        (
            vec![from("198.51.100.7, 203.0.113.1")],
            (403, "network_not_allowed"),
        ),
        (vec![], (403, "network_not_allowed")),
    ] {
        let (status, code) = guarded.refusal("/office", &headers);
        assert_eq!((status, &*code), expected, "{headers:?}");
    }
    let refused = guarded.get("/office", &[from("192.0.2.1"), ("authorization", &user)]);
    assert_eq!(
        refused.headers["www-authenticate"],
        "Bearer error=\"insufficient_scope\", \
         error_description=\"the token lacks a required scope\", scope=\"admin write\""
    );
}
