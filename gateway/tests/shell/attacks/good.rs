//! Tokens that must pass: who refuses these has not stopped an attack but a caller.

use serde_json::json;

use super::case::{Case, Family, PASSES};
use super::mint::{Mint, PUBLIC_ALGORITHMS, SECRET_ALGORITHMS, encoded_token};

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("good tokens");
    for algorithm in PUBLIC_ALGORITHMS {
        family.token(algorithm, mint.good(algorithm), PASSES);
        let header = json!({"alg": algorithm}).to_string();
        let token = mint.signed(algorithm, header, mint.claims(json!({})));
        family.token(format!("{algorithm} without a key id"), token, PASSES);
    }
    for algorithm in SECRET_ALGORITHMS {
        family.token_for("/secret", algorithm, mint.good(algorithm), PASSES);
        let header = json!({"alg": algorithm}).to_string();
        let token = mint.signed(algorithm, header, mint.claims_for(algorithm));
        let name = format!("{algorithm} without a key id");
        family.token_for("/secret", name, token, PASSES);
    }
    family.token_for("/narrow", "RS256 alone", mint.good("RS256"), PASSES);
    for (name, token) in [
        ("the same token once more", mint.good("EdDSA")),
        (
            "unknown members in the header",
            mint.with_header(json!({"x": 1, "y": {"z": [null]}})),
        ),
        (
            "unknown claims",
            mint.with_claims(json!({"__proto__": {"admin": true}, "constructor": 1})),
        ),
        (
            "a key of an algorithm, used for it",
            mint.signed(
                "RS256",
                Mint::header("RS256", json!({"kid": "rsa-rs256"})),
                mint.claims(json!({})),
            ),
        ),
        (
            "a key for PS256, used for it",
            mint.signed(
                "PS256",
                Mint::header("PS256", json!({"kid": "rsa-ps256"})),
                mint.claims(json!({})),
            ),
        ),
    ] {
        family.token(name, token, PASSES);
    }
    names_and_places(mint, &mut family);
    family.into_cases()
}

fn names_and_places(mint: &Mint, family: &mut Family) {
    for (index, key) in mint.nameless.iter().enumerate().take(2) {
        let header = Mint::header("ES256", json!({"kid": "twin"}));
        let message = |message: &[u8]| key.sign(message);
        let token = super::mint::token(header, mint.claims(json!({})), message);
        family.token(
            format!("key {index} of two that share a name"),
            token,
            PASSES,
        );
    }
    for (index, key) in mint.nameless.iter().enumerate().take(4) {
        for (name, header) in [
            ("that names none", json!({"alg": "ES256"})),
            (
                "that names another",
                json!({"alg": "ES256", "kid": "other"}),
            ),
        ] {
            let token = super::mint::token(header.to_string(), mint.claims(json!({})), |message| {
                key.sign(message)
            });
            let name = format!("nameless key {index} for a token {name}");
            family.token_for("/nameless", name, token, PASSES);
        }
    }
    // Members in another order, blanks and escapes say the same (RFC 8259).
    let header = "{ \"kid\" : \"ec\\u002d1\",\r\n\t\"\\u0061lg\" : \"ES256\" } ";
    let token = mint.signed("ES256", header, mint.claims(json!({})));
    family.token("a header with blanks and escapes", token, PASSES);
    // The least that is needed.
    let payload = mint.claims_without("iat", json!({}));
    family.token("no date of issue", mint.with_payload(payload), PASSES);
    let header = super::mint::encoded(Mint::header("ES256", json!({})));
    let payload = super::mint::encoded(mint.claims(json!({"x": "\u{1f511} \u{e4}"})));
    let token = encoded_token(&header, &payload, |message| mint.sign("ES256", message));
    family.token("claims beyond ASCII", token, PASSES);
}
