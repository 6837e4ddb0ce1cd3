//! PSS signatures around valid claims, each wrong in one place (RFC 8017 section 9.1.1).

use aws_lc_rs::digest;
use num_bigint::BigUint;

use super::case::{Case, Family, PASSES, SIGNATURE};
use super::mint::{Mint, RSA_BYTES, joined, split};

/// How a message is encoded.
#[derive(Clone, Copy)]
struct Pss {
    hash: &'static digest::Algorithm,
    mask_hash: &'static digest::Algorithm,
    salt_length: usize,
    /// The zero bytes that stand before the hash when it is hashed again.
    prefix_length: usize,
    /// What stands before the salt's mark.
    filler: u8,
    /// The salt's mark.
    mark: u8,
    trailer: u8,
    /// The topmost bit, which must be 0.
    is_top_bit_set: bool,
    is_hash_changed: bool,
}

impl Pss {
    /// As RFC 7518 section 3.5 has it: one hash for all, and a salt of its length.
    fn of(hash: &'static digest::Algorithm) -> Self {
        Self {
            hash,
            mask_hash: hash,
            salt_length: hash.output_len(),
            prefix_length: 8,
            filler: 0,
            mark: 1,
            trailer: 0xbc,
            is_top_bit_set: false,
            is_hash_changed: false,
        }
    }

    fn encode(&self, message: &[u8], salt: u8) -> Vec<u8> {
        let salt = vec![salt; self.salt_length];
        let hash = digest::digest(self.hash, message);
        let again = [&*vec![0; self.prefix_length], hash.as_ref(), &salt].concat();
        let mut hash = digest::digest(self.hash, &again).as_ref().to_vec();
        let block_length = RSA_BYTES - hash.len() - 1;
        let fillers = block_length - salt.len() - 1;
        let mut block = [&*vec![self.filler; fillers], &[self.mark], &salt].concat();
        for (byte, mask) in block.iter_mut().zip(self.mask(&hash, block_length)) {
            *byte ^= mask;
        }
        block[0] &= 0x7f;
        if self.is_top_bit_set {
            block[0] |= 0x80;
        }
        if self.is_hash_changed {
            hash[0] ^= 1;
        }
        [&*block, &hash, &[self.trailer]].concat()
    }

    /// MGF1 (RFC 8017 appendix B.2.1).
    fn mask(&self, seed: &[u8], length: usize) -> Vec<u8> {
        let blocks = (0_u32..).map(|counter| {
            digest::digest(self.mask_hash, &[seed, &counter.to_be_bytes()].concat())
        });
        let bytes = blocks.flat_map(|block| block.as_ref().to_vec());
        bytes.take(length).collect()
    }
}

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("PSS");
    for (algorithm, hash) in [
        ("PS256", &digest::SHA256),
        ("PS384", &digest::SHA384),
        ("PS512", &digest::SHA512),
    ] {
        let right = Pss::of(hash);
        let good = mint.good(algorithm);
        let (message, signature) = split(&good);
        let control = signed(mint, &right, message);
        family.token(format!("{algorithm}: the right block"), control, PASSES);
        for (name, pss) in wrong(right) {
            let token = signed(mint, &pss, message);
            family.token(format!("{algorithm}: {name}"), token, SIGNATURE);
        }
        let sum = BigUint::from_bytes_be(&signature) + &mint.rsa.modulus;
        for (name, signature) in [
            ("nothing", Vec::new()),
            ("zero", vec![0; RSA_BYTES]),
            ("its first byte cut", signature[1..].to_vec()),
            ("its last byte cut", signature[..RSA_BYTES - 1].to_vec()),
            ("a zero before it", [&[0], &*signature].concat()),
            (
                "the modulus added",
                super::bignum::fixed(&sum, RSA_BYTES + 1),
            ),
        ] {
            let token = joined(message, signature);
            family.token(format!("{algorithm}: {name}"), token, SIGNATURE);
        }
    }
    family.into_cases()
}

fn signed(mint: &Mint, pss: &Pss, message: &str) -> String {
    // With the topmost bit set the block may be no residue: another salt, another block.
    let blocks = (0..=u8::MAX).map(|salt| pss.encode(message.as_bytes(), salt));
    let block = blocks
        .into_iter()
        .find(|block| BigUint::from_bytes_be(block) < mint.rsa.modulus)
        .expect("one of so many is less than the modulus");
    joined(message, mint.rsa.sign_raw(&block))
}

fn wrong(right: Pss) -> Vec<(String, Pss)> {
    let length = right.salt_length;
    let longest = RSA_BYTES - length - 2;
    let salts = [0, 1, 20, length - 1, length + 1, longest];
    let mut all: Vec<_> = salts
        .into_iter()
        .map(|salt_length| {
            let name = format!("a salt of {salt_length} bytes");
            (
                name,
                Pss {
                    salt_length,
                    ..right
                },
            )
        })
        .collect();
    let others = [
        ("SHA-1", &digest::SHA1_FOR_LEGACY_USE_ONLY),
        ("SHA-256", &digest::SHA256),
        ("SHA-384", &digest::SHA384),
        ("SHA-512", &digest::SHA512),
    ];
    for (name, other) in others {
        if *other == *right.hash {
            continue;
        }
        let mask = Pss {
            mask_hash: other,
            ..right
        };
        all.push((format!("{name} for the mask"), mask));
        let hash = Pss {
            hash: other,
            ..right
        };
        all.push((format!("{name} for the message"), hash));
        all.push((format!("{name} for both"), Pss::of(other)));
    }
    for (name, pss) in [
        (
            "trailer CC",
            Pss {
                trailer: 0xcc,
                ..right
            },
        ),
        (
            "trailer 00",
            Pss {
                trailer: 0,
                ..right
            },
        ),
        ("no mark before the salt", Pss { mark: 0, ..right }),
        ("another mark before the salt", Pss { mark: 2, ..right }),
        ("filler that is not zero", Pss { filler: 1, ..right }),
        (
            "the topmost bit set",
            Pss {
                is_top_bit_set: true,
                ..right
            },
        ),
        (
            "a bit of the hash",
            Pss {
                is_hash_changed: true,
                ..right
            },
        ),
        (
            "no zeros before the hash",
            Pss {
                prefix_length: 0,
                ..right
            },
        ),
    ] {
        all.push((name.to_owned(), pss));
    }
    all
}
