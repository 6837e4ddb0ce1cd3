//! Everything that JOSE knows and a token may not be: extensions, encryption, nesting, other
//! serialisations (RFC 7515, 7516, 7797, RFC 8725 sections 2.3 and 3.2).

use serde_json::{Value, json};

use super::case::{CRITICAL, Case, ENCRYPTED, Family, MALFORMED, PASSES, SIGNATURE, UNENCODED};
use super::mint::{Mint, encoded, encoded_token, split, token};

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = extensions(mint);
    cases.extend(encrypted(mint));
    cases.extend(parts(mint));
    cases.extend(serialisations(mint));
    cases
}

/// No extension is understood, so `crit` in any form is refused, before anything else is looked at.
fn extensions(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("extensions");
    for (name, change) in [
        ("crit unknown", json!({"crit": ["x"], "x": 1})),
        ("crit of a member that is not there", json!({"crit": ["x"]})),
        ("crit of exp", json!({"crit": ["exp"], "exp": 1})),
        ("crit of a registered member", json!({"crit": ["alg"]})),
        ("crit of kid", json!({"crit": ["kid"]})),
        ("crit of itself", json!({"crit": ["crit"]})),
        (
            "crit of a URL",
            json!({"crit": ["http://example.invalid/UNDEFINED"], "http://example.invalid/UNDEFINED": true}),
        ),
        ("crit empty", json!({"crit": []})),
        ("crit null", json!({"crit": null})),
        ("crit text", json!({"crit": "exp"})),
        ("crit a number", json!({"crit": 1})),
        ("crit true", json!({"crit": true})),
        ("crit false", json!({"crit": false})),
        ("crit an object", json!({"crit": {"b64": true}})),
        ("crit of numbers", json!({"crit": [1, null]})),
        (
            "crit of one name twice",
            json!({"crit": ["x", "x"], "x": 1}),
        ),
        ("crit nested", json!({"crit": [["x"]], "x": 1})),
        ("crit of an empty name", json!({"crit": [""], "": 1})),
        ("crit of b64 true", json!({"crit": ["b64"], "b64": true})),
        ("crit of b64 false", json!({"crit": ["b64"], "b64": false})),
        (
            "crit of an unknown algorithm",
            json!({"crit": ["x"], "alg": "none"}),
        ),
    ] {
        family.token(name, mint.with_header(change), CRITICAL);
    }
    for value in [
        json!(false),
        json!(true),
        json!(null),
        json!("false"),
        json!(0),
        json!([]),
    ] {
        let token = mint.with_header(json!({"b64": value}));
        family.token(format!("b64 {value}"), token, UNENCODED);
    }
    let claims = mint.claims(json!({}));
    // RFC 7797 section 3: the payload is signed as it is. Its dots are more than a token has.
    let raw = |header: Value, claims: &str| {
        let header = encoded(Mint::header("ES256", header));
        encoded_token(&header, claims, |message| mint.sign("ES256", message))
    };
    let token = raw(json!({"b64": false, "crit": ["b64"]}), "no-dots");
    family.token("an unencoded payload", token, CRITICAL);
    let token = raw(json!({"b64": false}), "no-dots");
    family.token("an unencoded payload, not critical", token, UNENCODED);
    let text = raw(json!({"b64": false, "crit": ["b64"]}), &claims);
    // The issuer's own dot makes it four parts.
    family.token("unencoded claims with a dot in them", text, MALFORMED);
    let header = encoded(Mint::header("ES256", json!({"b64": false})));
    let body = encoded(&claims);
    let signature = mint.sign("ES256", format!("{header}.{claims}").as_bytes());
    let token = format!("{header}.{body}.{}", encoded(signature));
    family.token("signed unencoded, sent encoded", token, UNENCODED);
    compressed(mint, &mut family);
    family.into_cases()
}

