//! Tokens that wish for another algorithm (RFC 8725 sections 2.1 and 3.1).

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::case::{ALGORITHM, Case, Family, KEY_UNKNOWN, MALFORMED, PASSES, SIGNATURE};
use super::mint::{Mint, PUBLIC_ALGORITHMS, SECRET, SECRET_ISSUER, encoded, mac, token};

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = confusion(mint);
    cases.extend(none(mint));
    cases.extend(names(mint));
    cases.extend(mixed(mint));
    cases.extend(weak_secrets(mint));
    cases
}

/// Public things that a verifier might take for a shared secret.
fn public_texts(mint: &Mint) -> Vec<(&'static str, Vec<u8>)> {
    let rsa = mint.rsa.pair.public_key();
    let rsa_der: PublicKeyX509Der<'_> = rsa.as_der().expect("a public key");
    let ec = mint.p256.pair.public_key();
    let ec_der: PublicKeyX509Der<'_> = ec.as_der().expect("a public key");
    let pem = pem("PUBLIC KEY", rsa_der.as_ref());
    let (x, y) = mint.p256.point();
    let parity = 2 + (y[y.len() - 1] & 1);
    vec![
        (
            "the RSA key as PEM cut at its end",
            pem.trim_end().as_bytes().to_vec(),
        ),
        (
            "the RSA key as PEM with CRLF",
            pem.replace('\n', "\r\n").into_bytes(),
        ),
        ("the RSA key as PEM", pem.into_bytes()),
        (
            "the RSA key as PEM of PKCS#1",
            self::pem("RSA PUBLIC KEY", rsa.as_ref()).into_bytes(),
        ),
        ("the RSA key as DER", rsa_der.as_ref().to_vec()),
        ("the RSA key as DER of PKCS#1", rsa.as_ref().to_vec()),
        ("the RSA modulus", mint.rsa.modulus.to_bytes_be()),
        (
            "the RSA modulus with a sign byte",
            [vec![0], mint.rsa.modulus.to_bytes_be()].concat(),
        ),
        (
            "the RSA modulus as text",
            encoded(mint.rsa.modulus.to_bytes_be()).into_bytes(),
        ),
        (
            "the RSA key as JWK",
            mint.rsa.jwk().to_string().into_bytes(),
        ),
        ("the key set", mint.key_set().into_bytes()),
        (
            "the EC key as PEM",
            self::pem("PUBLIC KEY", ec_der.as_ref()).into_bytes(),
        ),
        ("the EC key as DER", ec_der.as_ref().to_vec()),
        ("the EC point", ec.as_ref().to_vec()),
        ("the EC point, compressed", [&[parity], x].concat()),
        ("the EC coordinates", [x, y].concat()),
        ("the EC coordinate x", x.to_vec()),
        (
            "the EC key as JWK",
            mint.p256.jwk("P-256").to_string().into_bytes(),
        ),
        (
            "the Ed25519 key",
            mint.ed25519.public_key().as_ref().to_vec(),
        ),
    ]
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let text = lines.join("\n");
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// The oldest trick: a public key as the secret of an HMAC.
fn confusion(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("public key as secret");
    for (name, secret) in public_texts(mint) {
        for (algorithm, key_id) in [("HS256", "rsa-1"), ("HS512", "ec-1")] {
            let header = json!({"alg": algorithm, "typ": "JWT", "kid": key_id}).to_string();
            let token = token(header, mint.claims(json!({})), |message| {
                mac(algorithm, &secret, message)
            });
            family.token(format!("{algorithm} with {name}"), token, ALGORITHM);
        }
        // A provider that takes HMAC has a secret of its own, and no other.
        let claims = mint.claims_for("HS256");
        let token = token(Mint::header("HS256", json!({})), claims, |message| {
            mac("HS256", &secret, message)
        });
        let name = format!("HS256 with {name}, where HMAC is taken");
        family.token_for("/secret", name, token, SIGNATURE);
    }
    family.into_cases()
}

/// Unsecured tokens (RFC 7519 section 6), in every spelling.
fn none(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("alg none");
    for spelling in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNe",
        "nonE",
        "none ",
        " none",
        "none\u{0}",
        "n\u{f6}ne",
        "\u{ff4e}one",
        "non",
        "",
        " ",
        "null",
        "0",
        "undefined",
        "plain",
        "none,ES256",
        "ES256,none",
        "ES256 none",
        "HS256/none",
    ] {
        let header = |kid: Value| {
            let mut header = json!({"alg": spelling, "typ": "JWT"});
            if !kid.is_null() {
                header["kid"] = kid;
            }
            header.to_string()
        };
        let claims = mint.claims(json!({}));
        let name = |rest: &str| format!("{spelling:?} {rest}");
        let bare = token(header(Value::Null), &claims, |_| Vec::new());
        family.token(name("without a signature"), bare, ALGORITHM);
        let signed = mint.signed("ES256", header(json!("ec-1")), &claims);
        family.token(name("with a good signature"), signed, ALGORITHM);
    }
    for route in ["/narrow", "/secret", "/nameless"] {
        let issuer = if route == "/secret" { "HS256" } else { "RS256" };
        let claims = mint.claims_for(issuer);
        let bare = token(json!({"alg": "none"}).to_string(), claims, |_| Vec::new());
        family.token_for(route, format!("none on {route}"), bare, ALGORITHM);
    }
    let cut = mint.good("RS256");
    let (message, _) = cut.rsplit_once('.').expect("a token");
    family.token("a signature cut off with its dot", message, MALFORMED);
    family.token("a signature cut off", format!("{message}."), SIGNATURE);
    family.into_cases()
}

