//! RSA signatures around valid claims: paddings that are almost right.

use aws_lc_rs::digest;
use num_bigint::BigUint;
use serde_json::json;

use super::bignum::{bytes, fixed};
use super::case::{Case, Family, PASSES, SIGNATURE};
use super::mint::{Mint, RSA_BYTES, joined, split};

/// `DigestInfo` up to the hash (RFC 8017 section 9.2, note 1).
pub(super) struct Info(&'static str);

pub(super) const SHA256_INFO: Info = Info("3031300d060960864801650304020105000420");
const MD5_INFO: Info = Info("3020300c06082a864886f70d020505000410");
const SHA1_INFO: Info = Info("3021300906052b0e03021a05000414");
const SHA224_INFO: Info = Info("302d300d06096086480165030402040500041c");
const SHA384_INFO: Info = Info("3041300d060960864801650304020205000430");
const SHA512_INFO: Info = Info("3051300d060960864801650304020305000440");

/// EMSA-PKCS1-v1_5 of a hash.
pub(super) fn pkcs1(info: &Info, hash: &[u8], length: usize) -> Vec<u8> {
    block(1, 0xff, &[bytes(info.0), hash.to_vec()].concat(), length)
}

/// `00 kind filler… 00 content`.
fn block(kind: u8, filler: u8, content: &[u8], length: usize) -> Vec<u8> {
    let fillers = length - content.len() - 3;
    [&[0, kind], &*vec![filler; fillers], &[0], content].concat()
}

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = malformed_pkcs1(mint);
    cases.extend(forged_cube_roots(mint));
    cases.extend(numbers_and_lengths(mint));
    cases
}

/// What a good token of an algorithm signs.
fn message(algorithm: &str, mint: &Mint) -> String {
    let good = mint.good(algorithm);
    split(&good).0.to_owned()
}

fn hash(algorithm: &'static digest::Algorithm, message: &str) -> Vec<u8> {
    digest::digest(algorithm, message.as_bytes())
        .as_ref()
        .to_vec()
}

