//! From a request's headers to a caller, with the cache between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::api_keys::{ApiKeyList, ApiKeys, KeyId, NewKey};
use super::super::cache::TokenCache;
use super::super::claims::{ClaimRule, IdentityHeaders, Requirements, ScopeRule};
use super::super::revocation::Revocations;
use super::super::{
    Auth, Caller, Credential, Denied, Known, Policy, Request, Snapshots, authenticate,
};
use super::*;

fn known(providers: &[Provider]) -> Known<'_> {
    Known {
        providers,
        api_keys: &[],
    }
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One worker's view: a provider, its ring, and a cache.
struct Worker {
    auth: Auth,
    providers: [Provider; 1],
    trust: Arc<Trust>,
    cache: TokenCache,
}

struct Keys<'k>(&'k Arc<Trust>, Arc<ApiKeys>);

impl<'k> Snapshots for Keys<'k> {
    type Trust = &'k Arc<Trust>;
    type ApiKeys = Box<Arc<ApiKeys>>;

    fn trust(&self, _provider: usize) -> Self::Trust {
        self.0
    }

    fn api_keys(&self, _list: usize) -> Self::ApiKeys {
        Box::new(Arc::clone(&self.1))
    }
}

impl Worker {
    fn new() -> Self {
        Self {
            auth: policy(1, Requirements::default()),
            providers: [provider()],
            trust: Arc::new(Trust::default().with_keys(ring())),
            cache: TokenCache::new(100, 100_000),
        }
    }

    fn ask(&mut self, headers: &HeaderMap, now: u64) -> Result<Option<Arc<Caller>>, Denied> {
        let request = Request {
            headers,
            client: || CLIENT,
        };
        let (auth, cache, keys) = (
            &self.auth,
            &mut self.cache,
            Keys(&self.trust, Arc::default()),
        );
        authenticate(auth, known(&self.providers), &keys, &request, cache, now)
    }

    fn install(&mut self, ring: KeyRing) {
        self.trust = Arc::new(self.trust.with_keys(ring));
    }

    /// `ok`, or the code of the refusal.
    fn verdict(&mut self, headers: &HeaderMap, now: u64) -> &'static str {
        match self.ask(headers, now) {
            Ok(_) => "ok",
            Err(denied) => denied.rejection.reason.code(),
        }
    }
}

fn policy(id: u32, requirements: Requirements) -> Auth {
    let name = HeaderName::from_static;
    let claims = vec![
        ("sub".into(), name("x-user-id")),
        ("tenant".into(), name("x-tenant")),
    ];
    Auth::AnyOf(vec![Policy {
        id,
        credential: Credential::Jwt(vec![0]),
        networks: Vec::new(),
        requirements,
        identity: IdentityHeaders {
            claims,
            payload: None,
        },
        withheld: Arc::new([]),
    }])
}