/// Names that are no algorithm here, and things that are no name.
fn names(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("alg names");
    for name in [
        "rs256",
        "Rs256",
        "es256",
        "ES256 ",
        " ES256",
        "ES-256",
        "ES256\u{0}",
        "ES256\n",
        "SHA256",
        "SHA256withECDSA",
        "ES512",
        "ES256K",
        "Ed25519",
        "Ed448",
        "eddsa",
        "EDDSA",
        "RS1",
        "RS0",
        "HS1",
        "HS256/64",
        "RSA1_5",
        "RSA-OAEP",
        "RSA-OAEP-256",
        "A128KW",
        "dir",
        "ECDH-ES",
        "PBES2-HS256+A128KW",
        "A128GCM",
        "PS1",
        "1.2.840.10045.4.3.2",
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        "*",
        "any",
        "../ES256",
    ] {
        let header = Mint::header("ES256", json!({"alg": name}));
        let token = mint.signed("ES256", header, mint.claims(json!({})));
        family.token(format!("{name:?}"), token, ALGORITHM);
    }
    for (name, value) in [
        ("a number", json!(1)),
        ("zero", json!(0)),
        ("null", Value::Null),
        ("true", json!(true)),
        ("an array", json!(["ES256"])),
        ("an array of none and a good one", json!(["none", "ES256"])),
        ("an object", json!({"name": "ES256"})),
    ] {
        let header = Mint::header("ES256", json!({"alg": value}));
        let token = mint.signed("ES256", header, mint.claims(json!({})));
        family.token(name, token, MALFORMED);
    }
    for (name, header) in [
        ("missing", json!({"typ": "JWT", "kid": "ec-1"})),
        ("in capitals only", json!({"ALG": "ES256", "kid": "ec-1"})),
        (
            "with a capital only",
            json!({"Alg": "ES256", "kid": "ec-1"}),
        ),
        (
            "only as enc's sibling",
            json!({"algorithm": "ES256", "kid": "ec-1"}),
        ),
    ] {
        let token = mint.signed("ES256", header.to_string(), mint.claims(json!({})));
        family.token(name, token, MALFORMED);
    }
    let header = json!({"ALG": "none", "alg": "ES256", "kid": "ec-1"}).to_string();
    let token = mint.signed("ES256", header, mint.claims(json!({})));
    family.token("none in a member of another name", token, PASSES);
    family.into_cases()
}

