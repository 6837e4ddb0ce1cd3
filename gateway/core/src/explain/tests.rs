//! Explanations and the request path, side by side: random configurations, random requests, one
//! answer.

use std::collections::BTreeMap;
use std::net::IpAddr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::*;
use crate::auth::api_keys::{ApiKeys, NewKey};
use crate::auth::keys::KeyRing;
use crate::auth::trust::Trust;
use crate::config::Source;
use crate::file::read;
use crate::pipeline;
use crate::route::{MatchSpec, NamedMatch};

const NOW: UnixSeconds = 1_700_000_000;
/// Random configurations, each asked `REQUESTS` times: 100,000 comparisons.
const PLANS: usize = 500;
const REQUESTS: usize = 200;
/// One explanation of so many is written out and searched for credentials.
const SHOWN_EVERY: usize = 10;

#[test]
fn an_explanation_agrees_with_the_request_path() {
    let given = std::env::var("EXPLAIN_SEED").ok();
    let given = given.map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    let tally = run(seed);
    // The generator must reach all that is compared.
    let context = format!("EXPLAIN_SEED={seed}: {tally:?}");
    println!("{context}");
    assert_eq!(tally.compared, PLANS * REQUESTS, "{context}");
    assert!(tally.served > 10_000, "{context}");
    assert!(tally.callers > 1_000, "{context}");
    assert!(tally.reasons.len() >= 12, "{context}");
    assert!(tally.checks > 100_000, "{context}");
}

#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    served: usize,
    callers: usize,
    checks: usize,
    reasons: BTreeMap<&'static str, usize>,
}

fn run(seed: u64) -> Tally {
    let mut random = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let world = World::new();
    for _ in 0..PLANS {
        let text = configuration(&mut random);
        let source = Source {
            name: "random.yaml",
            text: &text,
        };
        let compiled = read(source, &|_| None);
        let compiled =
            compiled.unwrap_or_else(|problems| panic!("EXPLAIN_SEED={seed}: {problems}"));
        // A worker's own cache, which explanations have not.
        let mut cache = TokenCache::new(64, 1 << 20);
        for _ in 0..REQUESTS {
            let request = RandomRequest::new(&mut random, &world);
            compare(
                &world,
                &compiled.plan,
                &request,
                &mut cache,
                &mut tally,
                seed,
            );
        }
    }
    tally
}

fn compare(
    world: &World,
    plan: &Plan,
    request: &RandomRequest,
    cache: &mut TokenCache,
    tally: &mut Tally,
    seed: u64,
) {
    let asked = request.asked();
    let sight = Sight {
        plan,
        snapshots: &world,
        endpoints: &[],
        now: NOW,
        now_ms: 0,
    };
    let told = explain(&sight, &asked);
    let context = || format!("EXPLAIN_SEED={seed}: {request:?} {told:#?}");
    tally.compared += 1;
    let decided = clean(asked.path).and_then(|path| {
        let head = Head {
            method: asked.method,
            host: asked.host,
            path: &path,
            query: asked.query,
            headers: asked.headers,
            body_bytes: asked.body_bytes,
            peer: asked.peer,
        };
        pipeline::decide(plan, &head, &world, cache, NOW)
    });
    let winner = told.candidates.iter().find(|it| it.verdict == "wins");
    match decided {
        Ok(decision) => {
            tally.served += 1;
            assert!(told.answer.is_served, "{}", context());
            let route = told.route.as_ref().map(|route| route.index);
            assert_eq!(route, Some(decision.route_index), "{}", context());
            assert_eq!(told.answer.reason, None, "{}", context());
            let theirs = decision.caller.as_ref().map(|caller| &caller.headers);
            let ours = told.caller.as_ref().map(|caller| &caller.headers);
            assert_eq!(ours, theirs, "{}", context());
            tally.callers += usize::from(theirs.is_some());
            let name = winner.map(|winner| &winner.route);
            assert_eq!(name, Some(&decision.route.name), "{}", context());
        }
        Err(refusal) => {
            let reason = refusal.rejection.reason.code();
            *tally.reasons.entry(reason).or_default() += 1;
            assert!(!told.answer.is_served, "{}", context());
            assert_eq!(told.answer.reason, Some(reason), "{}", context());
            let route = told.route.as_ref().map(|route| route.index);
            assert_eq!(route, refusal.route_index, "{}", context());
            let allow = refusal.allow.as_ref().map(|it| it.to_str().unwrap());
            assert_eq!(told.answer.allow.as_deref(), allow, "{}", context());
            assert_eq!(
                told.answer.asks_for_keys,
                refusal.wanted_key.is_some(),
                "{}",
                context()
            );
        }
    }
    check_record(world, &told, tally, &context);
}