fn headers<'v>(values: impl IntoIterator<Item = &'v str>) -> HeaderMap {
    let values = values.into_iter();
    values
        .map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn bearer(token: &str) -> HeaderMap {
    headers([format!("Bearer {token}").as_str()])
}

#[test]
fn an_open_route_looks_at_no_credential() {
    let mut worker = Worker::new();
    worker.auth = Auth::Open;
    for headers in [HeaderMap::new(), bearer("x"), headers(["a", "b"])] {
        assert!(worker.ask(&headers, NOW).unwrap().is_none());
    }
}

#[test]
fn a_credential_is_one_authorization_header_with_the_scheme_bearer() {
    let token = valid();
    let token = token.as_str();
    let with = |before: &str, after: &str| format!("{before}{token}{after}");
    for (value, expected) in [
        (with("Bearer ", ""), "ok"),
        (with("bearer ", ""), "ok"),
        (with("BEARER ", ""), "ok"),
        (with("Bearer    ", ""), "ok"),
        (with("Bearer ", "  "), "ok"),
        (with("Bearer \t", ""), "ok"),
        (with("Bearer\t", ""), "jwt_missing"),
        (with("Bearer", ""), "jwt_missing"),
        (with("Bearer: ", ""), "jwt_missing"),
        (with(" Bearer ", ""), "ok"),
        (with("Basic ", ""), "jwt_missing"),
        (with("DPoP ", ""), "jwt_missing"),
        (with("Token ", ""), "jwt_missing"),
        (with("", ""), "jwt_missing"),
        ("Bearer".into(), "jwt_missing"),
        ("Bearer ".into(), "jwt_missing"),
        ("Bearer   ".into(), "jwt_missing"),
        (String::new(), "jwt_missing"),
        (with("Bearer ", ", Bearer x"), "jwt_malformed"),
        (with("Bearer ", " x"), "jwt_malformed"),
        (with("Bearer \"", "\""), "jwt_malformed"),
        (with("Bearer Bearer ", ""), "jwt_malformed"),
    ] {
        let verdict = Worker::new().verdict(&headers([value.as_str()]), NOW);
        assert_eq!(verdict, expected, "{value}");
    }
    let mut worker = Worker::new();
    assert_eq!(worker.verdict(&HeaderMap::new(), NOW), "jwt_missing");
    let good = with("Bearer ", "");
    for second in [good.as_str(), "", "Basic eDp5"] {
        let twice = [headers([&*good, second]), headers([second, &*good])];
        for headers in twice {
            assert_eq!(worker.verdict(&headers, NOW), "jwt_repeated", "{second}");
        }
    }
    let mut binary = HeaderMap::new();
    binary.insert(
        AUTHORIZATION,
        HeaderValue::from_bytes(b"Bearer \xff.\xff.\xff").unwrap(),
    );
    assert_eq!(worker.verdict(&binary, NOW), "jwt_malformed");
    let mut elsewhere = HeaderMap::new();
    let name = HeaderName::from_static("proxy-authorization");
    elsewhere.insert(name, HeaderValue::from_str(&good).unwrap());
    assert_eq!(worker.verdict(&elsewhere, NOW), "jwt_missing");
}

#[test]
fn a_token_above_the_bound_is_refused_unread() {
    let mut worker = Worker::new();
    let token = valid();
    worker.providers[0].token_bytes_max = token.len();
    assert_eq!(worker.verdict(&bearer(&token), NOW), "ok");
    worker.providers[0].token_bytes_max = token.len() - 1;
    assert_eq!(
        worker.verdict(&bearer(&token), NOW),
        "jwt_too_large",
        "though cached"
    );
    let garbage = "x".repeat(token.len());
    assert_eq!(worker.verdict(&bearer(&garbage), NOW), "jwt_too_large");
}

#[test]
fn the_caller_has_what_the_upstream_is_told() {
    let mut worker = Worker::new();
    let token = with_payload(claims(&json!({"sub": "ann", "tenant": "a", "nbf": NOW})));
    for round in ["verified", "cached"] {
        let caller = worker.ask(&bearer(&token), NOW).unwrap().expect("a caller");
        assert_eq!(caller.subject.as_deref(), Some("ann"), "{round}");
        let sent: Vec<_> = caller
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(sent, [("x-user-id", "ann"), ("x-tenant", "a")], "{round}");
        assert_eq!(caller.valid_from, NOW - SKEW_SECONDS, "{round}");
        assert_eq!(caller.valid_until, NOW + 60 + SKEW_SECONDS, "{round}");
    }
    assert_eq!(worker.cache.len(), 1);
}

#[test]
fn a_cached_token_ends_with_its_expiry() {
    let mut worker = Worker::new();
    let headers = bearer(&with_payload(claims(&json!({"exp": NOW + 10, "nbf": NOW}))));
    for (now, expected) in [
        (NOW, "ok"),
        (NOW + 10 + SKEW_SECONDS - 1, "ok"),
        (NOW + 10 + SKEW_SECONDS, "jwt_expired"),
        (NOW + 10 + SKEW_SECONDS, "jwt_expired"),
        (NOW - SKEW_SECONDS, "ok"),
        (NOW - SKEW_SECONDS - 1, "jwt_not_yet_valid"),
    ] {
        assert_eq!(worker.verdict(&headers, now), expected, "{now}");
    }
}

#[test]
fn a_cached_token_ends_with_its_key() {
    let mut worker = Worker::new();
    let headers = bearer(&valid());
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    worker.install(ring());
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    assert_eq!(worker.cache.len(), 1);

    let p384 = SIGNERS.p384.jwk(&json!({"kid": "p384"}));
    worker.install(ring_of(&[p384]));
    assert_eq!(worker.verdict(&headers, NOW), "jwt_key_unknown");
    let replaced = SIGNERS.stranger.jwk(&json!({"kid": "p256"}));
    worker.install(ring_of(&[replaced]));
    assert_eq!(worker.verdict(&headers, NOW), "jwt_signature_invalid");
    worker.install(ring());
    assert_eq!(worker.verdict(&headers, NOW), "ok", "the key is back");
}

#[test]
fn a_cached_token_answers_for_its_own_policy_alone() {
    let mut worker = Worker::new();
    let headers = bearer(&valid());
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    let scopes = ScopeRule {
        all: vec!["admin".into()],
        ..ScopeRule::default()
    };
    worker.auth = policy(
        2,
        Requirements {
            scopes,
            ..Requirements::default()
        },
    );
    assert_eq!(worker.verdict(&headers, NOW), "jwt_scope_missing");
    let claims = [("tenant".to_owned(), ClaimRule::Exists(true))].into();
    worker.auth = policy(
        3,
        Requirements {
            claims,
            ..Requirements::default()
        },
    );
    assert_eq!(worker.verdict(&headers, NOW), "jwt_claim_mismatch");
    assert_eq!(worker.cache.len(), 1, "a refusal is not kept");
}

#[test]
fn a_token_that_differs_in_one_character_is_another_token() {
    let mut worker = Worker::new();
    let token = valid();
    assert_eq!(worker.verdict(&bearer(&token), NOW), "ok");
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_ne!(worker.verdict(&bearer(&changed), NOW), "ok", "{index}");
    }
    assert_eq!(worker.cache.len(), 1);
}

