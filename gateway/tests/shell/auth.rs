//! Tokens over the wire: who is let in, who is not and why, and where the keys come from.

use http::Response;
use serde_json::{Value, json};

use crate::support::backend::{Backend, Gate, echoed, full};
use crate::support::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::tokens::{
    self, AUDIENCE, ISSUER, Key, claims, es256, good_token, key_set, now, rs256, tampered, unsigned,
};

const ROUTES: &str = r#"
jwt_providers:
  main:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}", other]
    algorithms: [RS256, ES256]
    ${KEYS}
    clock_skew: 5s
    max_token_size: 4KiB
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
  - name: users
    match: {path_prefix: /users}
    auth:
      jwt: main
      require: {scopes: {all: ["users:read"]}, claims: {tenant: {any_of: [a, b]}}}
      claims_to_headers: {sub: x-user-id, tenant: x-tenant}
    backends: [{upstream: backend}]
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: backend}]}
"#;

/// An upstream that echoes, behind a gateway whose keys lie in a file.
struct Guarded {
    backend: Backend,
    gateway: TestGateway,
    _keys: tempfile::NamedTempFile,
}

impl Guarded {
    fn start() -> Self {
        let keys = tempfile::NamedTempFile::new().expect("a file can be made");
        tokens::write_key_set(keys.path(), &[rs256(), es256()]);
        let backend = Backend::echo();
        let place = format!("jwks_file: {}", keys.path().display());
        Self {
            gateway: start(&place, &backend),
            backend,
            _keys: keys,
        }
    }
}

fn start(keys: &str, backend: &Backend) -> TestGateway {
    let yaml = ROUTES.replace("${KEYS}", keys);
    TestGateway::start(
        &yaml,
        &[
            ("ISSUER", &ISSUER),
            ("AUDIENCE", &AUDIENCE),
            ("BACKEND", &backend.address()),
        ],
    )
}