/// Every key with every other algorithm.
fn mixed(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("key and algorithm");
    let is_rsa = |name: &str| name.starts_with(['R', 'P']);
    for says in PUBLIC_ALGORITHMS {
        for is in PUBLIC_ALGORITHMS.into_iter().filter(|is| *is != says) {
            // The header names the key that made the signature; the algorithm is another one.
            let header = Mint::header(is, json!({"alg": says}));
            let token = mint.signed(is, header, mint.claims(json!({})));
            let expected = if is_rsa(says) && is_rsa(is) {
                SIGNATURE
            } else {
                KEY_UNKNOWN
            };
            family.token(format!("{says} made with {is}"), token, expected);
        }
    }
    for (says, is, key) in [
        ("PS256", "PS256", "rsa-rs256"),
        ("RS384", "RS384", "rsa-rs256"),
        ("RS512", "RS512", "rsa-rs256"),
        ("RS256", "RS256", "rsa-ps256"),
        ("PS384", "PS384", "rsa-ps256"),
        ("PS512", "PS512", "rsa-ps256"),
    ] {
        let header = Mint::header(says, json!({"kid": key}));
        let token = mint.signed(is, header, mint.claims(json!({})));
        let name = format!("{says} by {key}, which is for another");
        family.token(name, token, KEY_UNKNOWN);
    }
    for algorithm in PUBLIC_ALGORITHMS
        .into_iter()
        .filter(|name| *name != "RS256")
    {
        let name = format!("{algorithm} where only RS256 is allowed");
        family.token_for("/narrow", name, mint.good(algorithm), ALGORITHM);
        let issuer = json!({"iss": SECRET_ISSUER});
        let token = mint.signed(
            algorithm,
            Mint::header(algorithm, json!({})),
            mint.claims(issuer),
        );
        let name = format!("{algorithm} where only HMAC is allowed");
        family.token_for("/secret", name, token, ALGORITHM);
    }
    wrong_curves(mint, &mut family);
    family.into_cases()
}

fn wrong_curves(mint: &Mint, family: &mut Family) {
    for (name, algorithm, key_id, key) in [
        ("ES384 by a P-256 key", "ES384", "ec-384", &mint.p256),
        ("ES256 by a P-384 key", "ES256", "ec-1", &mint.p384),
    ] {
        let header = Mint::header(algorithm, json!({"kid": key_id}));
        let token = token(header, mint.claims(json!({})), |message| key.sign(message));
        family.token(
            format!("{name} under the right key's name"),
            token,
            SIGNATURE,
        );
    }
}

/// Secrets that lists of weak secrets begin with, and things that everybody knows.
fn weak_secrets(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("guessed secret");
    let own = SECRET;
    let trimmed = &SECRET[..SECRET.len() - 1];
    let upper = SECRET.to_ascii_uppercase();
    let with_newline = [SECRET, b"\n"].concat();
    let base64 = STANDARD.encode(SECRET);
    let hash = super::mint::sha256(SECRET);
    let secrets: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("a NUL", b"\0"),
        ("32 NULs", &[0; 32]),
        ("secret", b"secret"),
        ("password", b"password"),
        ("your-256-bit-secret", b"your-256-bit-secret"),
        ("changeme", b"changeme"),
        ("null", b"null"),
        ("undefined", b"undefined"),
        ("the issuer", SECRET_ISSUER.as_bytes()),
        ("the key id", b"secret\0"),
        ("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
         b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
        ("the secret less its last byte", trimmed),
        ("the secret in capitals", &upper),
        ("the secret and a newline", &with_newline),
        ("the secret in base64", base64.as_bytes()),
        ("the secret's hash", &hash),
    ];
    for (name, secret) in secrets {
        let token = token(
            Mint::header("HS256", json!({})),
            mint.claims_for("HS256"),
            |message| mac("HS256", secret, message),
        );
        family.token_for("/secret", *name, token, SIGNATURE);
    }
    for (says, is) in [
        ("HS256", "HS384"),
        ("HS384", "HS256"),
        ("HS512", "HS256"),
        ("HS256", "HS512"),
    ] {
        let header = Mint::header(says, json!({}));
        let token = token(header, mint.claims_for(says), |message| {
            mac(is, own, message)
        });
        family.token_for(
            "/secret",
            format!("{says} made with {is}"),
            token,
            SIGNATURE,
        );
    }
    for length in [0, 1, 16, 31] {
        let token = token(
            Mint::header("HS256", json!({})),
            mint.claims_for("HS256"),
            |message| mac("HS256", own, message)[..length].to_vec(),
        );
        let name = format!("the first {length} bytes of a MAC");
        family.token_for("/secret", name, token, SIGNATURE);
    }
    let doubled = token(
        Mint::header("HS256", json!({})),
        mint.claims_for("HS256"),
        |message| mac("HS256", own, message).repeat(2),
    );
    family.token_for("/secret", "a MAC twice", doubled, SIGNATURE);
    // RFC 7518 section 3.2: HS256 over the secret's name says nothing about the secret.
    for key_id in [
        "../../../../../../dev/null",
        "' UNION SELECT 'secret' --",
        "main",
    ] {
        let header = Mint::header("HS256", json!({"kid": key_id}));
        let token = token(header, mint.claims_for("HS256"), |message| {
            mac("HS256", b"", message)
        });
        let name = format!("empty, with {key_id:?} as the key's name");
        family.token_for("/secret", name, token, SIGNATURE);
    }
    family.into_cases()
}
