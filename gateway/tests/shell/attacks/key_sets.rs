//! Keys of a set that must not be used, and tokens that they would verify (RFC 7517, and the
//! classes of Wycheproof's JWK tests).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
};
use num_bigint::BigUint;
use serde_json::{Value, json};

use super::bignum::{fixed, number};
use super::case::{ALGORITHM, Case, Expected, Family, KEY_UNKNOWN, PASSES, SIGNATURE};
use super::mint::{Mint, RSA_BYTES, ed25519_jwk, encoded, mac, merged, sha256, token};
use super::rsa::{SHA256_INFO, pkcs1};

/// A key, a token, and what becomes of it.
struct Exhibit {
    name: &'static str,
    key: Value,
    token: String,
    expected: Expected,
}

/// The set that `/zoo` reads, and the tokens that are sent there.
///
/// Keys to be left out share one name, so that one look for it answers for all of them.
pub(super) fn zoo(mint: &Mint) -> (String, Vec<Case>) {
    let mut exhibits = wrong_purposes(mint);
    exhibits.extend(weak_rsa(mint));
    exhibits.extend(weak_curves(mint));
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

fn header(algorithm: &str, key_id: &str) -> String {
    Mint::header(algorithm, json!({"kid": key_id}))
}

/// Good numbers, but not for verifying signatures, or not any more.
fn wrong_purposes(mint: &Mint) -> Vec<Exhibit> {
    let exhibit = |name, key: Value, change: Value, algorithm: &str| Exhibit {
        name,
        key: merged(merged(key, json!({"kid": "zoo"})), change),
        token: mint.signed(algorithm, header(algorithm, "zoo"), mint.claims(json!({}))),
        expected: KEY_UNKNOWN,
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
    let secret = json!({"kty": "oct", "kid": "zoo", "k": encoded("secret"), "alg": "HS256"});
    all.push(Exhibit {
        name: "a shared secret in a public set",
        key: secret,
        token: token(header("HS256", "zoo"), mint.claims(json!({})), |message| {
            mac("HS256", b"secret", message)
        }),
        expected: ALGORITHM,
    });
    all
}

fn padded(mint: &Mint) -> String {
    let url_safe = base64::engine::general_purpose::URL_SAFE;
    base64::Engine::encode(&url_safe, mint.rsa.modulus.to_bytes_be())
}

/// RSA keys with which others can sign.
fn weak_rsa(mint: &Mint) -> Vec<Exhibit> {
    let claims = || mint.claims(json!({}));
    let rsa = |modulus: &BigUint, exponent: &BigUint| {
        json!({
            "kty": "RSA", "kid": "zoo",
            "n": encoded(modulus.to_bytes_be()), "e": encoded(exponent.to_bytes_be()),
        })
    };
    let by_itself = |message: &[u8]| pkcs1(&SHA256_INFO, &sha256(message), RSA_BYTES);
    let modulus = &mint.rsa.modulus;
    let one = BigUint::from(1_u8);
    // A prime is a modulus, too: its private exponent is known to the mint, and its length is
    // half of what must be.
    let prime = &mint.rsa.primes[0];
    let by_prime = |message: &[u8]| {
        let padded = pkcs1(&SHA256_INFO, &sha256(message), RSA_BYTES / 2);
        let number = BigUint::from_bytes_be(&padded) % prime;
        fixed(&number.modpow(&mint.rsa.exponents[0], prime), RSA_BYTES / 2)
    };
    let forged = |sign: &dyn Fn(&[u8]) -> Vec<u8>| token(header("RS256", "zoo"), claims(), sign);
    let exhibit = |name, key, token| Exhibit {
        name,
        key,
        token,
        expected: KEY_UNKNOWN,
    };
    vec![
        exhibit(
            "RSA of 1,024 bits",
            rsa(prime, &BigUint::from(65537_u32)),
            forged(&by_prime),
        ),
        exhibit(
            "RSA with exponent 1",
            rsa(modulus, &one),
            forged(&by_itself),
        ),
        exhibit(
            "RSA with exponent 0",
            rsa(modulus, &BigUint::ZERO),
            forged(&|_| fixed(&one, RSA_BYTES)),
        ),
        exhibit(
            "RSA with exponent 2",
            rsa(modulus, &BigUint::from(2_u8)),
            forged(&by_itself),
        ),
        exhibit(
            "RSA with an exponent as long as its modulus",
            rsa(modulus, &(modulus - &one)),
            forged(&by_itself),
        ),
        exhibit(
            "RSA with modulus 0",
            rsa(&BigUint::ZERO, &BigUint::from(3_u8)),
            forged(&|_| vec![0; RSA_BYTES]),
        ),
        exhibit(
            "RSA with modulus 1",
            rsa(&one, &BigUint::from(65537_u32)),
            forged(&|_| vec![0]),
        ),
    ]
}

/// Keys on curves that are not served, points that are on none, and points that verify anything.
fn weak_curves(mint: &Mint) -> Vec<Exhibit> {
    let claims = || mint.claims(json!({}));
    let exhibit = |name, key: Value, token: String, expected| Exhibit {
        name,
        key,
        token,
        expected,
    };
    let elliptic = |curve: &str, x: &[u8], y: &[u8], key_id: &str| json!({"kty": "EC", "crv": curve, "kid": key_id, "x": encoded(x), "y": encoded(y)});
    let by = |pair: &EcdsaKeyPair, message: &[u8]| {
        let signature = pair.sign(&SystemRandom::new(), message);
        signature.expect("the key signs").as_ref().to_vec()
    };
    let p521 = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).expect("random numbers");
    let k256 = EcdsaKeyPair::generate(&ECDSA_P256K1_SHA256_FIXED_SIGNING).expect("random numbers");
    let point = |pair: &EcdsaKeyPair| {
        use aws_lc_rs::signature::KeyPair as _;
        pair.public_key().as_ref()[1..].to_vec()
    };
    let (p521_point, k256_point) = (point(&p521), point(&k256));
    let (x, y) = mint.p256.point();
    let es256 = |key_id: &str| mint.signed("ES256", header("ES256", key_id), claims());
    let k256_token = token(header("ES256", "zoo"), claims(), |message| {
        by(&k256, message)
    });
    // The order-1 point of Ed25519 verifies every message under R = itself and S = 0.
    let identity = fixed(&number("01"), 32)
        .into_iter()
        .rev()
        .collect::<Vec<u8>>();
    let small_order = token(header("EdDSA", "small-order"), claims(), |_| {
        [&*identity, &[0; 32]].concat()
    });
    let okp = |curve: &str, x: &[u8], key_id: &str| json!({"kty": "OKP", "crv": curve, "kid": key_id, "x": encoded(x)});
    let own = ed25519_jwk(&mint.ed25519);
    vec![
        exhibit(
            "P-521",
            elliptic("P-521", &p521_point[..66], &p521_point[66..], "zoo"),
            token(header("ES512", "zoo"), claims(), |message| {
                by(&p521, message)
            }),
            ALGORITHM,
        ),
        exhibit(
            "secp256k1",
            elliptic("secp256k1", &k256_point[..32], &k256_point[32..], "zoo"),
            k256_token.clone(),
            KEY_UNKNOWN,
        ),
        // On another curve than it says: no point of that curve, so it verifies nothing.
        exhibit(
            "a point of secp256k1 called P-256",
            elliptic("P-256", &k256_point[..32], &k256_point[32..], "off-curve"),
            token(header("ES256", "off-curve"), claims(), |message| {
                by(&k256, message)
            }),
            SIGNATURE,
        ),
        exhibit(
            "the point at 0, 0",
            elliptic("P-256", &[0; 32], &[0; 32], "zero"),
            token(header("ES256", "zero"), claims(), |_| vec![0; 64]),
            SIGNATURE,
        ),
        exhibit(
            "x cut",
            elliptic("P-256", &x[1..], y, "zoo"),
            es256("zoo"),
            KEY_UNKNOWN,
        ),
        exhibit(
            "x with a zero more",
            elliptic("P-256", &[&[0], x].concat(), y, "zoo"),
            es256("zoo"),
            KEY_UNKNOWN,
        ),
        exhibit(
            "X25519",
            merged(own.clone(), json!({"crv": "X25519", "kid": "zoo"})),
            mint.signed("EdDSA", header("EdDSA", "zoo"), claims()),
            KEY_UNKNOWN,
        ),
        exhibit(
            "Ed25519 called Ed448",
            merged(own, json!({"crv": "Ed448", "kid": "zoo"})),
            mint.signed("EdDSA", header("EdDSA", "zoo"), claims()),
            KEY_UNKNOWN,
        ),
        exhibit(
            "Ed25519 of 31 bytes",
            okp("Ed25519", &[7; 31], "zoo"),
            mint.signed("EdDSA", header("EdDSA", "zoo"), claims()),
            KEY_UNKNOWN,
        ),
        exhibit(
            "Ed25519 of order 1",
            okp("Ed25519", &identity, "small-order"),
            small_order,
            KEY_UNKNOWN,
        ),
    ]
}
