//! The gateway's own tokens: what upstreams get, what clients cannot forge, what verifiers see.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway_core::file::Settings;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use mesh::identity::{Caller, HEADER, ISSUER, Options, Refusal, Verifier};
use mesh::service::store::sqlite::{self, SqliteStore};
use mesh::testing::{Running, describe_problem, settings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use users_svc::User;

use crate::support::backend::Step::{ReadHead, Reset};
use crate::support::backend::{Backend, echoed, full};
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, client, fetch};
use crate::support::tokens::{self, good_token, rs256};
use crate::support::{eventually, runtime};

const ROUTES: &str = r#"
jwt_providers:
  main: {issuer: "https://issuer.example/", audiences: [api], algorithms: [RS256], jwks_file: "${KEYS}"}
internal_identity: {lifetime: 30s}
upstreams:
  users: {static: ["${USERS}"], identity: users-svc}
  plain: {static: ["${USERS}"]}
routes:
  - {name: users, match: {path_prefix: /users}, auth: {jwt: main}, backends: [{upstream: users}]}
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: users}]}
  - {name: plain, match: {path_prefix: /plain}, auth: none, backends: [{upstream: plain}]}
  - {name: keys, match: {path: /keys.json}, auth: none, respond: internal_jwks}
"#;

/// One route to two endpoints that get the gateway's tokens.
const TWO: &str = r#"
defaults: {retries: {budget_percent: 100}}
internal_identity: {lifetime: 5s}
upstreams: {users: {static: ["${FIRST}", "${SECOND}"], identity: users-svc}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: none
    retries: {attempts: 1}
    backends: [{upstream: users}]
"#;

fn start(users: &dyn Display, change: impl FnOnce(&mut Settings)) -> TestGateway {
    let keys = tempfile::NamedTempFile::new().expect("a file can be made");
    tokens::write_key_set(keys.path(), &[rs256()]);
    let path = keys.path().display();
    // The file is read before this returns.
    TestGateway::start_changed(ROUTES, &[("KEYS", &path), ("USERS", users)], change)
}

/// A verifier of these tokens, as a service has it.
struct Checking {
    verifier: Verifier,
    refreshing: JoinHandle<()>,
}

impl Checking {
    fn of(gateway: &TestGateway) -> Self {
        let (verifier, refresher) = Verifier::new(options(&keys_url(gateway)));
        Self {
            verifier,
            refreshing: runtime().spawn(refresher.run()),
        }
    }

    fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        runtime().block_on(self.verifier.verify(&with(token)))
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.refreshing.abort();
    }
}

fn keys_url(gateway: &TestGateway) -> String {
    format!("http://{}/internal/jwks.json", gateway.admin_address())
}

fn options(keys_url: &str) -> Options {
    Options {
        keys: keys_url.parse().expect("a URL"),
        issuer: ISSUER.into(),
        audience: "users-svc".into(),
        header: HeaderName::from_static(HEADER),
    }
}

fn with(token: &str) -> HeaderMap {
    let token = HeaderValue::from_str(token).expect("a header value");
    HeaderMap::from_iter([(HeaderName::from_static(HEADER), token)])
}

/// The one token that an echoing upstream was sent.
fn token_of(echo: &Value) -> String {
    let tokens = echoed(echo, HEADER);
    assert_eq!(tokens.len(), 1, "{echo}");
    tokens[0].to_owned()
}

fn key_of(token: &str) -> String {
    let header = jsonwebtoken::decode_header(token).expect("a token");
    header.kid.expect("it names its key")
}

fn bearer() -> String {
    format!("Bearer {}", good_token())
}

#[test]
fn an_upstream_that_asks_is_told_who_calls_and_no_other_is() {
    let backend = Backend::echo();
    let gateway = start(&backend.address(), |_| {});
    let checking = Checking::of(&gateway);

    let request = gateway.get("/users").header("authorization", bearer());
    let reply = request.fetch();
    let caller = checking.verify(&token_of(&reply.json())).unwrap();
    assert_eq!(caller.subject.as_deref(), Some("user-1"));
    assert_eq!(caller.issuer.as_deref(), Some(tokens::ISSUER));
    assert_eq!(&*caller.scopes, "users:read");
    let request_id = reply.header("x-request-id");
    assert_eq!(Some(&*caller.request_id), request_id.as_deref());

    // One scope with a space in it does not become two.
    let change = json!({"scope": null, "scp": ["users:read", "admin root", ""]});
    let token = format!("Bearer {}", rs256().sign(&tokens::claims(change)));
    let reply = gateway.get("/users").header("authorization", token).fetch();
    let caller = checking.verify(&token_of(&reply.json())).unwrap();
    assert_eq!(&*caller.scopes, "users:read");

    let reply = gateway.get("/open").fetch();
    let caller = checking.verify(&token_of(&reply.json())).unwrap();
    assert_eq!((caller.subject, &*caller.scopes), (None, ""));

    let echo = gateway.get("/plain").fetch().json();
    assert!(echoed(&echo, HEADER).is_empty(), "{echo}");
}

#[test]
fn a_clients_own_copy_of_the_header_never_goes_upstream() {
    let backend = Backend::echo();
    let gateway = start(&backend.address(), |_| {});
    let checking = Checking::of(&gateway);
    for name in [
        HEADER,
        "X-Gateway-Token",
        "x_gateway_token",
        "X-Gateway_Token",
    ] {
        let get = |path| gateway.get(path).header(name, "forged").fetch().json();
        let echo = get("/open");
        checking.verify(&token_of(&echo)).unwrap();
        assert!(!echo.to_string().contains("forged"), "{name}: {echo}");
        let echo = get("/plain");
        assert!(!echo.to_string().contains("forged"), "{name}: {echo}");
    }
    // Nor can a client take ours away (RFC 9110 section 7.6.1).
    let mut wire = gateway.wire();
    wire.send("GET /open HTTP/1.1\r\nhost: a\r\nconnection: x-gateway-token\r\n\r\n");
    checking.verify(&token_of(&wire.receive().json())).unwrap();
}