/// Claims that the route of `/users` accepts, changed.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write `json!` in place"
)]
fn user(change: Value) -> Value {
    let mut all = json!({"tenant": "a"});
    let change = change.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(change);
    claims(all)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn a_good_token_lets_its_caller_through_with_its_claims_as_headers() {
    let guarded = Guarded::start();
    for key in [rs256(), es256()] {
        for (change, id) in [
            (json!({}), "user-1"),
            (json!({"aud": ["x", "other"], "sub": "user-2"}), "user-2"),
            (json!({"scope": "x users:read y"}), "user-1"),
            (json!({"scope": null, "scp": ["users:read"]}), "user-1"),
            (json!({"nbf": now() + 2}), "user-1"),
            (json!({"exp": now() - 2}), "user-1"),
        ] {
            let token = key.sign(&user(change.clone()));
            let reply = guarded
                .gateway
                .get("/users")
                .header("authorization", bearer(&token))
                .fetch();
            assert_eq!(reply.status(), 200, "{change}: {}", reply.text());
            let echo = reply.json();
            assert_eq!(echoed(&echo, "x-user-id"), [id], "{change}");
            assert_eq!(echoed(&echo, "x-tenant"), ["a"], "{change}");
            assert_eq!(
                echoed(&echo, "authorization"),
                [&*bearer(&token)],
                "{change}"
            );
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_fault_of_a_credential_has_its_own_reason() {
    let guarded = Guarded::start();
    let sign = |change: Value| bearer(&rs256().sign(&user(change)));
    let good = rs256().sign(&user(json!({})));
    let hs256 = {
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
        // The oldest trick: the public key as the secret.
        let secret = jsonwebtoken::EncodingKey::from_secret(key_set(&[rs256()]).as_bytes());
        jsonwebtoken::encode(&header, &user(json!({})), &secret).expect("it signs")
    };
    let stranger = Key::es256("stranger");
    let impostor = Key::es256("ec-1");
    // A signature of 256 bytes is 342 characters: without the last two it is 255 bytes.
    let cases: Vec<(&str, Option<String>, u16, &str)> = vec![
        ("nothing", None, 401, "jwt_missing"),
        (
            "another scheme",
            Some("Basic eDp5".into()),
            401,
            "jwt_missing",
        ),
        ("no token", Some("Bearer ".into()), 401, "jwt_missing"),
        ("not a token", Some("Bearer x".into()), 401, "jwt_malformed"),
        ("two parts", Some("Bearer a.b".into()), 401, "jwt_malformed"),
        (
            "four parts",
            Some(format!("Bearer {good}.x")),
            401,
            "jwt_malformed",
        ),
        (
            "expired",
            Some(sign(json!({"exp": now() - 60}))),
            401,
            "jwt_expired",
        ),
        (
            "without an expiry",
            Some(sign(json!({"exp": null}))),
            401,
            "jwt_expiry_missing",
        ),
        (
            "an expiry of text",
            Some(sign(json!({"exp": "never"}))),
            401,
            "jwt_malformed",
        ),
        (
            "not yet valid",
            Some(sign(json!({"nbf": now() + 60}))),
            401,
            "jwt_not_yet_valid",
        ),
        (
            "tampered",
            Some(bearer(&tampered(&good, &user(json!({"sub": "root"}))))),
            401,
            "jwt_signature_invalid",
        ),
        (
            "a cut signature",
            Some(bearer(&good[..good.len() - 2])),
            401,
            "jwt_signature_invalid",
        ),
        (
            "unsigned",
            Some(bearer(&unsigned(&user(json!({}))))),
            401,
            "jwt_algorithm_not_allowed",
        ),
        (
            "signed with the public key",
            Some(bearer(&hs256)),
            401,
            "jwt_algorithm_not_allowed",
        ),
        (
            "an unknown key",
            Some(bearer(&stranger.sign(&user(json!({}))))),
            401,
            "jwt_key_unknown",
        ),
        (
            "a known name for another key",
            Some(bearer(&impostor.sign(&user(json!({}))))),
            401,
            "jwt_signature_invalid",
        ),
        (
            "another issuer",
            Some(sign(json!({"iss": "https://evil.example/"}))),
            401,
            "jwt_issuer_mismatch",
        ),
        (
            "no issuer",
            Some(sign(json!({"iss": null}))),
            401,
            "jwt_issuer_mismatch",
        ),
        (
            "another audience",
            Some(sign(json!({"aud": "x"}))),
            401,
            "jwt_audience_mismatch",
        ),
        (
            "no audience",
            Some(sign(json!({"aud": null}))),
            401,
            "jwt_audience_mismatch",
        ),
        (
            "too large",
            Some(sign(json!({"x": "y".repeat(5000)}))),
            401,
            "jwt_too_large",
        ),
        (
            "no scope",
            Some(sign(json!({"scope": null}))),
            403,
            "jwt_scope_missing",
        ),
        (
            "another scope",
            Some(sign(json!({"scope": "users:readers"}))),
            403,
            "jwt_scope_missing",
        ),
        (
            "another tenant",
            Some(sign(json!({"tenant": "c"}))),
            403,
            "jwt_claim_mismatch",
        ),
        (
            "a claim that breaks a header",
            Some(sign(json!({"sub": "a\r\nx-admin: 1"}))),
            403,
            "jwt_claim_mismatch",
        ),
    ];
    let mut counts = std::collections::BTreeMap::new();
    for (name, credential, status, reason) in &cases {
        let mut request = guarded.gateway.get("/users");
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let reply = request.fetch();
        assert_eq!(
            (reply.status(), &*reply.reason()),
            (*status, *reason),
            "{name}"
        );
        assert_eq!(
            reply.header("cache-control").as_deref(),
            Some("no-store"),
            "{name}"
        );
        let challenge = reply
            .header("www-authenticate")
            .expect("RFC 6750 section 3");
        match (status, *reason) {
            (_, "jwt_missing") => assert_eq!(challenge, "Bearer", "{name}"),
            (401, _) => assert!(
                challenge.starts_with("Bearer error=\"invalid_token\","),
                "{challenge}"
            ),
            _ => assert!(
                challenge.starts_with("Bearer error=\"insufficient_scope\","),
                "{challenge}"
            ),
        }
        *counts.entry(*reason).or_insert(0) += 1;
    }
    assert_eq!(guarded.backend.requests(), 0);

    // The same words stand in the access log and in the metrics.
    let lines = guarded.gateway.access_lines(cases.len());
    for ((name, _, status, reason), line) in cases.iter().zip(&lines) {
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&(*status).into(), &(*reason).into()),
            "{name}"
        );
        assert_eq!(line["route"], "users");
    }
    let metrics = guarded.gateway.metrics();
    for (reason, count) in counts {
        let series =
            format!("gateway_answers_by_reason_total{{route=\"users\",reason=\"{reason}\"}}");
        assert_eq!(metrics.value(&series), count, "{reason}");
    }
}

#[test]
fn a_second_credential_is_refused_not_chosen_from() {
    let guarded = Guarded::start();
    let token = rs256().sign(&user(json!({})));
    let mut wire = guarded.gateway.wire();
    for other in ["Basic eDp5", &bearer(&token)] {
        wire.send(format!(
            "GET /users HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nauthorization: {other}\r\n\r\n"
        ));
        let answer = wire.receive();
        assert_eq!((answer.status, &*answer.reason()), (400, "jwt_repeated"));
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(
            challenge.starts_with("Bearer error=\"invalid_request\","),
            "{challenge}"
        );
    }
    assert_eq!(guarded.backend.requests(), 0);
}

#[test]
fn identity_headers_come_from_the_gateway_or_not_at_all() {
    let guarded = Guarded::start();
    let forged = "x-user-id: root\r\nX-USER-ID: root\r\nx_user_id: root\r\nX-User_Id: root\r\n\
                  x-tenant: b\r\nx_tenant: b\r\nconnection: x-user-id\r\n";
    let token = rs256().sign(&user(json!({})));
    for (path, credential, ids) in [
        (
            "/users",
            format!("authorization: Bearer {token}\r\n"),
            vec!["user-1"],
        ),
        ("/open", String::new(), vec![]),
        // Nobody checks a credential here, so nobody is identified.
        (
            "/open",
            format!("authorization: Bearer {token}\r\n"),
            vec![],
        ),
    ] {
        let mut wire = guarded.gateway.wire();
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\n{forged}{credential}\r\n"
        ));
        let answer = wire.receive();
        assert_eq!(answer.status, 200, "{path}");
        let echo = answer.json();
        assert_eq!(echoed(&echo, "x-user-id"), ids, "{path}");
        assert_eq!(echoed(&echo, "x-tenant").len(), ids.len(), "{path}");
        for spelling in ["x_user_id", "x-user_id", "x_tenant"] {
            assert!(echoed(&echo, spelling).is_empty(), "{path}: {spelling}");
        }
    }
}