/// Signed with the right key: only what is within is wrong.
#[expect(clippy::too_many_lines, reason = "a table")]
fn malformed_pkcs1(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("PKCS#1 v1.5");
    let message = message("RS256", mint);
    let sha256 = hash(&digest::SHA256, &message);
    let sha512 = hash(&digest::SHA512, &message);
    let sha1 = hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, &message);
    let info = bytes(SHA256_INFO.0);
    let right = [&*info, &*sha256].concat();
    let of = |content: &[u8]| block(1, 0xff, content, RSA_BYTES);
    let with = |head: &str| of(&[bytes(head), sha256.clone()].concat());
    let changed = |at: usize, byte: u8| {
        let mut block = of(&right);
        block[at] = byte;
        block
    };
    let separator = RSA_BYTES - right.len() - 1;
    let garbage = |fillers: usize, before: &[u8]| {
        let head = [&[0, 1], &*vec![0xff; fillers], &[0], before].concat();
        [&*head, &*vec![0xa5; RSA_BYTES - head.len()]].concat()
    };
    let blocks: Vec<(&str, Vec<u8>)> = vec![
        ("no DigestInfo, the bare hash", of(&sha256)),
        (
            "DigestInfo without the NULL",
            with("302f300b06096086480165030402010420"),
        ),
        (
            "an empty OCTET STRING for the NULL",
            with("3031300d060960864801650304020104000420"),
        ),
        (
            "a NULL with content",
            with("3032300e06096086480165030402010501000420"),
        ),
        (
            "two NULLs",
            with("3033300f0609608648016503040201050005000420"),
        ),
        (
            "lengths in two bytes",
            with("308131300d060960864801650304020105000420"),
        ),
        (
            "the hash's length in two bytes",
            with("3032300d06096086480165030402010500048120"),
        ),
        (
            "an indefinite length",
            with("3080300d060960864801650304020105000420"),
        ),
        (
            "lengths one too small",
            with("3030300d060960864801650304020105000420"),
        ),
        (
            "the hash as BIT STRING",
            with("3031300d060960864801650304020105000320"),
        ),
        (
            "the hash's length one too small",
            with("3031300d06096086480165030402010500041f"),
        ),
        (
            "SET for SEQUENCE",
            with("3131300d060960864801650304020105000420"),
        ),
        (
            "SHA-256 called SHA-384",
            with("3031300d060960864801650304020205000420"),
        ),
        (
            "SHA-256 called SHA3-256",
            with("3031300d060960864801650304020805000420"),
        ),
        (
            "an object identifier more",
            with("303c300d0609608648016503040201050006096086480165030402010420"),
        ),
        ("SHA-1", of(&[bytes(SHA1_INFO.0), sha1.clone()].concat())),
        (
            "MD5's name around sixteen bytes",
            of(&[bytes(MD5_INFO.0), sha256[..16].to_vec()].concat()),
        ),
        (
            "SHA-224's name",
            of(&[bytes(SHA224_INFO.0), sha256[..28].to_vec()].concat()),
        ),
        (
            "SHA-384's name",
            of(&[bytes(SHA384_INFO.0), hash(&digest::SHA384, &message)].concat()),
        ),
        ("SHA-512", of(&[bytes(SHA512_INFO.0), sha512].concat())),
        (
            "SHA-1 in SHA-256's place",
            of(&[&*info, &*sha1, &[0; 12]].concat()),
        ),
        (
            "the hash of another message",
            of(&[info.clone(), hash(&digest::SHA256, "x")].concat()),
        ),
        (
            "the hash reversed",
            of(&[info.clone(), sha256.iter().rev().copied().collect()].concat()),
        ),
        (
            "the hash less its last byte",
            of(&[&*info, &sha256[..31]].concat()),
        ),
        ("a zero after the hash", of(&[&*right, &[0]].concat())),
        (
            "a byte after the hash within the lengths",
            of(&[
                bytes("3032300d060960864801650304020105000421"),
                sha256.clone(),
                vec![0],
            ]
            .concat()),
        ),
        ("garbage after the hash", garbage(8, &right)),
        ("garbage after the hash and no filler", garbage(0, &right)),
        (
            "garbage before the separator",
            [
                &[0, 1, 0xff, 0xff],
                &*vec![0xa5; separator - 4],
                &[0],
                &*right,
            ]
            .concat(),
        ),
        ("block type 0", block(0, 0, &right, RSA_BYTES)),
        ("block type 2", block(2, 0xa5, &right, RSA_BYTES)),
        (
            "block type 2 with filler of type 1",
            block(2, 0xff, &right, RSA_BYTES),
        ),
        ("filler of zeros", block(1, 0, &right, RSA_BYTES)),
        ("filler of FE", block(1, 0xfe, &right, RSA_BYTES)),
        ("one bit of the first filler", changed(2, 0xfe)),
        ("one bit of the last filler", changed(separator - 1, 0xfe)),
        ("a zero within the filler", changed(20, 0)),
        ("no separator", changed(separator, 0xff)),
        ("another separator", changed(separator, 1)),
        ("a first byte that is not 0", changed(0, 1)),
        (
            "everything one byte to the left",
            [&of(&right)[1..], &[0]].concat(),
        ),
        ("only zeros", vec![0; RSA_BYTES]),
        (
            "nothing but filler",
            [&[0, 1], &*vec![0xff; RSA_BYTES - 2]].concat(),
        ),
    ];
    let control = joined(&message, mint.rsa.sign_raw(&of(&right)));
    family.token("the right block, made the same way", control, PASSES);
    for (name, block) in blocks {
        let signature = mint.rsa.sign_raw(&block);
        family.token(name, joined(&message, signature), SIGNATURE);
    }
    family.into_cases()
}