/// What was written down of the checks fits the answer.
fn check_record(
    world: &World,
    told: &Explanation,
    tally: &mut Tally,
    context: &dyn Fn() -> String,
) {
    let Some(authentication) = &told.authentication else {
        return;
    };
    let policies = &authentication.policies;
    tally.checks += policies
        .iter()
        .map(|policy| policy.checks.len())
        .sum::<usize>();
    let admits = policies.iter().filter(|it| it.verdict == "admits").count();
    let is_let_in = authentication.is_open || admits == 1;
    let is_too_large = told.answer.reason == Some("body_too_large");
    assert_eq!(
        is_let_in,
        told.answer.is_served || is_too_large,
        "{}",
        context()
    );
    if let [only] = &policies[..]
        && only.verdict == "refuses"
        && only.by.len() < 2
    {
        let last = only.checks.last().and_then(|check| check.reason);
        assert_eq!(last, told.answer.reason, "{}", context());
    }
    if !tally.compared.is_multiple_of(SHOWN_EVERY) {
        return;
    }
    let shown = serde_json::to_string(told).unwrap();
    assert!(!shown.contains("gwk_"), "a key is shown: {}", context());
    for token in &world.tokens {
        let (_, signature) = token.rsplit_once('.').unwrap();
        assert!(
            !shown.contains(signature),
            "a token is shown: {}",
            context()
        );
    }
}

/// The keys of two providers and of a list, and what clients may show.
struct World {
    trusts: [Arc<Trust>; 2],
    list: Arc<ApiKeys>,
    tokens: Vec<String>,
    api_key: String,
}

impl Snapshots for &World {
    type Trust = Arc<Arc<Trust>>;
    type ApiKeys = Arc<Arc<ApiKeys>>;

    fn trust(&self, provider: usize) -> Self::Trust {
        Arc::new(Arc::clone(&self.trusts[provider]))
    }

    fn api_keys(&self, _list: usize) -> Self::ApiKeys {
        Arc::new(Arc::clone(&self.list))
    }
}

impl World {
    fn new() -> Self {
        let signers = [0, 1].map(|_| Ed25519KeyPair::generate().unwrap());
        let trusts = [0, 1].map(|index| {
            let x = URL_SAFE_NO_PAD.encode(signers[index].public_key());
            let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
            let ring = KeyRing::from_jwk_set(set.to_string().as_bytes()).unwrap();
            Arc::new(Trust::default().with_keys(ring))
        });
        let key = NewKey::compose(&"partner".parse().unwrap(), &[7; 32]);
        let file = format!(
            "keys: [{{id: partner, hash: \"{}\", scopes: [read]}}]",
            key.hash
        );
        let source = Source {
            name: "keys.yaml",
            text: &file,
        };
        let list = ApiKeys::parse(source).unwrap_or_else(|problems| panic!("{problems}"));
        Self {
            trusts,
            list: Arc::new(list),
            tokens: tokens(&signers),
            api_key: key.text,
        }
    }
}