fn compressed(mint: &Mint, family: &mut Family) {
    // `zip` belongs to JWE; in a JWS it is an unknown member, to be ignored (RFC 7515 section 4).
    for value in [json!("DEF"), json!("GZIP"), json!(1), json!(null)] {
        let token = mint.with_header(json!({"zip": value}));
        family.token(format!("zip {value}, nothing compressed"), token, PASSES);
    }
    // A stored block of DEFLATE (RFC 1951 section 3.2.4).
    let claims = mint.claims(json!({}));
    let length = u16::try_from(claims.len()).expect("short");
    let block = [
        &[1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        claims.as_bytes(),
    ];
    let token = mint.signed(
        "ES256",
        Mint::header("ES256", json!({"zip": "DEF"})),
        block.concat(),
    );
    family.token("a compressed payload", token, MALFORMED);
}

/// JWE in all its forms, and tokens in tokens.
fn encrypted(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("encrypted and nested");
    let five = |header: Value| {
        let rest = [[1; 32].as_slice(), &[2; 12], &[3; 64], &[4; 16]].map(encoded);
        format!("{}.{}", encoded(header.to_string()), rest.join("."))
    };
    for (algorithm, encryption) in [
        ("RSA-OAEP", "A128GCM"),
        ("RSA-OAEP-256", "A256GCM"),
        ("RSA1_5", "A128CBC-HS256"),
        ("dir", "A128GCM"),
        ("A128KW", "A128GCM"),
        ("A256GCMKW", "A256GCM"),
        ("ECDH-ES", "A128GCM"),
        ("ECDH-ES+A256KW", "A256CBC-HS512"),
        ("none", "none"),
    ] {
        let header = json!({"alg": algorithm, "enc": encryption, "kid": "rsa-1"});
        family.token(
            format!("{algorithm} with {encryption}"),
            five(header),
            ENCRYPTED,
        );
    }
    for (name, header) in [
        (
            "a password's iterations",
            json!({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2_147_483_647, "p2s": "AAAA"}),
        ),
        (
            "a key off its curve",
            json!({"alg": "ECDH-ES", "enc": "A128GCM", "epk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}),
        ),
        (
            "a compressed plaintext",
            json!({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}),
        ),
        (
            "critical extensions",
            json!({"alg": "dir", "enc": "A128GCM", "crit": ["x"]}),
        ),
        (
            "the algorithm of a signature",
            json!({"alg": "ES256", "kid": "ec-1"}),
        ),
    ] {
        family.token(format!("five parts with {name}"), five(header), ENCRYPTED);
    }
    let good = mint.good("ES256");
    for (name, token) in [
        ("a good token and two parts", format!("{good}.x.y")),
        ("a good token and two empty parts", format!("{good}..")),
        ("two empty parts and a good token", format!("..{good}")),
        ("four dots", "....".to_owned()),
    ] {
        family.token(name, token, ENCRYPTED);
    }
    for value in [json!("A128GCM"), json!("none"), json!(null), json!(1)] {
        let token = mint.with_header(json!({"enc": value}));
        family.token(format!("three parts with enc {value}"), token, ENCRYPTED);
    }
    for spelling in ["JWT", "jwt", "Jwt", "application/jwt", "application/JWT"] {
        let header = Mint::header("ES256", json!({"cty": spelling}));
        let nested = mint.signed("ES256", header, &good);
        family.token(
            format!("a token in a token, cty {spelling}"),
            nested,
            ENCRYPTED,
        );
        let token = mint.with_header(json!({"cty": spelling}));
        family.token(
            format!("claims called a token, cty {spelling}"),
            token,
            ENCRYPTED,
        );
    }
    // Any other content type is the application's affair (RFC 7515 section 4.1.10).
    for spelling in ["json", "application/json", ""] {
        let token = mint.with_header(json!({"cty": spelling}));
        family.token(format!("claims with cty {spelling:?}"), token, PASSES);
    }
    let nested = mint.with_payload(&good);
    family.token("a token in a token that does not say so", nested, MALFORMED);
    let quoted = mint.with_payload(json!(good).to_string());
    family.token("a token as JSON text in a token", quoted, MALFORMED);
    family.into_cases()
}

/// Three parts, no more and no fewer.
fn parts(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("parts");
    let good = mint.good("ES256");
    let (message, _) = split(&good);
    let all: Vec<_> = good.split('.').collect();
    let (header, payload, signature) = (all[0], all[1], all[2]);
    for (name, token) in [
        ("the header alone", header.to_owned()),
        ("the signature alone", signature.to_owned()),
        ("two", message.to_owned()),
        ("two and an empty one before", format!(".{message}.")),
        ("payload and signature", format!("{payload}.{signature}")),
        ("four, the last empty", format!("{good}.")),
        ("four, the first empty", format!(".{good}")),
        ("four, two signatures", format!("{good}.{signature}")),
        (
            "four, two payloads",
            format!("{header}.{payload}.{payload}.{signature}"),
        ),
        ("six", format!("{good}.{good}")),
        ("six empty ones", ".....".to_owned()),
        ("a thousand", ".".repeat(999)),
        ("colons for dots", good.replace('.', ":")),
        ("a dot of another script", good.replacen('.', "\u{3002}", 1)),
        ("dots as escapes", good.replace('.', "%2E")),
        ("reversed", format!("{signature}.{payload}.{header}")),
        ("payload first", format!("{payload}.{header}.{signature}")),
        ("no header", format!(".{payload}.{signature}")),
        ("no payload", format!("{header}..{signature}")),
        ("the header thrice", format!("{header}.{header}.{header}")),
    ] {
        // The last has a good header; it is no claims' object that names an issuer.
        let expected = match name {
            "the header thrice" => super::case::ISSUER,
            _ => MALFORMED,
        };
        family.token(name, token, expected);
    }
    family.token("no signature", format!("{message}."), SIGNATURE);
    // RFC 7515 appendix F: the payload goes another way.
    let detached = token(
        Mint::header("ES256", json!({})),
        mint.claims(json!({})),
        |message| mint.sign("ES256", message),
    );
    let (message, signature) = split(&detached);
    let header = message.split('.').next().unwrap_or_default();
    let detached = format!("{header}..{}", encoded(signature));
    family.token("a detached payload", &detached, MALFORMED);
    let body = mint.claims(json!({}));
    let length = body.len();
    family.request(
        "a detached payload in the body",
        format!(
            "POST /main HTTP/1.1\r\nhost: gateway.example\r\nauthorization: Bearer {detached}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        MALFORMED,
    );
    family.into_cases()
}

/// The JSON serialisations (RFC 7515 section 7.2): a bearer token has the compact one alone.
fn serialisations(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("JSON serialisation");
    let good = mint.good("ES256");
    let parts: Vec<_> = good.split('.').collect();
    let (protected, payload, signature) = (parts[0], parts[1], parts[2]);
    let one = json!({"protected": protected, "signature": signature});
    let none = json!({"protected": encoded(r#"{"alg":"none"}"#), "signature": ""});
    for (name, value) in [
        (
            "flattened",
            json!({"payload": payload, "protected": protected, "signature": signature}),
        ),
        (
            "flattened with an unprotected header",
            json!({"payload": payload, "header": {"alg": "ES256", "kid": "ec-1"}, "signature": signature}),
        ),
        (
            "flattened with both headers",
            json!({"payload": payload, "protected": protected, "header": {"alg": "none"}, "signature": signature}),
        ),
        (
            "flattened and detached",
            json!({"protected": protected, "signature": signature}),
        ),
        ("general", json!({"payload": payload, "signatures": [one]})),
        (
            "general with two signatures",
            json!({"payload": payload, "signatures": [none, one]}),
        ),
        (
            "general with no signature",
            json!({"payload": payload, "signatures": []}),
        ),
        (
            "general with an unprotected header",
            json!({"payload": payload, "signatures": [{"header": {"alg": "none"}, "signature": ""}]}),
        ),
        (
            "of a JWE",
            json!({"protected": protected, "encrypted_key": "", "iv": "", "ciphertext": payload, "tag": ""}),
        ),
        ("as text", json!(good.replace('.', ""))),
        ("in an array", json!([payload])),
    ] {
        let text = value.to_string();
        family.token(name, &text, MALFORMED);
        family.token(format!("{name}, encoded"), encoded(&text), MALFORMED);
    }
    // CVE-2022-23540's relatives: JSON that holds a compact token, or dots that make it look like one.
    let header = json!({"": good.replace('.', ""), "alg": "none"}).to_string();
    let token = format!("{}.{payload}.", encoded(header));
    family.token(
        "a token in the header of an unsecured one",
        token,
        super::case::ALGORITHM,
    );
    let polyglot = format!("{{\"payload\":\"{payload}\",\"x\":\".{payload}.\"}}");
    family.token("JSON with the dots of a token", polyglot, MALFORMED);
    family.into_cases()
}
