//! Signatures of elliptic curves around valid claims.

use aws_lc_rs::digest;
use num_bigint::{BigInt, BigUint};
use serde_json::json;
use simple_asn1::ASN1Block;

use super::bignum::{fixed, hex, number};
use super::case::{Case, Family, PASSES, SIGNATURE};
use super::mint::{Elliptic, Mint, joined, split};

/// The order of Ed25519's group (RFC 8032 section 5.1): 2^252 +
/// 27742317777372353535851937790883648493.
pub(super) const ED25519_ORDER: &str =
    "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("ECDSA");
    for (algorithm, key) in [("ES256", &mint.p256), ("ES384", &mint.p384)] {
        let good = mint.good(algorithm);
        let (message, signature) = split(&good);
        for (name, forged) in numbers(key, &signature)
            .into_iter()
            .chain(lengths(key, &signature))
            .chain(hashes(key, message))
        {
            let name = format!("{algorithm}: {name}");
            family.token(name, joined(message, forged), SIGNATURE);
        }
        controls(&mut family, algorithm, key, message);
    }
    let mut cases = family.into_cases();
    cases.extend(eddsa(mint));
    cases
}

/// What looks odd and is right.
fn controls(family: &mut Family, algorithm: &str, key: &Elliptic, message: &str) {
    let signature = key.sign(message.as_bytes());
    let (r, s) = key.halves(&signature);
    // ECDSA has two signatures of one nonce; JWS has no rule that refuses the larger (RFC 7518
    // section 3.4), so both pass, whichever the signer made.
    let negated = key.pair_of(&r, &(&key.order - s));
    for (name, signature) in [
        ("a signature", signature),
        ("the same with s negated", negated),
    ] {
        family.token(
            format!("{algorithm}: {name}"),
            joined(message, signature),
            PASSES,
        );
    }
    let hash = if key.size == 32 {
        &digest::SHA256
    } else {
        &digest::SHA384
    };
    let hash = digest::digest(hash, message.as_bytes());
    let raw = key.sign_raw(&BigUint::from_bytes_be(hash.as_ref()));
    let name = format!("{algorithm}: the right hash, signed by arithmetic");
    family.token(name, joined(message, raw), PASSES);
}

type Named = (String, Vec<u8>);

fn named<const N: usize>(list: [(&str, Vec<u8>); N]) -> Vec<Named> {
    list.into_iter()
        .map(|(name, signature)| (name.to_owned(), signature))
        .collect()
}

fn numbers(key: &Elliptic, signature: &[u8]) -> Vec<Named> {
    let (r, s) = key.halves(signature);
    let (zero, one) = (BigUint::ZERO, BigUint::from(1_u8));
    let (order, prime) = (&key.order, &key.prime);
    let largest = BigUint::from_bytes_be(&vec![0xff; key.size]);
    let below = order - &one;
    let above = order + &one;
    let specials = [
        ("0", &zero),
        ("1", &one),
        ("the order", order),
        ("the order less one", &below),
        ("the order and one", &above),
        ("the prime", prime),
        ("the largest number", &largest),
    ];
    let mut all = Vec::new();
    for (name, special) in specials {
        all.push((format!("r is {name}"), key.pair_of(special, &s)));
        all.push((format!("s is {name}"), key.pair_of(&r, special)));
        all.push((format!("r and s are {name}"), key.pair_of(special, special)));
    }
    all.extend(named([
        ("r is 0 and s is 1", key.pair_of(&zero, &one)),
        ("r is 1 and s is 0", key.pair_of(&one, &zero)),
        ("r is the order and s is 1", key.pair_of(order, &one)),
        ("r and s swapped", key.pair_of(&s, &r)),
        ("r twice", key.pair_of(&r, &r)),
        ("s twice", key.pair_of(&s, &s)),
        ("r negated", key.pair_of(&(order - &r), &s)),
        ("s and one", key.pair_of(&r, &((&s + &one) % order))),
        (
            "s inverted",
            key.pair_of(&r, &s.modinv(order).expect("a prime order")),
        ),
        (
            "each number's bytes reversed",
            [
                reversed(&signature[..key.size]),
                reversed(&signature[key.size..]),
            ]
            .concat(),
        ),
        ("all bytes reversed", reversed(signature)),
        (
            "r and the order, a byte longer",
            wide(key, &(&r + order), &s),
        ),
        (
            "s and the order, a byte longer",
            wide(key, &r, &(&s + order)),
        ),
        (
            "r and s and the order",
            wide(key, &(&r + order), &(&s + order)),
        ),
    ]));
    all
}

