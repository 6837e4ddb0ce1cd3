//! Algorithms, keys and signatures: who may have made a token.

use aws_lc_rs::hmac;

use super::*;

const ALGORITHM: &str = "jwt_algorithm_not_allowed";
const KEY: &str = "jwt_key_unknown";

#[test]
fn an_algorithm_counts_if_the_allow_list_has_it() {
    let ring = trust(ring());
    for used in ALGORITHMS {
        let (signer, id) = SIGNERS.of(used);
        let header = json!({"alg": used, "kid": id}).to_string();
        let token = mint(header, claims(&json!({})), signer, used);
        for allowed in ALGORITHMS {
            let mut provider = provider();
            provider.algorithms = vec![allowed];
            let expected = if allowed == used { "ok" } else { ALGORITHM };
            let got = verdict(&provider, &ring, &token);
            assert_eq!(got, expected, "{used:?} where {allowed:?} is allowed");
        }
        assert_eq!(verdict(&provider(), &ring, &token), "ok", "{used:?}");
    }
}

#[test]
fn a_token_has_no_say_in_which_algorithms_are_allowed() {
    let mut cases = Vec::new();
    for name in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        " none",
        "",
        "null",
        "HS256",
        "HS384",
        "HS512",
        "rs256",
        "RS256 ",
        "RS257",
        "ES512",
        "ES256K",
        "RSA-OAEP",
        "dir",
        "none\\u0000",
    ] {
        let header = format!(r#"{{"alg":"{name}","kid":"p256"}}"#);
        let with_signature = with_header(&header);
        let (head, payload, _) = parts(&with_signature);
        cases.push((name, with_signature, ALGORITHM));
        cases.push((name, format!("{head}.{payload}."), ALGORITHM));
    }
    for header in [
        r#"{"kid":"p256"}"#,
        r#"{"alg":null,"kid":"p256"}"#,
        r#"{"alg":["ES256"],"kid":"p256"}"#,
        r#"{"alg":256,"kid":"p256"}"#,
        r#"{"ALG":"ES256","kid":"p256"}"#,
    ] {
        cases.push((header, with_header(header), MALFORMED));
    }
    check(&cases);
}