/// Bleichenbacher's forgery of 2006: with exponent 3 a cube root is a signature to whoever does
/// not look at all bytes. It needs no private key.
fn forged_cube_roots(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("cube root");
    for (name, fillers, info) in [
        ("garbage after the hash", 8, SHA256_INFO.0),
        ("garbage after the hash and no filler", 0, SHA256_INFO.0),
        (
            "garbage, and no NULL",
            8,
            "302f300b06096086480165030402010420",
        ),
    ] {
        let header = Mint::header("RS256", json!({"kid": "rsa-e3"}));
        let claims = mint.claims(json!({"sub": "root"}));
        let token = super::mint::token(header, claims, |message| {
            let hash = digest::digest(&digest::SHA256, message);
            let head = [
                &[0, 1],
                &*vec![0xff; fillers],
                &[0],
                &bytes(info),
                hash.as_ref(),
            ]
            .concat();
            let block = [&*head, &*vec![0xff; RSA_BYTES - head.len()]].concat();
            let root = BigUint::from_bytes_be(&block).cbrt();
            let cube = fixed(&root.pow(3), RSA_BYTES);
            assert_eq!(
                cube[..head.len()],
                head,
                "all that a careless reader looks at"
            );
            fixed(&root, RSA_BYTES)
        });
        family.token_for("/zoo", name, token, SIGNATURE);
    }
    family.into_cases()
}

/// Numbers beside the right one, and right ones in the wrong length.
fn numbers_and_lengths(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("RSA numbers");
    let modulus = &mint.rsa.modulus;
    let one = BigUint::from(1_u8);
    let good = mint.good("RS256");
    let (message, signature) = split(&good);
    let number = BigUint::from_bytes_be(&signature);
    let as_bytes = |number: &BigUint| fixed(number, RSA_BYTES);
    for (name, forged) in [
        ("zero", vec![0; RSA_BYTES]),
        ("one", as_bytes(&one)),
        ("the modulus", as_bytes(modulus)),
        ("the modulus less one", as_bytes(&(modulus - &one))),
        ("the modulus and one", as_bytes(&(modulus + &one))),
        ("the largest number", vec![0xff; RSA_BYTES]),
        ("the negated signature", as_bytes(&(modulus - &number))),
        (
            "the signature and the modulus in 257 bytes",
            fixed(&(&number + modulus), RSA_BYTES + 1),
        ),
        ("nothing", Vec::new()),
        ("one byte", vec![1]),
        ("its first byte cut", signature[1..].to_vec()),
        ("its last byte cut", signature[..RSA_BYTES - 1].to_vec()),
        ("a zero before it", [&[0], &*signature].concat()),
        ("a zero after it", [&*signature, &[0]].concat()),
        ("twice", signature.repeat(2)),
        ("half of it", signature[..RSA_BYTES / 2].to_vec()),
        ("reversed", signature.iter().rev().copied().collect()),
        (
            "of another key",
            mint.stranger.rsa.sign("RS256", message.as_bytes()),
        ),
        ("of another message", mint.rsa.sign("RS256", b"x")),
        (
            "of the payload alone",
            mint.rsa.sign(
                "RS256",
                message
                    .split('.')
                    .next_back()
                    .unwrap_or_default()
                    .as_bytes(),
            ),
        ),
    ] {
        family.token(name, joined(message, forged), SIGNATURE);
    }
    let (message, sum) = searched(mint, |signature| {
        let sum = BigUint::from_bytes_be(&signature) + modulus;
        (sum.bits() <= 8 * RSA_BYTES as u64).then(|| as_bytes(&sum))
    });
    family.token(
        "the signature and the modulus",
        joined(&message, sum),
        SIGNATURE,
    );
    let (message, signature) = searched(mint, |signature| (signature[0] == 0).then_some(signature));
    family.token(
        "its leading zero kept",
        joined(&message, &signature),
        PASSES,
    );
    family.token(
        "its leading zero stripped",
        joined(&message, &signature[1..]),
        SIGNATURE,
    );
    family.into_cases()
}

/// Signatures made before one that is searched for is given up: one in 256 begins with a zero.
const TRIES_MAX: u32 = 8192;

/// A message whose signature is of a rare kind, and what `wanted` makes of that signature.
fn searched(mint: &Mint, wanted: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> (String, Vec<u8>) {
    let found = (0..TRIES_MAX).find_map(|number| {
        let claims = mint.claims(json!({"jti": number}));
        let token = mint.signed("RS256", Mint::header("RS256", json!({})), claims);
        let (message, signature) = split(&token);
        Some((message.to_owned(), wanted(signature)?))
    });
    found.expect("such signatures are rare, but not that rare")
}