fn wide(key: &Elliptic, r: &BigUint, s: &BigUint) -> Vec<u8> {
    [fixed(r, key.size + 1), fixed(s, key.size + 1)].concat()
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

fn lengths(key: &Elliptic, signature: &[u8]) -> Vec<Named> {
    let (r, s) = key.halves(signature);
    let der = der(&r, &s);
    let mut all = named([
        ("nothing", Vec::new()),
        ("one zero", vec![0]),
        ("r alone", signature[..key.size].to_vec()),
        ("its first byte cut", signature[1..].to_vec()),
        (
            "its last byte cut",
            signature[..signature.len() - 1].to_vec(),
        ),
        ("a zero after it", [signature, &[0]].concat()),
        ("a zero before it", [&[0], signature].concat()),
        ("a zero before each number", wide(key, &r, &s)),
        ("twice", signature.repeat(2)),
        ("DER, as X.509 has it", der.clone()),
        ("DER with a byte after it", [&*der, &[0]].concat()),
        ("DER of zeros", self::der(&BigUint::ZERO, &BigUint::ZERO)),
        ("an empty sequence in DER", vec![0x30, 0]),
        ("an empty sequence in BER", vec![0x30, 0x80, 0, 0]),
    ]);
    if der.len() < 2 * key.size {
        return all;
    }
    all.push((
        "DER cut to the right length".to_owned(),
        der[..2 * key.size].to_vec(),
    ));
    all
}

fn der(r: &BigUint, s: &BigUint) -> Vec<u8> {
    let integer = |number: &BigUint| ASN1Block::Integer(0, BigInt::from(number.clone()));
    let sequence = ASN1Block::Sequence(0, vec![integer(r), integer(s)]);
    simple_asn1::to_der(&sequence).expect("two numbers")
}

/// Right arithmetic over something else than the hash that the algorithm names.
fn hashes(key: &Elliptic, message: &str) -> Vec<Named> {
    let own = if key.size == 32 {
        &digest::SHA256
    } else {
        &digest::SHA384
    };
    let hash = |algorithm: &'static digest::Algorithm, bytes: &[u8]| {
        digest::digest(algorithm, bytes).as_ref().to_vec()
    };
    let right = hash(own, message.as_bytes());
    let leftmost = |mut bytes: Vec<u8>| {
        bytes.truncate(key.size);
        bytes
    };
    let mut cut = right.clone();
    cut[key.size / 2..].fill(0);
    let (payload, header) = (
        message.split('.').next_back().unwrap_or_default(),
        message.split('.').next().unwrap_or_default(),
    );
    let sign = |bytes: Vec<u8>| key.sign_raw(&BigUint::from_bytes_be(&bytes));
    named([
        (
            "over SHA-1",
            sign(hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, message.as_bytes())),
        ),
        (
            "over SHA-512",
            sign(leftmost(hash(&digest::SHA512, message.as_bytes()))),
        ),
        (
            "over the other curve's hash",
            sign(leftmost(hash(
                if key.size == 32 {
                    &digest::SHA384
                } else {
                    &digest::SHA256
                },
                message.as_bytes(),
            ))),
        ),
        ("over half of the hash", sign(cut)),
        (
            "over the hash less a byte",
            sign(right[..right.len() - 1].to_vec()),
        ),
        ("over the hash reversed", sign(reversed(&right))),
        ("over a hash of zero", sign(vec![0])),
        (
            "over the message unhashed",
            sign(leftmost(message.as_bytes().to_vec())),
        ),
        ("over the hash hashed", key.sign(&right)),
        ("over the payload alone", key.sign(payload.as_bytes())),
        ("over the header alone", key.sign(header.as_bytes())),
        (
            "over the parts without their dot",
            key.sign(message.replace('.', "").as_bytes()),
        ),
        ("over nothing", key.sign(b"")),
        ("over another message", key.sign(b"x")),
    ])
}

fn eddsa(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("EdDSA");
    let good = mint.good("EdDSA");
    let (message, signature) = split(&good);
    let (r, s) = signature.split_at(32);
    let order = number(ED25519_ORDER);
    let s_number = BigUint::from_bytes_le(s);
    let little = |number: &BigUint| reversed(&fixed(number, 32));
    let mut identity = vec![0; 32];
    identity[0] = 1;
    let mut all = named([
        ("nothing", Vec::new()),
        ("one byte", vec![0]),
        ("R alone", r.to_vec()),
        ("S alone", s.to_vec()),
        ("its first byte cut", signature[1..].to_vec()),
        ("its last byte cut", signature[..63].to_vec()),
        ("a zero after it", [&*signature, &[0]].concat()),
        ("a zero before it", [&[0], &*signature].concat()),
        ("twice", signature.repeat(2)),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
        ("R and S swapped", [s, r].concat()),
        ("R is zeros", [&[0; 32], s].concat()),
        ("R is the identity", [&*identity, s].concat()),
        (
            "R is the identity and S is 0",
            [&*identity, &[0; 32]].concat(),
        ),
        ("R is no point", [&[0xff; 32], s].concat()),
        ("S is 0", [r, &[0; 32]].concat()),
        ("S is 1", [r, &*identity].concat()),
        ("S is the order", [r, &*little(&order)].concat()),
        (
            "S is negated",
            [r, &*little(&(&order - &s_number))].concat(),
        ),
        ("S is reversed", [r, &*reversed(s)].concat()),
        ("the sign of R", flipped(&signature, 31, 0x80)),
        ("the topmost bit of S", flipped(&signature, 63, 0x80)),
        ("the third bit of S", flipped(&signature, 63, 0x20)),
        ("ASCII in hexadecimal", hex(&signature).into_bytes()),
        ("over the message's SHA-512", {
            let hash = digest::digest(&digest::SHA512, message.as_bytes());
            mint.sign("EdDSA", hash.as_ref())
        }),
        ("over another message", mint.sign("EdDSA", b"x")),
        ("over nothing", mint.sign("EdDSA", b"")),
        (
            "of another key",
            mint.stranger
                .ed25519
                .sign(message.as_bytes())
                .as_ref()
                .to_vec(),
        ),
    ]);
    // Malleability: S and a multiple of the order verify alike where nobody looks at the bound.
    for times in [1_u8, 2, 4, 8, 14] {
        let sum = &s_number + &order * times;
        all.push((
            format!("S and {times} times the order"),
            [r, &*little(&sum)].concat(),
        ));
    }
    for (name, forged) in all {
        family.token(name, joined(message, forged), SIGNATURE);
    }
    let header = Mint::header("EdDSA", json!({"crv": "Ed448"}));
    let token = mint.signed("EdDSA", header, mint.claims(json!({})));
    family.token("another curve in the header", token, PASSES);
    family.into_cases()
}

fn flipped(bytes: &[u8], at: usize, bits: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= bits;
    bytes
}