#[test]
fn a_claim_that_no_header_can_carry_is_refused() {
    let mut worker = Worker::new();
    let token = with_payload(claims(&json!({"sub": "ann\r\nx-admin: 1"})));
    assert_eq!(worker.verdict(&bearer(&token), NOW), "jwt_claim_mismatch");
}

/// Two providers with one key ring: `main`, whose tokens come in the usual place, and `partner`,
/// whose come in a cookie too.
fn partners() -> [Provider; 2] {
    let mut partner = provider();
    partner.issuer = "https://partner.example/".into();
    partner.audiences = vec!["theirs".into()];
    partner.algorithms = vec![Algorithm::ES256];
    partner.places = vec![Place::Authorization, Place::Cookie("session".into())];
    [provider(), partner]
}

struct Gate {
    auth: Auth,
    providers: [Provider; 2],
    trust: Arc<Trust>,
    api_keys: Arc<ApiKeys>,
    cache: TokenCache,
}

impl Gate {
    fn new(policies: Vec<Policy>) -> Self {
        Self {
            auth: Auth::AnyOf(policies),
            providers: partners(),
            trust: Arc::new(trust(ring())),
            api_keys: Arc::default(),
            cache: TokenCache::new(100, 100_000),
        }
    }

    /// The subject, `nobody`, or the code of the refusal.
    fn answer(&mut self, headers: &HeaderMap, client: &str) -> String {
        let client = client.parse().unwrap();
        let request = Request {
            headers,
            client: || client,
        };
        let keys = Keys(&self.trust, Arc::clone(&self.api_keys));
        let cache = &mut self.cache;
        let lists = [ApiKeyList {
            name: "partners".into(),
            header: HeaderName::from_static("x-api-key"),
        }];
        let known = Known {
            providers: &self.providers,
            api_keys: &lists,
        };
        match authenticate(&self.auth, known, &keys, &request, cache, NOW) {
            Ok(None) => "nobody".into(),
            Ok(Some(caller)) => caller.subject.clone().unwrap_or_default().into(),
            Err(denied) => denied.rejection.reason.code().into(),
        }
    }
}

fn one_of(id: u32, credential: Credential, networks: &[&str], scope: &str) -> Policy {
    let scopes = ScopeRule {
        all: scope.split_whitespace().map(str::to_owned).collect(),
        ..ScopeRule::default()
    };
    Policy {
        id,
        credential,
        networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
        requirements: Requirements {
            scopes,
            ..Requirements::default()
        },
        identity: IdentityHeaders::default(),
        withheld: Arc::new([]),
    }
}

