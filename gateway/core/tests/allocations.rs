//! A decision about a request with a token that was seen before costs no heap allocation, nor does
//! the choice of an endpoint.
//!
//! The allocator that counts is that of a development dependency, because it takes `unsafe` to
//! write one. It counts by thread, so that other tests do not disturb; this file is a process of
//! its own all the same, for an allocator serves a whole process.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::auth::Snapshots;
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::cache::TokenCache;
use gateway_core::auth::keys::KeyRing;
use gateway_core::auth::trust::Trust;
use gateway_core::cluster::aperture::{Aperture, ApertureRules, Place, Vantage};
use gateway_core::cluster::balance::{Balancer, Choice, ConsistentHash, Policy, Tried};
use gateway_core::cluster::{EndpointSet, HashKey, Instance, Outcome, ZonePreference};
use gateway_core::config::Source;
use gateway_core::file::read;
use gateway_core::path::CleanPath;
use gateway_core::pipeline::{Head, decide};
use gateway_core::plan::Plan;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

const NOW: u64 = 1_700_000_000;

/// Every kind of rule, so that none allocates unnoticed.
const ROUTES: &str = r#"
version: 1
jwt_providers:
  main: {issuer: me, audiences: [api], algorithms: [EdDSA], jwks_file: keys.json}
upstreams:
  users: {static: ["127.0.0.1:9001"]}
routes:
  - name: pattern
    match:
      path_pattern: /users/{id}/orders/{rest...}
      hosts: ["*.example.com"]
      methods: [GET]
      headers: [{name: x-tenant, prefix: acme-}, {name: x-mode, matches: "[a-z]+"}]
      query: [{name: version, equals: "2"}]
    auth:
      jwt: main
      require:
        scopes: {all: ["users:read"]}
        claims: {tenant: {any_of: [a, b]}}
        network: [127.0.0.0/8]
      claims_to_headers: {sub: x-user-id}
      payload_to_header: x-payload
    backends: [{upstream: users}]
  - {name: prefix, match: {path_prefix: /users}, auth: {jwt: main}, backends: [{upstream: users}]}
  - {name: exact, match: {path: /users}, auth: {jwt: main}, backends: [{upstream: users}]}
  - {name: open, match: {path_prefix: /open}, auth: none, backends: [{upstream: users}]}
"#;

fn plan() -> Plan {
    let source = Source {
        name: "routes.yaml",
        text: ROUTES,
    };
    let compiled = read(source, &|_| None);
    compiled
        .unwrap_or_else(|problems| panic!("{problems}"))
        .plan
}

/// The keys of the one provider.
struct Keys(Arc<Trust>);

impl<'k> Snapshots for &'k Keys {
    type Trust = &'k Arc<Trust>;
    type ApiKeys = Arc<Arc<ApiKeys>>;

    fn trust(&self, _provider: usize) -> Self::Trust {
        &self.0
    }

    fn api_keys(&self, _list: usize) -> Self::ApiKeys {
        Arc::default()
    }
}

/// A ring of one key, and a token signed with it.
fn keys_and_token() -> (Keys, String) {
    let signer = Ed25519KeyPair::generate().expect("random numbers");
    let x = URL_SAFE_NO_PAD.encode(signer.public_key());
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k"}]});
    let ring = KeyRing::from_jwk_set(set.to_string().as_bytes()).expect("a JWK set");
    let claims = json!({
        "iss": "me", "aud": "api", "sub": "ann", "exp": NOW + 60,
        "scope": "users:read", "tenant": "a",
    });
    let parts = [json!({"alg": "EdDSA", "kid": "k"}), claims];
    let [header, payload] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = format!("{header}.{payload}");
    let signature = signer.sign(message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    (Keys(Arc::new(Trust::default().with_keys(ring))), token)
}

#[test]
fn a_decision_on_a_cached_token_allocates_nothing() {
    let plan = plan();
    let (keys, token) = keys_and_token();
    let mut cache = TokenCache::new(10, 100_000);
    let mut headers = HeaderMap::new();
    let credential = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    headers.insert(AUTHORIZATION, credential);
    headers.insert("x-tenant", HeaderValue::from_static("acme-1"));
    headers.insert("x-mode", HeaderValue::from_static("fast"));
    for (path, expected) in [
        ("/users/7/orders/a/b", "pattern"),
        ("/users/7", "prefix"),
        ("/users", "exact"),
        ("/open/7", "open"),
    ] {
        let mut serve = || {
            let path = CleanPath::parse(black_box(path)).unwrap();
            let head = Head {
                method: &Method::GET,
                host: Some("api.example.com"),
                path: &path,
                query: Some("a=b&version=2"),
                headers: &headers,
                body_bytes: Some(0),
                peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
            let decision = decide(&plan, &head, &&keys, &mut cache, NOW).unwrap();
            assert_eq!(&*decision.route.name, expected);
            black_box(decision.caller);
        };
        let first = measure(&mut serve);
        // The regular expression makes room for its working memory at its first use.
        serve();
        let next = measure(|| (0..100).for_each(|_| serve()));
        assert_eq!(next.count_total, 0, "{path}: {next:?}");
        // `exact` asks for the same as `prefix`.
        let is_verified = matches!(expected, "pattern" | "prefix");
        assert_eq!(
            first.count_total > 0,
            is_verified,
            "{path}: the counter counts"
        );
    }
    assert_eq!(cache.len(), 2, "one entry for each policy");
}

#[test]
fn a_choice_of_an_endpoint_allocates_nothing() {
    let zone = |port: u16| if port.is_multiple_of(2) { "a" } else { "b" };
    let instance = |port: u16| Instance {
        weight: u32::from(port % 3) + 1,
        zone: Some(zone(port).into()),
        ..Instance::at(SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let hash = ConsistentHash {
        key: HashKey::Subject,
        load_percent_max: 125,
    };
    for policy in [
        Policy::P2cEwma,
        Policy::LeastRequest,
        Policy::RoundRobin,
        Policy::ConsistentHash(hash),
    ] {
        let balancer = Balancer {
            policy,
            slow_start: 1_000,
            zones: Some(ZonePreference {
                spill_at_percent: 200,
            }),
            aperture: Some(ApertureRules {
                endpoints_min: 64,
                width_percent: 100,
            }),
            subsets: Vec::new(),
        };
        let instances = (1..=1000).map(instance);
        let none = EndpointSet::default();
        let set = EndpointSet::succeeding(&none, instances, &balancer, Some("a"), 0);
        let (headers, aperture) = (HeaderMap::new(), Aperture::default());
        let choose = |random: u64| {
            let key = balancer
                .key()
                .and_then(|key| key.hash(&headers, Some("ann")));
            let choice = Choice {
                tried: &Tried::default(),
                now: random % 2_000,
                random: random.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                turn: random,
                key,
                may_probe: true,
                subset: None,
                vantage: Some(Vantage {
                    aperture: &aperture,
                    place: Place::of(b"gateway", 1),
                    in_flight: 8,
                }),
            };
            let pick = balancer.pick(&set, &choice).expect("there are endpoints");
            let outcome = Outcome::Answered { status: 200 };
            pick.lease.report(outcome, Duration::from_millis(1), 0);
            black_box(pick);
        };
        let measured = measure(|| (0..1000).for_each(choose));
        assert_eq!(
            measured.count_total, 0,
            "{:?}: {measured:?}",
            balancer.policy
        );
    }
}