#[test]
fn the_public_keys_are_on_the_admin_listener_and_where_a_route_says() {
    let backend = Backend::echo();
    let gateway = start(&backend.address(), |_| {});
    let replies = [
        gateway.get("/keys.json").fetch(),
        gateway.admin("/internal/jwks.json"),
    ];
    for reply in &replies {
        assert_eq!(reply.status(), 200);
        let content_type = reply.header("content-type");
        assert_eq!(content_type.as_deref(), Some("application/jwk-set+json"));
        let caching = reply.header("cache-control");
        assert_eq!(caching.as_deref(), Some("public, max-age=300"));
        let key = &reply.json()["keys"][0];
        assert_eq!((&key["kty"], &key["alg"]), (&json!("EC"), &json!("ES256")));
        assert_eq!(key["d"], Value::Null, "the private half");
    }
    assert_eq!(replies[0].body, replies[1].body);
    let echo = gateway.get("/open").fetch().json();
    assert_eq!(
        replies[0].json()["keys"][0]["kid"],
        key_of(&token_of(&echo))
    );
    let head = gateway.request(Method::HEAD, "/keys.json").fetch();
    assert_eq!((head.status(), head.body.len()), (200, 0));

    let without = TestGateway::in_front_of(&backend);
    let reply = without.admin("/internal/jwks.json");
    assert_eq!(reply.status(), 404, "{}", reply.text());
    assert!(echoed(&without.get("/").fetch().json(), HEADER).is_empty());
}

#[test]
fn every_try_of_a_request_carries_the_same_token() {
    let (bad, good) = (Backend::scripted([ReadHead, Reset]), Backend::echo());
    let gateway = TestGateway::start(
        TWO,
        &[("FIRST", &bad.address()), ("SECOND", &good.address())],
    );
    let checking = Checking::of(&gateway);
    // Enough that the bad one is drawn with near certainty.
    for _ in 0..20 {
        let before = bad.received().len();
        let echo = gateway.get("/").fetch().json();
        let token = token_of(&echo);
        checking.verify(&token).unwrap();
        let first_try = bad.received().split_off(before);
        assert!(
            first_try.is_empty() || first_try.contains(&token),
            "{first_try}"
        );
    }
    assert!(bad.requests() > 0, "try again");
}

/// The periods are shorter than any file may have them, and everything else as it is.
#[test]
fn while_keys_rotate_every_token_is_verified() {
    let backend = Backend::echo();
    let gateway = start(&backend.address(), |settings| {
        let identity = settings.internal_identity.as_mut().expect("in the file");
        identity.rotation = Duration::from_millis(1_500);
    });
    let checking = Checking::of(&gateway);
    let mut keys = BTreeSet::new();
    let mut verified = 0;
    eventually("four keys have signed", || {
        let token = token_of(&gateway.get("/open").fetch().json());
        checking
            .verify(&token)
            .unwrap_or_else(|refusal| panic!("{refusal}"));
        verified += 1;
        keys.insert(key_of(&token));
        (keys.len() == 4).then_some(())
    });
    assert!(verified > 4, "{verified}");
}

#[test]
fn the_users_service_serves_what_came_through_the_gateway_and_nothing_else() {
    // The gateway must know the service's port and the service the gateway's: the keys come by
    // way of something that is there before either.
    let admin: Arc<OnceLock<String>> = Arc::default();
    let relay = {
        let admin = Arc::clone(&admin);
        Backend::answering(move |_| {
            let url = admin.get().cloned();
            async move {
                let Some(url) = url else {
                    return Response::new(full("no gateway yet"));
                };
                let keys = fetch(client().get(url)).await.expect("the gateway answers");
                Response::new(full(keys.body))
            }
        })
    };
    let service = runtime().block_on(async {
        let mut settings = settings();
        let url = format!("http://{}/", relay.address());
        settings.require_gateway = Some(options(&url));
        let store = SqliteStore::<User>::open(&sqlite::Database::Memory).expect("memory is there");
        Running::start::<User, _>(settings, store).await
    });
    let gateway = start(&service.address, |_| {});
    let elsewhere = start(&service.address, |_| {});
    admin.set(keys_url(&gateway)).expect("set once");
    let through = |gateway: &TestGateway| {
        let request = gateway.get("/users/1").header("authorization", bearer());
        let reply = request.fetch();
        (reply.status(), reply.text())
    };
    let tom = r#"{"id":1,"name":"Tom","age":32}"#;
    assert_eq!(through(&gateway), (200, tom.into()));

    let direct = |headers| {
        let sent = service.send(Method::GET, "/users/1", headers);
        describe_problem(&runtime().block_on(sent))
    };
    assert_eq!(direct(HeaderMap::new()), "401 gateway_identity_missing: ");
    let forged = with(&good_token());
    assert_eq!(direct(forged), "401 gateway_identity_invalid: ");
    let (status, body) = through(&elsewhere);
    assert_eq!(status, 401, "another gateway's keys: {body}");
    assert!(body.contains("gateway_identity_invalid"), "{body}");
    assert_eq!(through(&gateway).0, 200);
}