#[test]
fn a_token_that_was_good_is_checked_again_when_it_has_expired() {
    let guarded = Guarded::start();
    // 5 s of skew: this one has one second or two left.
    let token = rs256().sign(&user(json!({"exp": now() - 3})));
    let ask = || {
        guarded
            .gateway
            .get("/users")
            .header("authorization", bearer(&token))
            .fetch()
    };
    assert_eq!(ask().status(), 200);
    eventually("it expires", || (ask().status() == 401).then_some(()));
    assert_eq!(ask().reason(), "jwt_expired");
}

#[test]
fn the_credential_is_checked_before_the_body_is_asked_for() {
    let guarded = Guarded::start();
    let mut wire = guarded.gateway.wire();
    wire.send(
        "POST /users HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n",
    );
    let answer = wire.receive();
    assert_eq!((answer.status, &*answer.reason()), (401, "jwt_missing"));
}

/// A provider that publishes keys once the test lets it.
fn provider(gate: &Gate, keys: String) -> Backend {
    let gate = gate.clone();
    Backend::answering(move |request| {
        let (gate, keys) = (gate.clone(), keys.clone());
        async move {
            assert_eq!(request.uri().path(), "/jwks.json");
            gate.pass().await;
            Response::new(full(keys))
        }
    })
}

#[test]
fn until_the_keys_are_there_the_gateway_is_not_ready_and_says_so() {
    let gate = Gate::closed();
    let provider = provider(&gate, key_set(&[rs256()]));
    let backend = Backend::echo();
    let uri = format!("jwks_uri: http://{}/jwks.json", provider.address());
    let gateway = start(&uri, &backend);
    let token = bearer(&rs256().sign(&user(json!({}))));
    let ask = || {
        gateway
            .get("/users")
            .header("authorization", &token)
            .fetch()
    };

    eventually("the keys are asked for", || {
        (provider.requests() == 1).then_some(())
    });
    let ready = gateway.admin("/readyz");
    assert_eq!(ready.status(), 503);
    assert_eq!(
        ready.json()["waiting_for"],
        json!(["keys of jwt provider `main`"])
    );
    assert_eq!(gateway.admin("/healthz").status(), 200);
    let reply = ask();
    assert_eq!(
        (reply.status(), &*reply.reason()),
        (503, "jwt_keys_unavailable")
    );
    assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
    assert_eq!(
        reply.header("www-authenticate"),
        None,
        "no credential would help"
    );
    assert_eq!(gateway.get("/open").fetch().status(), 200, "others go on");

    gate.open();
    eventually("it is ready", || {
        (gateway.admin("/readyz").status() == 200).then_some(())
    });
    assert_eq!(ask().status(), 200);
    let metrics = gateway.metrics();
    assert_eq!(
        metrics.value(
            "gateway_jwks_fetches_total{provider=\"main\",trigger=\"refresh\",outcome=\"success\"}"
        ),
        1
    );
}

#[test]
fn a_provider_that_is_down_at_the_start_is_asked_again_soon() {
    let keys = key_set(&[rs256()]);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let provider = Backend::answering(move |_request| {
        let is_first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let mut answer = Response::new(full(keys.clone()));
        if is_first {
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
        }
        async move { answer }
    });
    let backend = Backend::echo();
    let uri = format!("jwks_uri: http://{}/jwks.json", provider.address());
    let gateway = start(&uri, &backend);
    eventually("it is ready", || {
        (gateway.admin("/readyz").status() == 200).then_some(())
    });
    let token = bearer(&rs256().sign(&user(json!({}))));
    let reply = gateway
        .get("/users")
        .header("authorization", &token)
        .fetch();
    assert_eq!(reply.status(), 200);
    let metrics = gateway.metrics();
    for outcome in ["success", "status"] {
        let series = format!(
            "gateway_jwks_fetches_total{{provider=\"main\",trigger=\"refresh\",outcome=\"{outcome}\"}}"
        );
        assert_eq!(metrics.value(&series), 1, "{outcome}");
    }
}

#[test]
fn a_token_never_stands_in_a_log() {
    let guarded = Guarded::start();
    let token = good_token();
    let path = format!("/users?access_token={token}");
    let _ = guarded
        .gateway
        .get(&path)
        .header("authorization", bearer(&token))
        .fetch();
    guarded.gateway.access_lines(1);
    let log = std::fs::read_to_string(guarded.gateway.access_log()).expect("a log");
    for part in token.split('.') {
        assert!(!log.contains(part), "{log}");
    }
}
