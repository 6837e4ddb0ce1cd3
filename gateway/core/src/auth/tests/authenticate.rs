//! From a request's headers to a caller, with the cache between.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::cache::TokenCache;
use super::super::claims::{ClaimRule, ClaimsToHeaders, Requirements, ScopeRule};
use super::super::{Auth, Caller, JwtAuth, authenticate};
use super::*;
use crate::words::rejection::Rejection;

/// One worker's view: a provider, its ring, and a cache.
struct Worker {
    auth: Auth,
    providers: [Provider; 1],
    ring: Arc<KeyRing>,
    cache: TokenCache,
}

impl Worker {
    fn new() -> Self {
        Self {
            auth: policy(1, Requirements::default()),
            providers: [provider()],
            ring: Arc::new(ring().succeeding(&KeyRing::default())),
            cache: TokenCache::new(100, 100_000),
        }
    }

    fn ask(&mut self, headers: &HeaderMap, now: u64) -> Result<Option<Arc<Caller>>, Rejection> {
        let ring = &self.ring;
        let (auth, cache) = (&self.auth, &mut self.cache);
        authenticate(auth, &self.providers, |_| ring, headers, cache, now)
    }

    /// `ok`, or the code of the refusal.
    fn verdict(&mut self, headers: &HeaderMap, now: u64) -> &'static str {
        match self.ask(headers, now) {
            Ok(_) => "ok",
            Err(rejection) => rejection.reason.code(),
        }
    }
}

fn policy(policy_id: u32, requirements: Requirements) -> Auth {
    let name = HeaderName::from_static;
    Auth::Jwt(JwtAuth {
        policy_id,
        provider: 0,
        requirements,
        claims_to_headers: ClaimsToHeaders(vec![
            ("sub".into(), name("x-user-id")),
            ("tenant".into(), name("x-tenant")),
        ]),
    })
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
        (with(" Bearer ", ""), "jwt_missing"),
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
    let same = ring().succeeding(&worker.ring);
    worker.ring = Arc::new(same);
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    assert_eq!(worker.cache.len(), 1);

    let p384 = SIGNERS.p384.jwk(&json!({"kid": "p384"}));
    worker.ring = Arc::new(ring_of(&[p384]).succeeding(&worker.ring));
    assert_eq!(worker.verdict(&headers, NOW), "jwt_key_unknown");
    let replaced = SIGNERS.stranger.jwk(&json!({"kid": "p256"}));
    worker.ring = Arc::new(ring_of(&[replaced]).succeeding(&worker.ring));
    assert_eq!(worker.verdict(&headers, NOW), "jwt_signature_invalid");
    worker.ring = Arc::new(ring().succeeding(&worker.ring));
    assert_eq!(worker.verdict(&headers, NOW), "ok", "the key is back");
}

#[test]
fn a_cached_token_answers_for_its_own_policy_alone() {
    let mut worker = Worker::new();
    let headers = bearer(&valid());
    assert_eq!(worker.verdict(&headers, NOW), "ok");
    let scopes = ScopeRule {
        all: vec!["admin".into()],
        any: Vec::new(),
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
