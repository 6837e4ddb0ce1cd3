//! Deny lists: what they say reaches tokens that are verified already.

use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{Response, StatusCode};
use serde_json::json;

use crate::support::backend::{Backend, full};
use crate::support::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::tokens::{self, AUDIENCE, ISSUER, claims, es256, now};

const ROUTES: &str = r#"
jwt_providers:
  main:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [ES256]
    jwks_file: "${KEYS}"
    revocations: ${PLACE}
routes:
  - {name: all, match: {path_prefix: /}, auth: {jwt: main}, respond: {status: 204}}
"#;

fn start(place: &str, keys: &Path) -> TestGateway {
    tokens::write_key_set(keys, &[es256()]);
    TestGateway::start(
        &ROUTES.replace("${PLACE}", place),
        &[
            ("ISSUER", &ISSUER),
            ("AUDIENCE", &AUDIENCE),
            ("KEYS", &keys.display()),
        ],
    )
}

/// The status for a token, and its reason.
fn ask(gateway: &TestGateway, token: &str) -> (u16, Option<String>) {
    let authorization = format!("Bearer {token}");
    let reply = gateway
        .get("/")
        .header("authorization", authorization)
        .fetch();
    let code = (reply.status() != 204).then(|| reply.json()["code"].as_str().map(str::to_owned));
    (reply.status(), code.flatten())
}

fn revoked() -> (u16, Option<String>) {
    (401, Some("jwt_revoked".into()))
}

#[test]
fn an_entry_of_a_file_ends_a_token_that_was_in_use() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let list = directory.path().join("revoked.yaml");
    std::fs::write(&list, "revoked: []\n").expect("a file can be written");
    let place = format!("{{file: {}}}", list.display());
    let gateway = start(&place, &directory.path().join("keys.json"));
    let issued = now();
    let token = |jti: &str, sub: &str, sid: &str| {
        es256().sign(&claims(
            json!({"jti": jti, "sub": sub, "sid": sid, "iat": issued}),
        ))
    };
    let [by_jti, by_sub, by_sid, other] = [
        token("t1", "a", "s1"),
        token("t2", "b", "s2"),
        token("t3", "c", "s3"),
        token("t4", "d", "s4"),
    ];
    let all = [&by_jti, &by_sub, &by_sid, &other];
    for token in all {
        assert_eq!(ask(&gateway, token), (204, None));
    }
    let entries = "revoked: [{jti: t1}, {sub: b}, {sid: s3, reason: signed out}]\n";
    std::fs::write(&list, entries).expect("the file is ours");
    eventually("the list is read", || {
        (ask(&gateway, &by_jti) == revoked()).then_some(())
    });
    assert_eq!(ask(&gateway, &by_sub), revoked());
    assert_eq!(ask(&gateway, &by_sid), revoked());
    assert_eq!(ask(&gateway, &other), (204, None));

    let entries = format!("revoked: [{{issued_before: {}}}]\n", issued + 1);
    std::fs::write(&list, entries).expect("the file is ours");
    eventually("the list is read", || {
        (ask(&gateway, &other) == revoked()).then_some(())
    });

    std::fs::write(&list, "revoked: [{jti: t1}, {").expect("the file is ours");
    let series = |metric: &str| format!("{metric}{{document=\"revocations\",name=\"main\"}}");
    let failed = "gateway_document_readings_total{document=\"revocations\",name=\"main\",outcome=\"failed\"}";
    gateway.wait_for_metric(failed, 1);
    assert_eq!(ask(&gateway, &other), revoked(), "the last good list stays");
    assert_eq!(
        gateway.metrics().value(&series("gateway_document_entries")),
        1
    );

    std::fs::write(&list, "revoked: []\n").expect("the file is ours");
    eventually("nothing is revoked", || {
        (ask(&gateway, &other) == (204, None)).then_some(())
    });
}

#[test]
fn a_gateway_is_ready_when_it_has_its_list_from_a_url() {
    let published = Arc::new(Mutex::new(StatusCode::SERVICE_UNAVAILABLE));
    let status = Arc::clone(&published);
    let server = Backend::answering(move |_request| {
        let status = *status.lock().expect("not poisoned");
        async move {
            let mut answer = Response::new(full(r#"{"revoked": [{"jti": "t1"}]}"#));
            *answer.status_mut() = status;
            answer
        }
    });
    let directory = tempfile::tempdir().expect("a directory can be made");
    let place = format!("{{url: \"http://{}/revoked\"}}", server.address());
    let gateway = start(&place, &directory.path().join("keys.json"));
    eventually("the list was asked for", || {
        (server.requests() > 0).then_some(())
    });
    let readiness = gateway.admin("/readyz");
    assert_eq!(readiness.status(), 503);
    assert_eq!(
        readiness.json()["waiting_for"],
        json!(["revocations `main`"])
    );
    *published.lock().expect("not poisoned") = StatusCode::OK;
    gateway.wait_for_metric("gateway_ready", 1);
    let token = |jti: &str| es256().sign(&claims(json!({"jti": jti})));
    assert_eq!(ask(&gateway, &token("t1")), revoked());
    assert_eq!(ask(&gateway, &token("t2")), (204, None));
}
