//! A route that takes tokens of two providers: neither's keys or algorithms are the other's
//! (RFC 8725 sections 2.1, 2.8 and 3.8).

use serde_json::{Value, json};

use super::case::{
    ALGORITHM, AUDIENCE, Case, EXPIRED, Family, ISSUER, KEY_UNKNOWN, MISSING, PASSES, SIGNATURE,
};
use super::mint::{Mint, SECRET, SECRET_ISSUER, mac, token};
use crate::support::tokens;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("two providers");
    let issued = |issuer: &str, change: Value| {
        let issuer = json!({"iss": issuer});
        mint.claims(super::mint::merged(issuer, change))
    };
    let signed = |algorithm: &str, claims: String| {
        mint.signed(algorithm, Mint::header(algorithm, json!({})), claims)
    };
    let (public, secret) = (tokens::ISSUER, SECRET_ISSUER);
    let with_secret = |key_id: &str, secret: &[u8], claims: String| {
        token(
            Mint::header("HS256", json!({"kid": key_id})),
            claims,
            |message| mac("HS256", secret, message),
        )
    };
    let modulus = mint.rsa.modulus.to_bytes_be();
    for (name, token, expected) in [
        ("the first's own", mint.good("RS256"), PASSES),
        ("the second's own", mint.good("HS256"), PASSES),
        (
            "the second's secret for the first's issuer",
            signed("HS256", issued(public, json!({}))),
            ALGORITHM,
        ),
        (
            "the first's key for the second's issuer",
            signed("RS256", issued(secret, json!({}))),
            ALGORITHM,
        ),
        (
            "the second's secret under the first's key",
            with_secret("rsa-1", SECRET, issued(public, json!({}))),
            ALGORITHM,
        ),
        (
            "the first's modulus for the second's issuer",
            with_secret("rsa-1", &modulus, issued(secret, json!({}))),
            SIGNATURE,
        ),
        (
            "no issuer",
            signed("ES256", mint.claims_without("iss", json!({}))),
            ISSUER,
        ),
        (
            "a stranger's issuer",
            signed("ES256", issued("https://evil.example/", json!({}))),
            ISSUER,
        ),
        (
            "both issuers in an array",
            signed("ES256", mint.claims(json!({"iss": [public, secret]}))),
            ISSUER,
        ),
        (
            "an issuer that begins like the first",
            signed("ES256", issued("https://issuer.example", json!({}))),
            ISSUER,
        ),
        (
            "the first's, for another audience",
            signed("ES256", issued(public, json!({"aud": "x"}))),
            AUDIENCE,
        ),
        (
            "the second's, expired",
            signed("HS256", issued(secret, json!({"exp": 1}))),
            EXPIRED,
        ),
        (
            "the first's, by an unknown key",
            mint.signed(
                "ES256",
                Mint::header("ES256", json!({"kid": "stranger"})),
                issued(public, json!({})),
            ),
            KEY_UNKNOWN,
        ),
        (
            "alg none for the second's issuer",
            token(
                json!({"alg": "none"}).to_string(),
                issued(secret, json!({})),
                |_| Vec::new(),
            ),
            ALGORITHM,
        ),
        (
            "alg none for the first's issuer",
            token(
                json!({"alg": "none"}).to_string(),
                issued(public, json!({})),
                |_| Vec::new(),
            ),
            ALGORITHM,
        ),
    ] {
        family.token_for("/several", name, token, expected);
    }
    family.lines("/several", "no token", "", MISSING);
    family.into_cases()
}
