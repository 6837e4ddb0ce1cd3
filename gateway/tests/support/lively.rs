//! A gateway to which so much has happened that it has something to show of everything.

use std::sync::Arc;

use http::Response;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Barrier;

use super::backend::{Backend, full};
use super::cloud_map::{FakeCloudMap, Mood};
use super::gateway::TestGateway;
use super::http_client::Fetch as _;
use super::key_provider::KeyProvider;
use super::tokens::{claims, es256};
use super::{Refusing, eventually};

const ROUTES: &str = r#"
workers: 2
zone: eu-west-1a
tracing: {endpoint: "http://${GONE}"}
jwt_providers:
  main: {issuer: "${ISSUER}", discovery: true, audiences: [api], algorithms: [ES256]}
api_keys: {partners: {file: "${API_KEYS}"}}
upstreams:
  backend:
    static: ["${BACKEND}"]
    health_check: {path: /, interval: 100ms}
    limits: {adaptive: {}}
  pair: {static: ["${FIRST}", "${SECOND}"], load_balancer: round_robin}
  gone: {static: ["${GONE}"]}
  found: {cloud_map: {namespace: test.local, service: users, endpoint: "${REGISTRY}", revision_interval: 200ms}}
  lost: {cloud_map: {namespace: test.local, service: lost, endpoint: "${BROKEN}"}}
routes:
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: backend}]}
  - {name: signed, match: {path: /signed}, auth: {jwt: main}, backends: [{upstream: backend}]}
  - {name: keyed, match: {path: /keyed}, auth: {api_key: partners}, backends: [{upstream: found}]}
  - {name: found, match: {path: /found}, auth: none, backends: [{upstream: found}]}
  - {name: pair, match: {path: /pair}, auth: none, hedge: {after: 1ms}, backends: [{upstream: pair}]}
  - {name: gone, match: {path: /gone}, auth: none, backends: [{upstream: gone}]}
  - {name: fixed, match: {path: /fixed}, auth: none, respond: {status: 200, body: ok}}
"#;

/// Requests to each path: more than the adaptive limit needs to know a latency.
const REQUESTS: usize = 30;

/// The gateway, and what it talks to.
pub(crate) struct Lively {
    pub(crate) gateway: TestGateway,
    pub(crate) token: String,
    _backends: [Backend; 3],
    _registries: [FakeCloudMap; 2],
    _keys: KeyProvider,
    _gone: Refusing,
    _directory: TempDir,
}

impl Lively {
    /// Starts it all, and has requests of each kind answered.
    pub(crate) fn start() -> Self {
        let keys = KeyProvider::with(&[es256()]);
        let issuer = keys.url("");
        keys.call_itself(&issuer);
        let directory = tempfile::tempdir().expect("a directory can be made");
        let api_keys = directory.path().join("keys.yaml");
        std::fs::write(&api_keys, "keys: []\n").expect("a file can be written");
        let backend = Backend::replying("ok");
        // Whoever comes first waits for the other: the second is a hedge.
        let both = Arc::new(Barrier::new(2));
        let [first, second] = [(); 2].map(|()| {
            let both = Arc::clone(&both);
            Backend::answering(move |_request| {
                let both = Arc::clone(&both);
                async move {
                    both.wait().await;
                    Response::new(full("ok"))
                }
            })
        });
        let registry = FakeCloudMap::start(Mood::Listing(vec![backend.address()]));
        let broken = FakeCloudMap::start(Mood::Broken);
        let gone = Refusing::new();
        let gateway = TestGateway::start(
            ROUTES,
            &[
                ("ISSUER", &issuer),
                ("API_KEYS", &api_keys.display()),
                ("BACKEND", &backend.address()),
                ("FIRST", &first.address()),
                ("SECOND", &second.address()),
                ("GONE", &gone.address()),
                ("REGISTRY", &registry.url()),
                ("BROKEN", &broken.url()),
            ],
        );
        let token = es256().sign(&claims(json!({"iss": issuer})));
        let lively = Self {
            gateway,
            token,
            _backends: [backend, first, second],
            _registries: [registry, broken],
            _keys: keys,
            _gone: gone,
            _directory: directory,
        };
        lively.ask_for_all();
        lively
    }

    /// One more request to the route `fixed`.
    pub(crate) fn ask_for_fixed(&self) {
        assert_eq!(self.gateway.get("/fixed").fetch().status(), 200);
    }

    fn ask_for_all(&self) {
        let bearer = format!("Bearer {}", self.token);
        eventually("keys and endpoints are there", || {
            let signed = self.gateway.get("/signed").header("authorization", &bearer);
            let are_good = signed.fetch().status() == 200
                && self.gateway.get("/found").fetch().status() == 200;
            are_good.then_some(())
        });
        self.gateway.wait_for_failed_discovery();
        for _ in 0..REQUESTS {
            for path in ["/open/1", "/open/2", "/found", "/fixed"] {
                assert_eq!(self.gateway.get(path).fetch().status(), 200, "{path}");
            }
        }
        for (path, verdict) in [
            ("/signed", "401 jwt_missing"),
            ("/keyed", "401 api_key_missing"),
            ("/nowhere", "404 no_route"),
        ] {
            assert_eq!(self.gateway.get(path).fetch().verdict(), verdict, "{path}");
        }
        assert_eq!(self.gateway.get("/gone").fetch().status(), 502);
        assert_eq!(self.gateway.get("/pair").fetch().status(), 200);
    }
}