/// Good ones, and one for each way to be bad.
fn tokens(signers: &[Ed25519KeyPair; 2]) -> Vec<String> {
    let header = json!({"alg": "EdDSA", "kid": "k"});
    let good = json!({"iss": "one", "aud": "api", "sub": "ann", "exp": NOW + 60,
        "scope": "read write", "tenant": "a"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let variants = [
        (0, header.clone(), good.clone()),
        (0, header.clone(), with("scope", json!("read"))),
        (0, header.clone(), with("scope", json!(""))),
        (0, header.clone(), with("tenant", json!("b"))),
        (0, header.clone(), with("tenant", json!("a\nb"))),
        (1, header.clone(), with("iss", json!("two"))),
        (0, header.clone(), with("iss", json!("two"))),
        (0, header.clone(), with("iss", json!("three"))),
        (1, header.clone(), good.clone()),
        (0, header.clone(), with("aud", json!("other"))),
        (0, header.clone(), with("exp", json!(NOW - 3_600))),
        (0, header.clone(), with("exp", json!("soon"))),
        (0, header.clone(), with("nbf", json!(NOW + 3_600))),
        (0, json!({"alg": "EdDSA", "kid": "unknown"}), good.clone()),
        (0, json!({"alg": "RS256", "kid": "k"}), good.clone()),
        (0, json!({"alg": "EdDSA", "crit": ["x"]}), good.clone()),
        (0, json!({"alg": "EdDSA", "kid": 7}), good.clone()),
    ];
    let sign = |(signer, header, claims): (usize, Value, Value)| {
        let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = parts.join(".");
        let signature = signers[signer].sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    variants.into_iter().map(sign).collect()
}

/// A routes file of as many random routes as can live beside each other.
fn configuration(random: &mut Rng) -> String {
    let mut routes: Vec<Value> = (0..random.usize(1..12))
        .map(|index| route(random, index))
        .collect();
    loop {
        let specs: Vec<MatchSpec> = routes
            .iter()
            .map(|route| serde_json::from_value(route["match"].clone()).unwrap())
            .collect();
        let named = specs.iter().map(|spec| NamedMatch { name: "r", spec });
        let Err(problems) = RouteTable::build(&named.collect::<Vec<_>>()) else {
            break;
        };
        let refused: std::collections::BTreeSet<usize> =
            problems.iter().map(|problem| problem.route).collect();
        for index in refused.into_iter().rev() {
            routes.remove(index);
        }
    }
    if routes.is_empty() {
        routes.push(
            json!({"name": "all", "match": {"path_prefix": "/"}, "auth": "none",
            "backends": [{"upstream": "u"}]}),
        );
    }
    let provider = |issuer: &str| {
        json!({"issuer": issuer, "audiences": ["api"], "algorithms": ["EdDSA"],
            "jwks_file": "keys.json", "clock_skew": "60s"})
    };
    let file = json!({
        "version": 1,
        "forwarded": {"trusted_proxies": ["10.0.0.0/8"]},
        "jwt_providers": {"one": provider("one"), "two": provider("two")},
        "api_keys": {"partners": {"file": "partners.yaml"}},
        "upstreams": {"u": {"static": ["127.0.0.1:1"]}, "v": {"static": ["127.0.0.1:2"]}},
        "routes": routes,
    });
    file.to_string()
}

fn pick<T: Clone>(random: &mut Rng, from: &[T]) -> T {
    from[random.usize(..from.len())].clone()
}

fn route(random: &mut Rng, index: usize) -> Value {
    let path = match random.u8(..3) {
        0 => json!({"path": pick(random, &["/", "/a", "/a/b", "/c"])}),
        1 => json!({"path_prefix": pick(random, &["/", "/a", "/a/b", "/c"])}),
        _ => json!({"path_pattern": pick(random, &["/{x}", "/a/{x}", "/{x}/b", "/a/{x...}"])}),
    };
    let mut spec = path;
    if random.u8(..3) == 0 {
        spec["methods"] = pick(random, &[json!(["GET"]), json!(["POST", "PUT"])]);
    }
    if random.u8(..4) == 0 {
        spec["hosts"] = pick(random, &[json!(["a.example"]), json!(["*.example"])]);
    }
    if random.u8(..4) == 0 {
        spec["headers"] = json!([{"name": "x-canary", "equals": "1"}]);
    }
    if random.u8(..4) == 0 {
        spec["query"] = json!([{"name": "v", "equals": "2"}]);
    }
    json!({"name": format!("r{index}"), "match": spec, "auth": auth(random),
        "max_request_body": 10,
        "backends": [{"upstream": "u", "weight": 1}, {"upstream": "v", "weight": 2}]})
}

fn auth(random: &mut Rng) -> Value {
    match random.u8(..6) {
        0 => json!("none"),
        1 => json!({"any": [policy(random), policy(random), policy(random)]}),
        _ => policy(random),
    }
}

fn policy(random: &mut Rng) -> Value {
    let mut policy = match random.u8(..6) {
        0 => return json!({"network": ["192.0.2.0/24"]}),
        1 => json!({"api_key": "partners"}),
        2 => json!({"jwt": ["one", "two"]}),
        _ => json!({"jwt": "one", "claims_to_headers": {"tenant": "x-tenant"}}),
    };
    if random.bool() {
        policy["require"] = pick(
            random,
            &[
                json!({"scopes": {"all": ["read"]}}),
                json!({"scopes": {"all": ["read", "write"]}}),
                json!({"claims": {"tenant": {"equals": "a"}}}),
                json!({"network": ["192.0.2.0/24"], "scopes": {"any": ["write", "admin"]}}),
            ],
        );
    }
    policy
}

#[derive(Debug)]
struct RandomRequest {
    method: Method,
    host: Option<&'static str>,
    path: &'static str,
    query: Option<&'static str>,
    headers: HeaderMap,
    body_bytes: Option<u64>,
    peer: IpAddr,
}

impl RandomRequest {
    fn new(random: &mut Rng, world: &World) -> Self {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            headers.append(HeaderName::from_static(name), value);
        };
        if random.u8(..4) > 0 {
            // The good one more often than any other.
            let index = random.usize(..2 * world.tokens.len());
            let token = world.tokens.get(index).unwrap_or(&world.tokens[0]);
            put("authorization", &format!("Bearer {token}"));
        }
        if random.u8(..20) == 0 {
            put(
                "authorization",
                pick(random, &["Basic x", "Bearer x", "Bearer a.b.c"]),
            );
        }
        if random.u8(..4) == 0 {
            let short = &world.api_key[..world.api_key.len() - 1];
            put(
                "x-api-key",
                pick(random, &[&world.api_key, short, &world.api_key]),
            );
        }
        if random.bool() {
            put("x-canary", pick(random, &["1", "2"]));
        }
        if random.u8(..4) == 0 {
            put(
                "x-forwarded-for",
                pick(random, &["192.0.2.7", "198.51.100.7"]),
            );
        }
        Self {
            method: pick(
                random,
                &[Method::GET, Method::HEAD, Method::POST, Method::DELETE],
            ),
            host: pick(
                random,
                &[None, Some("a.example"), Some("b.example:80"), Some("other")],
            ),
            path: pick(
                random,
                &[
                    "/", "/a", "/a/b", "/a/x", "/x/b", "/c", "/%61", "/c/d/e", "/a//b", "/x",
                ],
            ),
            query: pick(random, &[None, Some("v=2"), Some("v=1")]),
            headers,
            body_bytes: pick(random, &[None, Some(0), Some(10), Some(11)]),
            peer: pick(random, &["10.0.0.1", "192.0.2.9", "203.0.113.9"])
                .parse()
                .unwrap(),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            host: self.host,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body_bytes: self.body_bytes,
            peer: self.peer,
        }
    }
}
