//! Several providers, several ways to be let in: who decides, and which refusal is told.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::super::api_keys::{ApiKeyList, ApiKeys, KeyId, NewKey};
use super::super::cache::TokenCache;
use super::super::claims::{IdentityHeaders, Requirements, ScopeRule};
use super::super::{Auth, Credential, Known, Policy, Request, authenticate};
use super::authenticate::{Keys, bearer};
use super::*;
use crate::auth::witness::Nobody;

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
        match authenticate(&self.auth, known, &keys, &request, cache, NOW, &mut Nobody) {
            Ok(None) => "nobody".into(),
            Ok(Some(caller)) => caller.subject.clone().unwrap_or_default().into(),
            Err(denied) => denied.rejection.reason.code().into(),
        }
    }
}

fn one_of(id: u64, credential: Credential, networks: &[&str], scope: &str) -> Policy {
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