fn partners_token(more: &Value) -> String {
    let mut change = json!({"iss": "https://partner.example/", "aud": "theirs", "sub": "pat"});
    let members = change.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    with_payload(claims(&change))
}

#[test]
fn of_several_providers_the_one_that_the_token_names_decides() {
    let mut gate = Gate::new(vec![one_of(1, Credential::Jwt(vec![0, 1]), &[], "")]);
    let cookie = |token: &str| {
        let mut headers = HeaderMap::new();
        let value = format!("session={token}").parse().unwrap();
        headers.insert(http::header::COOKIE, value);
        headers
    };
    let rs256 = |issuer: &str, aud: &str| {
        let payload = claims(&json!({"iss": issuer, "aud": aud}));
        let header = r#"{"alg":"RS256","kid":"rsa"}"#;
        mint(header, payload, &SIGNERS.rsa, Algorithm::RS256)
    };
    let table = [
        (bearer(&valid()), "ann"),
        (bearer(&partners_token(&json!({}))), "pat"),
        (
            bearer(&partners_token(&json!({"aud": "api"}))),
            "jwt_audience_mismatch",
        ),
        (
            bearer(&partners_token(&json!({"exp": NOW - 100}))),
            "jwt_expired",
        ),
        (bearer(&rs256(ISSUER, "api")), "ann"),
        (
            bearer(&rs256("https://partner.example/", "theirs")),
            "jwt_algorithm_not_allowed",
        ),
        (
            bearer(&rs256("https://nobody.example/", "api")),
            "jwt_issuer_mismatch",
        ),
        (cookie(&partners_token(&json!({}))), "pat"),
        (cookie(&valid()), "jwt_issuer_mismatch"),
        (HeaderMap::new(), "jwt_missing"),
    ];
    for round in ["verified", "cached"] {
        for (headers, expected) in &table {
            assert_eq!(
                gate.answer(headers, "10.0.0.1"),
                *expected,
                "{round} {headers:?}"
            );
        }
    }
    assert_eq!(gate.cache.len(), 4);
}

#[test]
fn of_several_ways_the_first_that_accepts_wins_and_the_nearest_refusal_is_told() {
    let token = with_payload(claims(&json!({"scope": "read"})));
    let narrow = one_of(1, Credential::Jwt(vec![0]), &[], "write");
    let wide = one_of(2, Credential::Jwt(vec![0]), &["10.0.0.0/8"], "read");
    let partner = one_of(3, Credential::Jwt(vec![1]), &[], "");
    let inside = one_of(4, Credential::Network, &["192.168.0.0/16"], "");
    let mut gate = Gate::new(vec![narrow, wide, partner, inside]);
    let good = bearer(&token);
    let none = HeaderMap::new();
    let expired = bearer(&with_payload(claims(&json!({"exp": 1}))));
    for (headers, client, expected) in [
        (&good, "10.0.0.1", "ann"),
        (&good, "11.0.0.1", "jwt_scope_missing"),
        (&good, "192.168.0.1", "nobody"),
        (&none, "192.168.0.1", "nobody"),
        (&none, "10.0.0.1", "credential_missing"),
        (&none, "11.0.0.1", "credential_missing"),
        (&expired, "11.0.0.1", "jwt_expired"),
        (&expired, "192.168.0.1", "nobody"),
    ] {
        assert_eq!(
            gate.answer(headers, client),
            expected,
            "{client} {headers:?}"
        );
    }
}

#[test]
fn a_network_is_asked_for_before_the_token_is_looked_at() {
    let networks = ["10.0.0.0/8", "fd00::/8"];
    let mut gate = Gate::new(vec![one_of(1, Credential::Jwt(vec![0]), &networks, "")]);
    for (client, expected) in [
        ("10.1.2.3", "ann"),
        ("fd00::7", "ann"),
        ("11.0.0.1", "network_not_allowed"),
        ("fe80::1", "network_not_allowed"),
    ] {
        assert_eq!(gate.answer(&bearer(&valid()), client), expected, "{client}");
    }
    let mut gate = Gate::new(vec![one_of(1, Credential::Network, &networks, "")]);
    assert_eq!(gate.answer(&HeaderMap::new(), "10.0.0.1"), "nobody");
    let refused = gate.answer(&bearer(&valid()), "11.0.0.1");
    assert_eq!(refused, "network_not_allowed");
}