#[test]
fn a_public_key_is_never_a_secret() {
    let rsa = &SIGNERS.rsa;
    let jwk = rsa.public.to_string();
    let modulus = rsa.public["n"].as_str().unwrap();
    let secrets = [
        jwk.clone().into_bytes(),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        Vec::new(),
    ];
    let mut eager = provider();
    eager.algorithms.push(Algorithm::HS256);
    for secret in secrets {
        let header = base64url(r#"{"alg":"HS256","kid":"rsa"}"#);
        let message = format!("{header}.{}", base64url(claims(&json!({}))));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let tag = hmac::sign(&key, message.as_bytes());
        let token = format!("{message}.{}", base64url(tag));
        assert_eq!(verdict(&provider(), &trust(ring()), &token), ALGORITHM);
        assert_eq!(
            verdict(&eager, &trust(ring()), &token),
            KEY,
            "no list allows it"
        );
    }
}

#[test]
fn a_key_is_found_by_its_id_or_by_its_fit() {
    check(&[
        (
            "its id",
            with_header(r#"{"alg":"ES256","kid":"p256"}"#),
            "ok",
        ),
        ("no id", with_header(r#"{"alg":"ES256"}"#), "ok"),
        (
            "unknown id",
            with_header(r#"{"alg":"ES256","kid":"p257"}"#),
            KEY,
        ),
        ("empty id", with_header(r#"{"alg":"ES256","kid":""}"#), KEY),
        (
            "id in capitals",
            with_header(r#"{"alg":"ES256","kid":"P256"}"#),
            KEY,
        ),
        (
            "id of an RSA key",
            with_header(r#"{"alg":"ES256","kid":"rsa"}"#),
            KEY,
        ),
        (
            "id of another curve",
            with_header(r#"{"alg":"ES256","kid":"p384"}"#),
            KEY,
        ),
        (
            "id of a path",
            with_header(r#"{"alg":"ES256","kid":"../../dev/null"}"#),
            KEY,
        ),
        (
            "id of a query",
            with_header(r#"{"alg":"ES256","kid":"x' OR '1'='1"}"#),
            KEY,
        ),
        (
            "id escaped",
            with_header(r#"{"alg":"ES256","kid":"\u0070256"}"#),
            "ok",
        ),
        (
            "id a number",
            with_header(r#"{"alg":"ES256","kid":256}"#),
            MALFORMED,
        ),
        (
            "id null",
            with_header(r#"{"alg":"ES256","kid":null}"#),
            MALFORMED,
        ),
        (
            "id a list",
            with_header(r#"{"alg":"ES256","kid":["p256"]}"#),
            MALFORMED,
        ),
    ]);
}

#[test]
fn without_any_key_the_gateway_says_so_and_not_the_token() {
    let none = Trust::default();
    assert_eq!(
        verdict(&provider(), &none, &valid()),
        "jwt_keys_unavailable"
    );
    assert_eq!(verdict(&provider(), &none, "a.b.c"), MALFORMED);
}

#[test]
fn a_key_that_the_token_brings_along_counts_for_nothing() {
    let stranger = &SIGNERS.stranger;
    let jwk = &stranger.public;
    let url = "https://attacker.example/keys.json";
    let mut cases = Vec::new();
    for extra in [
        json!({"jwk": jwk}),
        json!({"jku": url}),
        json!({"x5u": url}),
        json!({"x5c": ["AAAA"]}),
        json!({"x5t": "AAAA", "x5t#S256": "AAAA"}),
    ] {
        for id in [Some("p256"), Some("stranger"), None] {
            let mut header = extra.clone();
            header["alg"] = "ES256".into();
            if let Some(id) = id {
                header["kid"] = id.into();
            }
            let header = header.to_string();
            let forged = mint(&header, claims(&json!({})), stranger, Algorithm::ES256);
            let unknown = id == Some("stranger");
            cases.push(("forged", forged, if unknown { KEY } else { SIGNATURE }));
            let honest = with_header(&header);
            cases.push(("honest", honest, if unknown { KEY } else { "ok" }));
        }
    }
    check(&cases);
}

#[test]
fn whatever_was_changed_after_signing_breaks_the_signature() {
    let (header, payload, signature) = parts(&valid());
    let admin = base64url(claims(&json!({"sub": "admin"})));
    let other_header = base64url(r#"{"alg":"ES256","kid":"p256","typ":"JWT"}"#);
    let bytes = URL_SAFE_NO_PAD.decode(&signature).unwrap();
    let resigned = |bytes: &[u8]| format!("{header}.{payload}.{}", base64url(bytes));
    let mut flipped = bytes.clone();
    flipped[40] ^= 1;
    let swapped = [&bytes[32..], &bytes[..32]].concat();
    // r and s as ASN.1, which is how other protocols write them (RFC 7518 section 3.4 does not).
    let asn1 = [&[0x30, 68, 2, 32], &bytes[..32], &[2, 32], &bytes[32..]].concat();
    check(&[
        ("nothing", valid(), "ok"),
        (
            "payload",
            format!("{header}.{admin}.{signature}"),
            SIGNATURE,
        ),
        (
            "header",
            format!("{other_header}.{payload}.{signature}"),
            SIGNATURE,
        ),
        ("a bit", resigned(&flipped), SIGNATURE),
        ("r and s", resigned(&swapped), SIGNATURE),
        ("ASN.1", resigned(&asn1), SIGNATURE),
        ("cut", resigned(&bytes[..63]), SIGNATURE),
        ("longer", resigned(&[&bytes[..], &[0]].concat()), SIGNATURE),
        (
            "leading zero",
            resigned(&[&[0], &bytes[..]].concat()),
            SIGNATURE,
        ),
        ("empty", resigned(&[]), SIGNATURE),
        ("all zero", resigned(&[0; 64]), SIGNATURE),
        ("all ones", resigned(&[255; 64]), SIGNATURE),
        (
            "a stranger's",
            mint(
                r#"{"alg":"ES256","kid":"p256"}"#,
                claims(&json!({})),
                &SIGNERS.stranger,
                Algorithm::ES256,
            ),
            SIGNATURE,
        ),
        (
            "PKCS#1 as PSS",
            mint(
                r#"{"alg":"PS256","kid":"rsa"}"#,
                claims(&json!({})),
                &SIGNERS.rsa,
                Algorithm::RS256,
            ),
            SIGNATURE,
        ),
        (
            "SHA-512 as SHA-256",
            mint(
                r#"{"alg":"RS256","kid":"rsa"}"#,
                claims(&json!({})),
                &SIGNERS.rsa,
                Algorithm::RS512,
            ),
            SIGNATURE,
        ),
    ]);
}

#[test]
fn every_flipped_character_of_a_token_is_noticed() {
    let (provider, ring, token) = (provider(), trust(ring()), valid());
    for index in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_ne!(
            verdict(&provider, &ring, &changed),
            "ok",
            "{index}: {changed}"
        );
    }
}
