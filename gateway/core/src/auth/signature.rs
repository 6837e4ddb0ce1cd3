//! Keys in the form in which aws-lc checks signatures with them, made once for each key.
//!
//! jsonwebtoken makes that form anew for every signature.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
};
use jsonwebtoken::Algorithm;

/// Checks signatures of one algorithm with one key.
pub struct Verifier(Form);

enum Form {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Verifier {
    pub(super) fn rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let parameters = match algorithm {
            Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
            Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
            Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
            Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
            Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        };
        let components = PublicKeyComponents {
            n: without_leading_zeros(modulus),
            e: without_leading_zeros(exponent),
        };
        let key = components.to_parsed_public_key(parameters).ok()?;
        Some(Self(Form::Public(key)))
    }

    /// `point` is uncompressed for the curves of NIST (SEC 1 section 2.3.3), and the 32 bytes of
    /// RFC 8032 section 5.1.2 for Ed25519.
    pub(super) fn point(algorithm: Algorithm, point: &[u8]) -> Option<Self> {
        let key = match algorithm {
            Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point),
            Algorithm::ES384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point),
            Algorithm::EdDSA => ParsedPublicKey::new(&ED25519, point),
            _ => return None,
        };
        Some(Self(Form::Public(key.ok()?)))
    }

    pub(super) fn secret(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::HS256 => hmac::HMAC_SHA256,
            Algorithm::HS384 => hmac::HMAC_SHA384,
            Algorithm::HS512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        Some(Self(Form::Secret(Box::new(hmac::Key::new(hash, secret)))))
    }

    /// Whether `signature` is this key's over `message`. HMACs are compared in constant time.
    #[must_use]
    pub fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Form::Public(key) => key.verify_sig(message, signature).is_ok(),
            Form::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// Bytes of the hash of an HMAC algorithm: the least length of its secret (RFC 7518 section 3.2).
pub(super) fn hash_bytes(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

/// Tells secrets apart without keeping them.
pub(super) fn fingerprint(secret: &[u8]) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret);
    digest.as_ref().to_vec()
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let first = number.iter().position(|&byte| byte != 0);
    &number[first.unwrap_or(number.len())..]
}