#[test]
fn a_flood_of_bad_tokens_displaces_no_good_one() {
    let mut worker = Worker::new();
    worker.cache = TokenCache::new(2, 100_000);
    let headers = bearer(&valid());
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    for index in 0..100 {
        let forged = with_header(format!(r#"{{"alg":"ES256","kid":"p384","n":{index}}}"#));
        assert_eq!(worker.verdict(&bearer(&forged), NOW), "jwt_key_unknown");
        let expired = with_payload(claims(&json!({"exp": index})));
        assert_eq!(worker.verdict(&bearer(&expired), NOW), "jwt_expired");
    }
    assert_eq!(worker.cache.len(), 1);
    // Without its key only the cache could know it, and it does not: no key, no caller.
    worker.trust = Arc::new(Trust::default());
    assert_eq!(worker.verdict(&headers, NOW), "jwt_keys_unavailable");
}

#[test]
fn an_unknown_key_is_asked_for_and_a_forgery_is_not() {
    let mut worker = Worker::new();
    let wanted = |worker: &mut Worker, token: &str| {
        let denied = worker.ask(&bearer(token), NOW).unwrap_err();
        denied.wanted_key.map(|key| (key.provider, key.id))
    };
    let unknown = with_header(r#"{"alg":"ES256","kid":"new"}"#);
    assert_eq!(wanted(&mut worker, &unknown), Some((0, Some("new".into()))));
    let forged = mint(
        r#"{"alg":"ES256","kid":"p256"}"#,
        claims(&json!({})),
        &SIGNERS.stranger,
        Algorithm::ES256,
    );
    assert_eq!(wanted(&mut worker, &forged), None);
    let unnamed = mint(
        r#"{"alg":"ES256"}"#,
        claims(&json!({})),
        &SIGNERS.stranger,
        Algorithm::ES256,
    );
    assert_eq!(wanted(&mut worker, &unnamed), Some((0, None)));
    let stale = mint(
        r#"{"alg":"ES256","kid":"new"}"#,
        claims(&json!({"exp": NOW - 100})),
        &SIGNERS.stranger,
        Algorithm::ES256,
    );
    assert_eq!(
        wanted(&mut worker, &stale),
        None,
        "an expired token is worth no fetch"
    );
}

#[test]
fn a_secret_vouches_for_tokens_of_its_algorithms() {
    use aws_lc_rs::hmac;

    let secret = b"0123456789abcdef0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP";
    let algorithms = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
    let mut worker = Worker::new();
    worker.providers[0].algorithms = algorithms.to_vec();
    worker.install(KeyRing::from_secret(secret, &algorithms).unwrap());
    for (name, hash) in [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ] {
        for kid in ["", r#","kid":"any""#] {
            let header = base64url(format!(r#"{{"alg":"{name}"{kid}}}"#));
            let message = format!("{header}.{}", base64url(claims(&json!({}))));
            let token = |secret: &[u8]| {
                let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
                format!("{message}.{}", base64url(tag))
            };
            assert_eq!(worker.verdict(&bearer(&token(secret)), NOW), "ok", "{name}");
            let denied = worker.ask(&bearer(&token(&secret[1..])), NOW).unwrap_err();
            assert_eq!(denied.rejection.reason.code(), SIGNATURE, "{name}");
            assert_eq!(denied.wanted_key, None, "nobody publishes another secret");
        }
    }
    let token = valid();
    assert_eq!(
        worker.verdict(&bearer(&token), NOW),
        "jwt_algorithm_not_allowed"
    );
}

/// A key of `partner-a`, and a file that lists it with these further lines.
fn api_key(more: &str) -> (String, ApiKeys) {
    let id: KeyId = "partner-a".parse().unwrap();
    let key = NewKey::compose(&id, &[7; 32]);
    let text = format!("keys:\n  - id: partner-a\n    hash: {}\n{more}", key.hash);
    let source = crate::config::Source {
        name: "keys.yaml",
        text: &text,
    };
    let keys = ApiKeys::parse(source).unwrap_or_else(|problems| panic!("{problems}"));
    (key.text, keys)
}

#[test]
fn an_api_key_is_a_caller_with_claims_of_its_own() {
    let (key, keys) = api_key("    scopes: [read]\n    expires: 2024-01-01\n");
    let token = with_payload(claims(&json!({"scope": "read"})));
    let with = |lines: &[(&'static str, &str)]| -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        lines.iter().map(line).collect()
    };
    let bearer = format!("Bearer {token}");
    let mut gate = Gate::new(vec![one_of(1, Credential::ApiKey(0), &[], "read")]);
    gate.api_keys = Arc::new(keys.clone());
    for (headers, expected) in [
        (with(&[("x-api-key", &key)]), "partner-a"),
        (with(&[("x-api-key", "gwk_x")]), "api_key_unknown"),
        (
            with(&[("x-api-key", &key), ("x-api-key", &key)]),
            "api_key_repeated",
        ),
        (with(&[("x-api-key", "")]), "api_key_missing"),
        (with(&[("authorization", &bearer)]), "api_key_missing"),
    ] {
        assert_eq!(gate.answer(&headers, "10.0.0.1"), expected, "{headers:?}");
    }
    assert_eq!(gate.cache.len(), 0, "nothing is kept of a key");

    let write = one_of(1, Credential::ApiKey(0), &[], "write");
    let jwt = one_of(2, Credential::Jwt(vec![0]), &[], "read");
    let mut gate = Gate::new(vec![write, jwt]);
    gate.api_keys = Arc::new(keys);
    for (headers, expected) in [
        (with(&[("x-api-key", &key)]), "api_key_scope_missing"),
        (
            with(&[("x-api-key", &key), ("authorization", &bearer)]),
            "ann",
        ),
        (with(&[]), "credential_missing"),
    ] {
        assert_eq!(gate.answer(&headers, "10.0.0.1"), expected, "{headers:?}");
    }
    let (_, expired) = api_key("    expires: 2023-01-01\n");
    gate.api_keys = Arc::new(expired);
    let headers = with(&[("x-api-key", &key)]);
    assert_eq!(gate.answer(&headers, "10.0.0.1"), "api_key_expired");
}

#[test]
fn a_revoked_token_is_refused_though_it_is_cached() {
    let list = |text: &str| {
        let source = crate::config::Source {
            name: "revoked.yaml",
            text,
        };
        Revocations::parse(source).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let mut worker = Worker::new();
    let payload = |change: Value| bearer(&with_payload(claims(&change)));
    let ann = payload(json!({"jti": "1", "sid": "s1", "iat": NOW - 100}));
    let bob = payload(json!({"sub": "bob", "jti": "2", "iat": NOW - 10}));
    let verdicts = |worker: &mut Worker| (worker.verdict(&ann, NOW), worker.verdict(&bob, NOW));
    assert_eq!(
        verdicts(&mut worker),
        ("ok", "ok"),
        "before there was a list"
    );
    for (text, expected) in [
        ("revoked: []".to_owned(), ("ok", "ok")),
        ("revoked: [{jti: '1'}]".into(), ("jwt_revoked", "ok")),
        (
            "revoked: [{jti: '2'}, {jti: '3'}]".into(),
            ("ok", "jwt_revoked"),
        ),
        ("revoked: [{sub: ann}]".into(), ("jwt_revoked", "ok")),
        ("revoked: [{sid: s1}]".into(), ("jwt_revoked", "ok")),
        (
            format!("revoked: [{{issued_before: {}}}]", NOW - 50),
            ("jwt_revoked", "ok"),
        ),
        (
            format!("revoked: [{{issued_before: {NOW}}}]"),
            ("jwt_revoked", "jwt_revoked"),
        ),
        (
            format!("revoked: [{{sub: bob, issued_before: {}}}]", NOW - 50),
            ("ok", "ok"),
        ),
        ("revoked: []".into(), ("ok", "ok")),
    ] {
        worker.trust = Arc::new(worker.trust.with_revocations(list(&text)));
        for round in ["first", "cached"] {
            assert_eq!(verdicts(&mut worker), expected, "{text} {round}");
        }
    }
    assert_eq!(worker.cache.len(), 2);
}
