//! From a request's headers to a caller, with the cache between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::api_keys::ApiKeys;
use super::super::cache::TokenCache;
use super::super::claims::{ClaimRule, IdentityHeaders, Requirements, ScopeRule};
use super::super::revocation::Revocations;
use super::super::{
    Auth, Caller, Credential, Denied, Known, Policy, Request, Snapshots, authenticate,
};
use super::*;
use crate::auth::witness::Nobody;

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

pub(super) struct Keys<'k>(pub(super) &'k Arc<Trust>, pub(super) Arc<ApiKeys>);

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
        authenticate(
            auth,
            known(&self.providers),
            &keys,
            &request,
            cache,
            now,
            &mut Nobody,
        )
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

fn policy(id: u64, requirements: Requirements) -> Auth {
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

pub(super) fn bearer(token: &str) -> HeaderMap {
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
            let wanted = denied.wanted_key.map(|key| key.provider);
            assert_eq!(wanted, Some(0), "the secret may have been changed");
        }
    }
    let token = valid();
    assert_eq!(
        worker.verdict(&bearer(&token), NOW),
        "jwt_algorithm_not_allowed"
    );
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
