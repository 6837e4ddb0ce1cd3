//! Keys with which others can sign, and numbers that make no key.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256K1_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair as _,
};
use num_bigint::BigUint;
use serde_json::{Value, json};

use super::bignum::{bytes, fixed, number};
use super::curves::ED25519_ORDER;
use super::key_sets::{Exhibit, header};
use super::mint::{Mint, RSA_BYTES, ed25519_jwk, encoded, joined, merged, sha256, token};
use super::rsa::{SHA256_INFO, pkcs1};

pub(super) fn exhibits(mint: &Mint) -> Vec<Exhibit> {
    let mut all = rsa(mint);
    all.extend(elliptic(mint));
    all.extend(ed25519(mint));
    all.extend(small_orders(mint));
    all
}

fn rsa(mint: &Mint) -> Vec<Exhibit> {
    let key = |modulus: &BigUint, exponent: &BigUint| {
        let (modulus, exponent) = (modulus.to_bytes_be(), exponent.to_bytes_be());
        json!({"kty": "RSA", "n": encoded(modulus), "e": encoded(exponent)})
    };
    let forged =
        |sign: &dyn Fn(&[u8]) -> Vec<u8>| token(header("RS256"), mint.claims(json!({})), sign);
    let by_itself = |message: &[u8]| pkcs1(&SHA256_INFO, &sha256(message), RSA_BYTES);
    // A prime is a modulus, too: its private exponent is known to the mint, and its length is
    // half of what must be.
    let prime = &mint.rsa.primes[0];
    let by_prime = |message: &[u8]| {
        let padded = pkcs1(&SHA256_INFO, &sha256(message), RSA_BYTES / 2);
        let number = BigUint::from_bytes_be(&padded) % prime;
        fixed(&number.modpow(&mint.rsa.exponents[0], prime), RSA_BYTES / 2)
    };
    let modulus = &mint.rsa.modulus;
    let small = |number: u32| BigUint::from(number);
    let long = modulus - small(1);
    let one = fixed(&small(1), RSA_BYTES);
    let zeros = vec![0; RSA_BYTES];
    let exhibits = [
        (
            "RSA of 1,024 bits",
            key(prime, &small(65537)),
            forged(&by_prime),
        ),
        (
            "RSA with exponent 1",
            key(modulus, &small(1)),
            forged(&by_itself),
        ),
        (
            "RSA with exponent 0",
            key(modulus, &small(0)),
            forged(&|_| one.clone()),
        ),
        (
            "RSA with exponent 2",
            key(modulus, &small(2)),
            forged(&by_itself),
        ),
        (
            "RSA with an exponent of 2,048 bits",
            key(modulus, &long),
            forged(&by_itself),
        ),
        (
            "RSA with modulus 0",
            key(&small(0), &small(3)),
            forged(&|_| zeros.clone()),
        ),
        (
            "RSA with modulus 1",
            key(&small(1), &small(65537)),
            forged(&|_| vec![0]),
        ),
    ];
    named(exhibits)
}

fn named<const N: usize>(exhibits: [(&'static str, Value, String); N]) -> Vec<Exhibit> {
    let exhibits = exhibits.into_iter();
    exhibits
        .map(|(name, key, token)| Exhibit::new(name, key, token))
        .collect()
}

/// Curves that are not served, and points that are on none.
fn elliptic(mint: &Mint) -> Vec<Exhibit> {
    let key = |curve: &str, x: &[u8], y: &[u8]| json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)});
    let (p521, of_p521) = other_curve(mint, "ES512", &ECDSA_P521_SHA512_FIXED_SIGNING);
    let (secp256k1, of_secp256k1) = other_curve(mint, "ES256", &ECDSA_P256K1_SHA256_FIXED_SIGNING);
    let (x, y) = mint.p256.point();
    let good = mint.signed("ES256", header("ES256"), mint.claims(json!({})));
    let zeros = token(header("ES256"), mint.claims(json!({})), |_| vec![0; 64]);
    let mut all = named([
        (
            "secp256k1",
            key("secp256k1", &secp256k1[..32], &secp256k1[32..]),
            of_secp256k1.clone(),
        ),
        (
            "a point of secp256k1 called P-256",
            key("P-256", &secp256k1[..32], &secp256k1[32..]),
            of_secp256k1,
        ),
        (
            "the point at 0, 0",
            key("P-256", &[0; 32], &[0; 32]),
            zeros.clone(),
        ),
        (
            "a point beyond the prime",
            key("P-256", &[0xff; 32], &[0xff; 32]),
            zeros,
        ),
        ("x and y swapped", key("P-256", y, x), good.clone()),
        ("x twice", key("P-256", x, x), good.clone()),
        ("x cut", key("P-256", &x[1..], y), good.clone()),
        (
            "x with a zero before it",
            key("P-256", &[&[0], x].concat(), y),
            good.clone(),
        ),
        ("no y", key("P-256", x, &[]), good.clone()),
        (
            "the point in x alone",
            key("P-256", &[&[4], x, y].concat(), &[]),
            good.clone(),
        ),
    ]);
    let p521 = Exhibit::new("P-521", key("P-521", &p521[..66], &p521[66..]), of_p521);
    all.push(p521.for_no_algorithm());
    all
}

