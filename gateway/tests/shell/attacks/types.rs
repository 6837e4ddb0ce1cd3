//! `typ` where the provider asks for one, and where it does not (RFC 8725 section 3.11, RFC 9068
//! section 4).

use serde_json::{Value, json};

use super::case::{Case, Family, MALFORMED, PASSES, TYPE};
use super::mint::Mint;

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("typ");
    for (value, expected) in [
        (json!("at+jwt"), PASSES),
        (json!("AT+JWT"), PASSES),
        (json!("at+JWT"), PASSES),
        (json!("application/at+jwt"), PASSES),
        (json!("Application/AT+jwt"), PASSES),
        (json!("JWT"), TYPE),
        (json!("jwt"), TYPE),
        (json!("application/jwt"), TYPE),
        (json!(""), TYPE),
        (json!("at"), TYPE),
        (json!("at+jwt "), TYPE),
        (json!(" at+jwt"), TYPE),
        (json!("at+jwt\u{0}"), TYPE),
        (json!("at jwt"), TYPE),
        (json!("at-jwt"), TYPE),
        (json!("at%2Bjwt"), TYPE),
        (json!("\u{430}t+jwt"), TYPE),
        (json!("at+jw\u{165}"), TYPE),
        (json!("xat+jwt"), TYPE),
        (json!("at+jwtx"), TYPE),
        (json!("at+jwt; charset=utf-8"), TYPE),
        (json!("application/application/at+jwt"), TYPE),
        (json!("text/at+jwt"), TYPE),
        (json!("/at+jwt"), TYPE),
        (json!("application/"), TYPE),
        (json!("application"), TYPE),
        (json!("id+jwt"), TYPE),
        (json!("logout+jwt"), TYPE),
        (json!("dpop+jwt"), TYPE),
        (json!("secevent+jwt"), TYPE),
        (json!("token-introspection+jwt"), TYPE),
        (json!("JOSE"), TYPE),
    ] {
        let token = mint.with_header(json!({"typ": value}));
        family.token_for(
            "/typed",
            format!("{value} where one is asked for"),
            &token,
            expected,
        );
        // Nobody asks, so it says nothing (RFC 7519 section 5.1).
        family.token(format!("{value} where none is asked for"), token, PASSES);
    }
    // It is text wherever it stands (RFC 7515 section 4.1.9).
    for value in [
        json!(null),
        json!(1),
        json!(true),
        json!(["at+jwt"]),
        json!({"a": true}),
    ] {
        let token = mint.with_header(json!({"typ": value}));
        family.token_for(
            "/typed",
            format!("{value} where one is asked for"),
            &token,
            MALFORMED,
        );
        family.token(format!("{value} where none is asked for"), token, MALFORMED);
    }
    let header = json!({"alg": "ES256", "kid": "ec-1"});
    for (name, header) in [
        ("missing", header.clone()),
        (
            "in capitals",
            super::mint::merged(header.clone(), json!({"TYP": "at+jwt"})),
        ),
        (
            "as content type alone",
            super::mint::merged(header, json!({"cty": "at+jwt"})),
        ),
    ] {
        let token = mint.signed("ES256", header.to_string(), mint.claims(json!({})));
        family.token_for(
            "/typed",
            format!("{name} where one is asked for"),
            &token,
            TYPE,
        );
        family.token(format!("{name} where none is asked for"), token, PASSES);
    }
    let in_claims: Value = json!({"typ": "at+jwt"});
    let token = mint.with_claims(in_claims);
    family.token_for("/typed", "in the claims", token, TYPE);
    family.into_cases()
}
