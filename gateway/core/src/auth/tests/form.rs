//! What is a token at all: the compact form, base64url, JSON.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

use super::*;

const TWICE: &str = "jwt_duplicate_member";
const CRITICAL: &str = "jwt_critical_unsupported";
const ENCRYPTED: &str = "jwt_encrypted";

#[test]
fn a_name_that_comes_twice_is_refused_wherever_it_stands() {
    let twice = |extra: &str| claims(&json!({})).replacen('{', &format!("{{{extra},"), 1);
    check(&[
        ("sub", with_payload(twice(r#""sub":"admin""#)), TWICE),
        ("the same sub", with_payload(twice(r#""sub":"ann""#)), TWICE),
        (
            "escaped",
            with_payload(twice(r#""\u0073ub":"admin""#)),
            TWICE,
        ),
        ("exp", with_payload(twice(r#""exp":9999999999"#)), TWICE),
        (
            "within",
            with_payload(twice(r#""realm":{"a":1,"a":2}"#)),
            TWICE,
        ),
        (
            "apart",
            with_payload(twice(r#""a":{"b":1},"c":{"b":1}"#)),
            "ok",
        ),
        ("alg", with_header(r#"{"alg":"none","alg":"ES256"}"#), TWICE),
        (
            "kid",
            with_header(r#"{"alg":"ES256","kid":"p256","kid":"p256"}"#),
            TWICE,
        ),
        (
            "typ",
            with_header(r#"{"alg":"ES256","typ":"a","typ":"b"}"#),
            TWICE,
        ),
    ]);
}

#[test]
fn a_critical_extension_is_refused_because_none_is_understood() {
    check(&[
        (
            "exp",
            with_header(r#"{"alg":"ES256","crit":["exp"],"exp":1}"#),
            CRITICAL,
        ),
        (
            "b64",
            with_header(r#"{"alg":"ES256","crit":["b64"],"b64":false}"#),
            CRITICAL,
        ),
        (
            "empty",
            with_header(r#"{"alg":"ES256","crit":[]}"#),
            CRITICAL,
        ),
        (
            "null",
            with_header(r#"{"alg":"ES256","crit":null}"#),
            CRITICAL,
        ),
        (
            "text",
            with_header(r#"{"alg":"ES256","crit":"exp"}"#),
            CRITICAL,
        ),
        (
            "not critical",
            with_header(r#"{"alg":"ES256","x":1,"typ":"at+jwt"}"#),
            "ok",
        ),
    ]);
}

#[test]
fn what_is_encrypted_nested_or_unencoded_says_so() {
    for (header, expected) in [
        (r#"{"alg":"ES256","enc":"A256GCM"}"#, ENCRYPTED),
        (r#"{"alg":"dir","enc":"A256GCM"}"#, ENCRYPTED),
        (r#"{"alg":"ES256","cty":"JWT"}"#, ENCRYPTED),
        (r#"{"alg":"ES256","cty":"application/jwt"}"#, ENCRYPTED),
        (r#"{"alg":"ES256","cty":"json"}"#, "ok"),
        (r#"{"alg":"ES256","b64":false}"#, "jwt_payload_unencoded"),
        (r#"{"alg":"ES256","b64":true}"#, "jwt_payload_unencoded"),
        (r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#, CRITICAL),
    ] {
        check(&[(header, with_header(header), expected)]);
    }
}

#[test]
fn a_token_is_of_the_type_that_its_provider_wants() {
    let mut provider = provider();
    provider.token_type = Some("at+jwt".into());
    let keys = trust(ring());
    for (kind, expected) in [
        (r#","typ":"at+jwt""#, "ok"),
        (r#","typ":"AT+JWT""#, "ok"),
        (r#","typ":"application/at+jwt""#, "ok"),
        (r#","typ":"Application/At+Jwt""#, "ok"),
        (r#","typ":"JWT""#, "jwt_type_mismatch"),
        (r#","typ":"at+jwt ""#, "jwt_type_mismatch"),
        (r#","typ":"x/at+jwt""#, "jwt_type_mismatch"),
        (r#","typ":"""#, "jwt_type_mismatch"),
        ("", "jwt_type_mismatch"),
        (r#","typ":null"#, MALFORMED),
        (r#","typ":["at+jwt"]"#, MALFORMED),
    ] {
        let token = with_header(format!(r#"{{"alg":"ES256"{kind}}}"#));
        assert_eq!(verdict(&provider, &keys, &token), expected, "{kind}");
    }
}

#[test]
fn only_the_compact_form_with_three_parts_is_read() {
    let token = valid();
    let (header, payload, signature) = parts(&token);
    let general =
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]});
    check(&[
        ("nothing", String::new(), MALFORMED),
        ("a word", "token".into(), MALFORMED),
        ("one dot", ".".into(), MALFORMED),
        ("two dots", "..".into(), MALFORMED),
        ("two parts", format!("{header}.{payload}"), MALFORMED),
        ("four parts", format!("{token}.{signature}"), MALFORMED),
        ("a dot before", format!(".{token}"), MALFORMED),
        ("a dot after", format!("{token}."), MALFORMED),
        (
            "a JWE",
            format!("{header}.{payload}.{payload}.{payload}.{signature}"),
            ENCRYPTED,
        ),
        ("no header", format!(".{payload}.{signature}"), MALFORMED),
        (
            "no payload",
            signed(&format!("{header}."), &SIGNERS.p256, Algorithm::ES256),
            MALFORMED,
        ),
        ("detached", format!("{header}..{signature}"), MALFORMED),
        ("the general JSON form", general.to_string(), MALFORMED),
        ("a space before", format!(" {token}"), MALFORMED),
        (
            "a space within",
            format!("{header}. {payload}.{signature}"),
            MALFORMED,
        ),
        ("a line end after", format!("{token}\n"), MALFORMED),
        ("two tokens", format!("{token},{token}"), MALFORMED),
        ("not ASCII", format!("é{token}"), MALFORMED),
    ]);
}

#[test]
fn base64url_has_one_spelling() {
    // Lengths that leave two and four bits over at the end of the payload.
    let message = |header: &str, payload: &str| {
        let header = if header.is_empty() {
            base64url(r#"{"alg":"ES256"}"#)
        } else {
            header.into()
        };
        signed(
            &format!("{header}.{payload}"),
            &SIGNERS.p256,
            Algorithm::ES256,
        )
    };
    let mut cases = Vec::new();
    for pad in ["", "a", "aa"] {
        let claims = claims(&json!({"pad": pad}));
        let payload = base64url(&claims);
        let (rest, last) = payload.split_at(payload.len() - 1);
        cases.push(("as it should be", message("", &payload), "ok"));
        if !claims.len().is_multiple_of(3) {
            let last = char::from(last.as_bytes()[0] + 1);
            cases.push((
                "bits left over",
                message("", &format!("{rest}{last}")),
                MALFORMED,
            ));
            let padded = URL_SAFE.encode(&claims);
            cases.push(("padding", message("", &padded), MALFORMED));
        }
    }
    let payload = base64url(claims(&json!({})));
    let odd = STANDARD_NO_PAD.encode(r#"{"alg":"ES256","x":"~~~???>>>"}"#);
    assert!(odd.contains(['+', '/']), "{odd}");
    cases.push(("the other alphabet", message(&odd, &payload), MALFORMED));
    let header = base64url(r#"{"alg":"ES256"}"#);
    cases.push((
        "a padded header",
        message(&format!("{header}="), &payload),
        MALFORMED,
    ));
    let token = valid();
    cases.push(("a padded signature", format!("{token}=="), MALFORMED));
    let (rest, last) = token.split_at(token.len() - 1);
    let last = char::from(last.as_bytes()[0] + 1);
    cases.push((
        "bits left over in the signature",
        format!("{rest}{last}"),
        MALFORMED,
    ));
    cases.push(("a wrong length", format!("{token}AAA"), MALFORMED));
    check(&cases);
}

#[test]
fn header_and_payload_are_json_objects() {
    let mut cases = Vec::new();
    for text in [
        &b""[..],
        b"{",
        b"{}{}",
        b"[]",
        b"null",
        b"1",
        b"\"a\"",
        b"hello",
        b"\xef\xbb\xbf{}",
        b"{\"sub\":\"\xff\"}",
        b"{'a':1}",
        b"{\"a\":1,}",
        b"{\"a\":1} x",
        b"\0",
    ] {
        cases.push(("payload", with_payload(text), MALFORMED));
        cases.push(("header", with_header(text), MALFORMED));
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    cases.push(("deep", with_payload(&deep), MALFORMED));
    cases.push(("no claims", with_payload("{}"), "jwt_issuer_mismatch"));
    cases.push(("deep header", with_header(deep), MALFORMED));
    check(&cases);
}

#[test]
fn what_the_log_shows_of_a_token_is_short_and_printable() {
    let long = "x\\u001b[31m".repeat(100);
    for token in [
        with_header(format!(r#"{{"alg":"{long}"}}"#)),
        with_header(format!(r#"{{"alg":"ES256","kid":"{long}"}}"#)),
        with_header(format!(r#"{{"alg":"ES256","{long}":1,"{long}":1}}"#)),
        with_payload(claims(&json!({"iss": "x\u{1b}[31m".repeat(100)}))),
    ] {
        let rejection = verify(&provider(), &trust(ring()), &token).unwrap_err();
        let detail = rejection.detail.expect("a detail");
        assert!(detail.len() < 120, "{detail}");
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
}