/// A public point, and a token signed with its private half.
fn other_curve(
    mint: &Mint,
    algorithm: &str,
    signing: &'static EcdsaSigningAlgorithm,
) -> (Vec<u8>, String) {
    let pair = EcdsaKeyPair::generate(signing).expect("random numbers");
    let point = pair.public_key().as_ref()[1..].to_vec();
    let token = token(header(algorithm), mint.claims(json!({})), |message| {
        let signature = pair.sign(&SystemRandom::new(), message);
        signature.expect("the key signs").as_ref().to_vec()
    });
    (point, token)
}

fn ed25519(mint: &Mint) -> Vec<Exhibit> {
    let good = mint.signed("EdDSA", header("EdDSA"), mint.claims(json!({})));
    let own = |change: Value| merged(ed25519_jwk(&mint.ed25519), change);
    let text = encoded(mint.ed25519.public_key());
    named([
        ("X25519", own(json!({"crv": "X25519"})), good.clone()),
        (
            "Ed25519 called Ed448",
            own(json!({"crv": "Ed448"})),
            good.clone(),
        ),
        ("Ed25519 called EC", own(json!({"kty": "EC"})), good.clone()),
        (
            "Ed25519 without its curve",
            own(json!({"crv": null})),
            good.clone(),
        ),
        (
            "Ed25519 of 31 bytes",
            own(json!({"x": encoded([7; 31])})),
            good.clone(),
        ),
        (
            "Ed25519 of 33 bytes",
            own(json!({"x": encoded([7; 33])})),
            good.clone(),
        ),
        ("Ed25519 of nothing", own(json!({"x": ""})), good.clone()),
        ("Ed25519 with padding", own(json!({"x": text + "="})), good),
    ])
}

/// Points of Ed25519 of order 1, 2, 4 and 8, in all spellings that a decoder may take
/// (RFC 8032 section 5.1.3).
///
/// With such a key anybody can sign anything: under R = the identity and S = 0 every message
/// holds whose hash is a multiple of the order.
const SMALL_ORDERS: [(&str, &str); 14] = [
    (
        "Ed25519 of order 1",
        "0100000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        "Ed25519 of order 1, with its sign",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ),
    (
        "Ed25519 of order 2",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ),
    (
        "Ed25519 of order 2, with its sign",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
    (
        "Ed25519 of order 4",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        "Ed25519 of order 4, with its sign",
        "0000000000000000000000000000000000000000000000000000000000000080",
    ),
    (
        "Ed25519 of order 8",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ),
    (
        "Ed25519 of order 8, with its sign",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    ),
    (
        "Ed25519 of order 8, the other one",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ),
    (
        "Ed25519 of order 8, the other one, with its sign",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ),
    (
        "Ed25519 of order 1, beyond the prime",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ),
    (
        "Ed25519 of order 1, beyond the prime, with its sign",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
    (
        "Ed25519 of order 4, beyond the prime",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ),
    (
        "Ed25519 of order 4, beyond the prime, with its sign",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ),
];

fn small_orders(mint: &Mint) -> Vec<Exhibit> {
    let exhibit = |(name, point)| {
        let point = bytes(point);
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&point)});
        Exhibit::new(name, key, signed_by_nobody(mint, &point))
    };
    SMALL_ORDERS.into_iter().map(exhibit).collect()
}

/// A token that a point of small order vouches for.
fn signed_by_nobody(mint: &Mint, point: &[u8]) -> String {
    /// One hash in eight is a multiple of the largest order.
    const TRIES_MAX: u32 = 1024;
    let order = number(ED25519_ORDER);
    let mut identity = [0; 32];
    identity[0] = 1;
    let found = (0..TRIES_MAX).find_map(|number| {
        let claims = mint.claims(json!({"sub": "root", "jti": number}));
        let message = format!("{}.{}", encoded(header("EdDSA")), encoded(claims));
        let hashed = [&identity, point, message.as_bytes()].concat();
        let hash = digest::digest(&digest::SHA512, &hashed);
        let factor = BigUint::from_bytes_le(hash.as_ref()) % &order;
        let is_multiple = factor % 8_u8 == BigUint::ZERO;
        is_multiple.then(|| joined(&message, [identity, [0; 32]].concat()))
    });
    found.expect("an eighth of them are")
}
