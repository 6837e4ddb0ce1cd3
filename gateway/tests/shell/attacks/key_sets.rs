//! Keys of a set that must not be used, and tokens that they would verify (RFC 7517, and the
//! classes of Wycheproof's JWK tests).

use serde_json::{Value, json};

use super::case::{ALGORITHM, Case, Expected, Family, KEY_UNKNOWN, PASSES};
use super::mint::{Mint, encoded, mac, merged, token};
use super::weak_keys;

/// A key, a token, and what becomes of it.
pub(super) struct Exhibit {
    name: &'static str,
    key: Value,
    token: String,
    expected: Expected,
}

impl Exhibit {
    /// A key that is left out of the set.
    pub(super) fn new(name: &'static str, key: Value, token: String) -> Self {
        Self {
            name,
            key: merged(key, json!({"kid": "zoo"})),
            token,
            expected: KEY_UNKNOWN,
        }
    }

    /// One whose tokens are refused before anybody looks for it.
    pub(super) fn for_no_algorithm(self) -> Self {
        Self {
            expected: ALGORITHM,
            ..self
        }
    }
}

/// The set that `/zoo` reads, and the tokens that are sent there.
///
/// Keys to be left out share one name, so that one look for it answers for all of them.
pub(super) fn zoo(mint: &Mint) -> (String, Vec<Case>) {
    let mut exhibits = wrong_purposes(mint);
    exhibits.extend(weak_keys::exhibits(mint));
    let mut family = Family::new("unusable key");
    let mut keys = vec![
        merged(mint.p256.jwk("P-256"), json!({"kid": "ec-1"})),
        // Three is a small exponent and an allowed one; see the cube roots in `rsa.rs`.
        merged(mint.rsa.jwk(), json!({"kid": "rsa-e3", "e": "Aw"})),
    ];
    for exhibit in exhibits {
        family.token_for("/zoo", exhibit.name, exhibit.token, exhibit.expected);
        keys.push(exhibit.key);
    }
    family.token_for("/zoo", "a good key among them", mint.good("ES256"), PASSES);
    (json!({"keys": keys}).to_string(), family.into_cases())
}

/// The header of a token that names such a key.
pub(super) fn header(algorithm: &str) -> String {
    Mint::header(algorithm, json!({"kid": "zoo"}))
}

/// Good numbers, but not for verifying signatures, or not any more.
#[expect(clippy::too_many_lines, reason = "a table")]
fn wrong_purposes(mint: &Mint) -> Vec<Exhibit> {
    let exhibit = |name, key: Value, change: Value, algorithm: &str| {
        let token = mint.signed(algorithm, header(algorithm), mint.claims(json!({})));
        Exhibit::new(name, merged(key, change), token)
    };
    let (rsa, ec) = (mint.rsa.jwk(), mint.p256.jwk("P-256"));
    let private = json!({"d": encoded([1; 32])});
    let mut all = vec![
        exhibit(
            "RSA for encryption",
            rsa.clone(),
            json!({"use": "enc"}),
            "RS256",
        ),
        exhibit(
            "EC for encryption",
            ec.clone(),
            json!({"use": "enc"}),
            "ES256",
        ),
        exhibit(
            "a use that nobody knows",
            ec.clone(),
            json!({"use": "x"}),
            "ES256",
        ),
        exhibit(
            "operations without verify",
            ec.clone(),
            json!({"key_ops": ["encrypt"]}),
            "ES256",
        ),
        exhibit(
            "only the operation sign",
            ec.clone(),
            json!({"key_ops": ["sign"]}),
            "ES256",
        ),
        exhibit(
            "no operation at all",
            ec.clone(),
            json!({"key_ops": []}),
            "ES256",
        ),
        exhibit(
            "an algorithm of encryption",
            rsa.clone(),
            json!({"alg": "RSA-OAEP"}),
            "RS256",
        ),
        exhibit("alg none", rsa.clone(), json!({"alg": "none"}), "RS256"),
        exhibit(
            "HS256 on an RSA key",
            rsa.clone(),
            json!({"alg": "HS256"}),
            "RS256",
        ),
        exhibit(
            "ES384 on P-256",
            ec.clone(),
            json!({"alg": "ES384"}),
            "ES256",
        ),
        exhibit(
            "RS256 on P-256",
            ec.clone(),
            json!({"alg": "RS256"}),
            "ES256",
        ),
        exhibit(
            "ES256 on an RSA key",
            rsa.clone(),
            json!({"alg": "ES256"}),
            "RS256",
        ),
        exhibit(
            "an EC key with its private half",
            ec.clone(),
            private.clone(),
            "ES256",
        ),
        exhibit(
            "an RSA key with its private half",
            rsa.clone(),
            private,
            "RS256",
        ),
        exhibit(
            "the key type in small letters",
            rsa.clone(),
            json!({"kty": "rsa"}),
            "RS256",
        ),
        exhibit("RSA called EC", rsa.clone(), json!({"kty": "EC"}), "RS256"),
        exhibit("no key type", rsa.clone(), json!({"kty": null}), "RS256"),
        exhibit("no modulus", rsa.clone(), json!({"n": null}), "RS256"),
        exhibit("no curve", ec.clone(), json!({"crv": null}), "ES256"),
        exhibit(
            "another curve's name",
            ec.clone(),
            json!({"crv": "P-384"}),
            "ES256",
        ),
        exhibit(
            "a curve in small letters",
            ec,
            json!({"crv": "p-256"}),
            "ES256",
        ),
        exhibit(
            "a modulus in padded base64",
            rsa,
            json!({"n": padded(mint)}),
            "RS256",
        ),
    ];
    let secret = json!({"kty": "oct", "k": encoded("secret"), "alg": "HS256"});
    let by_secret = token(header("HS256"), mint.claims(json!({})), |message| {
        mac("HS256", b"secret", message)
    });
    let secret = Exhibit::new("a shared secret in a public set", secret, by_secret);
    all.push(secret.for_no_algorithm());
    all
}

fn padded(mint: &Mint) -> String {
    let url_safe = base64::engine::general_purpose::URL_SAFE;
    base64::Engine::encode(&url_safe, mint.rsa.modulus.to_bytes_be())
}
