//! The keys of the attacked providers, and tokens made with them byte by byte.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;
use serde_json::{Value, json};
use simple_asn1::ASN1Block;

use super::bignum::{fixed, number};
use crate::support::tokens::{AUDIENCE, ISSUER, now};

/// The issuer whose tokens are made with a shared secret.
pub(super) const SECRET_ISSUER: &str = "https://secrets.example/";
/// The shared secret, as it stands in its file.
pub(super) const SECRET: &[u8] =
    b"64 bytes, as HS512 wants, and no more than one block of HS256 is";
/// All that verify with a public key.
pub(super) const PUBLIC_ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
];
/// All that verify with a shared secret.
pub(super) const SECRET_ALGORITHMS: [&str; 3] = ["HS256", "HS384", "HS512"];

/// Who makes the tokens.
pub(super) struct Mint {
    /// When it was opened; every date in a token is counted from here.
    pub(super) now: u64,
    /// The `rsa-1` of the key set, and the same under names that restrict it.
    pub(super) rsa: Rsa,
    /// The `ec-1` of the key set.
    pub(super) p256: Elliptic,
    /// The `ec-384` of the key set.
    pub(super) p384: Elliptic,
    /// The `ed-1` of the key set.
    pub(super) ed25519: Ed25519KeyPair,
    /// Keys that nobody published.
    pub(super) stranger: Stranger,
    /// Keys that are published without a name, in this order.
    pub(super) nameless: Vec<Elliptic>,
}

/// The attacker's own keys.
pub(super) struct Stranger {
    pub(super) rsa: Rsa,
    pub(super) p256: Elliptic,
    pub(super) ed25519: Ed25519KeyPair,
}

impl Mint {
    pub(super) fn open() -> Self {
        let ed25519 = || Ed25519KeyPair::generate().expect("random numbers");
        Self {
            now: now(),
            rsa: Rsa::generate(),
            p256: Elliptic::p256(),
            p384: Elliptic::p384(),
            ed25519: ed25519(),
            stranger: Stranger {
                rsa: Rsa::generate(),
                p256: Elliptic::p256(),
                ed25519: ed25519(),
            },
            nameless: (0..5).map(|_| Elliptic::p256()).collect(),
        }
    }

    /// What the key set calls the key of an algorithm.
    fn key_id(algorithm: &str) -> &'static str {
        match algorithm {
            "ES256" => "ec-1",
            "ES384" => "ec-384",
            "EdDSA" => "ed-1",
            "HS256" | "HS384" | "HS512" => "secret",
            _ => "rsa-1",
        }
    }

    pub(super) fn issuer(algorithm: &str) -> &'static str {
        if SECRET_ALGORITHMS.contains(&algorithm) {
            SECRET_ISSUER
        } else {
            ISSUER
        }
    }

    /// The header of a good token, with these members set.
    pub(super) fn header(algorithm: &str, change: Value) -> String {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": Self::key_id(algorithm)});
        merged(header, change).to_string()
    }

    /// The claims of a good token, with these set; `null` is a value like any other.
    pub(super) fn claims(&self, change: Value) -> String {
        self.claims_without("", change)
    }

    /// The same, with one claim left out.
    pub(super) fn claims_without(&self, name: &str, change: Value) -> String {
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "user-1",
            "iat": self.now, "exp": self.now + 600,
        });
        let mut claims = merged(claims, change);
        claims.as_object_mut().expect("claims").remove(name);
        claims.to_string()
    }

    /// The claims of a good token of this algorithm's issuer.
    pub(super) fn claims_for(&self, algorithm: &str) -> String {
        self.claims(json!({"iss": Self::issuer(algorithm)}))
    }

    /// A token that is good in every way.
    pub(super) fn good(&self, algorithm: &str) -> String {
        self.signed(
            algorithm,
            Self::header(algorithm, json!({})),
            self.claims_for(algorithm),
        )
    }

    /// A good token whose header has these members too.
    pub(super) fn with_header(&self, change: Value) -> String {
        self.signed(
            "ES256",
            Self::header("ES256", change),
            self.claims(json!({})),
        )
    }

    /// A good token whose claims are changed.
    pub(super) fn with_claims(&self, change: Value) -> String {
        self.with_payload(self.claims(change))
    }

    /// A token of this payload, well signed.
    pub(super) fn with_payload(&self, payload: impl AsRef<[u8]>) -> String {
        self.signed("ES256", Self::header("ES256", json!({})), payload)
    }

    /// Any header and payload, signed with the key of this algorithm.
    pub(super) fn signed(
        &self,
        algorithm: &str,
        header: impl AsRef<[u8]>,
        payload: impl AsRef<[u8]>,
    ) -> String {
        token(header, payload, |message| self.sign(algorithm, message))
    }

    /// Signs as RFC 7518 section 3.1 and RFC 8037 section 3.1 say.
    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match algorithm {
            "ES256" => self.p256.sign(message),
            "ES384" => self.p384.sign(message),
            "EdDSA" => self.ed25519.sign(message).as_ref().to_vec(),
            "HS256" | "HS384" | "HS512" => mac(algorithm, SECRET, message),
            _ => self.rsa.sign(algorithm, message),
        }
    }

    /// What the providers publish.
    pub(super) fn key_set(&self) -> String {
        let named = |key: Value, members: Value| merged(key, members);
        let keys = [
            named(self.rsa.jwk(), json!({"kid": "rsa-1", "use": "sig"})),
            named(
                self.rsa.jwk(),
                json!({"kid": "rsa-rs256", "alg": "RS256", "use": "sig"}),
            ),
            named(self.rsa.jwk(), json!({"kid": "rsa-ps256", "alg": "PS256"})),
            named(
                self.p256.jwk("P-256"),
                json!({"kid": "ec-1", "key_ops": ["verify"]}),
            ),
            named(self.p384.jwk("P-384"), json!({"kid": "ec-384"})),
            named(ed25519_jwk(&self.ed25519), json!({"kid": "ed-1"})),
            // One name for two keys of one kind: both are tried (RFC 7517 section 4.5).
            named(self.nameless[0].jwk("P-256"), json!({"kid": "twin"})),
            named(self.nameless[1].jwk("P-256"), json!({"kid": "twin"})),
        ];
        json!({"keys": keys}).to_string()
    }

    /// A set whose keys have no names.
    pub(super) fn nameless_key_set(&self) -> String {
        let elliptic = self.nameless.iter().map(|key| key.jwk("P-256"));
        let mut keys: Vec<Value> = elliptic.collect();
        keys.push(self.rsa.jwk());
        json!({"keys": keys}).to_string()
    }
}

/// One object with the members of the other set in it.
pub(super) fn merged(mut object: Value, change: Value) -> Value {
    let Value::Object(change) = change else {
        panic!("an object changes an object")
    };
    object.as_object_mut().expect("an object").extend(change);
    object
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The compact form (RFC 7515 section 7.1) of any header and payload.
pub(super) fn token(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    encoded_token(&encoded(header), &encoded(payload), sign)
}

/// The same from parts that are encoded already, in whatever way.
pub(super) fn encoded_token(
    header: &str,
    payload: &str,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let message = format!("{header}.{payload}");
    let signature = encoded(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// A good token's message and signature, for those who replace the latter.
pub(super) fn split(token: &str) -> (&str, Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').expect("a token");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    (message, signature)
}

/// A message under another signature.
pub(super) fn joined(message: &str, signature: impl AsRef<[u8]>) -> String {
    format!("{message}.{}", encoded(signature))
}

/// HMAC (RFC 7518 section 3.2) with any key, the empty one included.
pub(super) fn mac(algorithm: &str, key: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        "HS512" => hmac::HMAC_SHA512,
        other => panic!("{other} is no HMAC"),
    };
    hmac::sign(&hmac::Key::new(hash, key), message)
        .as_ref()
        .to_vec()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

pub(super) fn ed25519_jwk(key: &Ed25519KeyPair) -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key())})
}

/// An RSA key of 2,048 bits with its numbers, for signatures that no library would make.
pub(super) struct Rsa {
    pub(super) pair: RsaKeyPair,
    pub(super) modulus: BigUint,
    pub(super) primes: [BigUint; 2],
    /// The private exponent modulo each prime less one.
    pub(super) exponents: [BigUint; 2],
    /// The second prime's inverse modulo the first.
    coefficient: BigUint,
}

/// Bytes of a signature of [`Rsa`].
pub(super) const RSA_BYTES: usize = 256;

impl Rsa {
    fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
        // PrivateKeyInfo (RFC 5208 section 5) around RSAPrivateKey (RFC 8017 appendix A.1.2).
        let info = sequence(pkcs8.as_ref());
        let Some(ASN1Block::OctetString(_, key)) = info.get(2) else {
            panic!("no key within: {info:?}")
        };
        let numbers = sequence(key);
        let number = |index: usize| match &numbers[index] {
            ASN1Block::Integer(_, number) => number.to_biguint().expect("positive"),
            other => panic!("no number: {other:?}"),
        };
        Self {
            pair,
            modulus: number(1),
            primes: [number(4), number(5)],
            exponents: [number(6), number(7)],
            coefficient: number(8),
        }
    }

    pub(super) fn jwk(&self) -> Value {
        let modulus = encoded(self.modulus.to_bytes_be());
        json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
    }

    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let padding: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            "PS256" => &RSA_PSS_SHA256,
            "PS384" => &RSA_PSS_SHA384,
            "PS512" => &RSA_PSS_SHA512,
            other => panic!("{other} is not for RSA"),
        };
        let mut signature = vec![0; RSA_BYTES];
        self.pair
            .sign(padding, &SystemRandom::new(), message, &mut signature)
            .expect("the key signs");
        signature
    }

    /// The private operation on any number: what is within a signature is the caller's choice.
    pub(super) fn sign_raw(&self, encoded_message: &[u8]) -> Vec<u8> {
        let message = BigUint::from_bytes_be(encoded_message);
        assert!(message < self.modulus, "the message must be a residue");
        let [p, q] = &self.primes;
        // RFC 8017 section 5.1.2, by the remainders: four times as fast.
        let of_p = message.modpow(&self.exponents[0], p);
        let of_q = message.modpow(&self.exponents[1], q);
        let difference = (of_p + p - &of_q % p) % p;
        fixed(
            &(of_q + q * (difference * &self.coefficient % p)),
            RSA_BYTES,
        )
    }
}

fn sequence(der: &[u8]) -> Vec<ASN1Block> {
    match simple_asn1::from_der(der).expect("DER").into_iter().next() {
        Some(ASN1Block::Sequence(_, blocks)) => blocks,
        other => panic!("no sequence: {other:?}"),
    }
}

/// A key on a curve of NIST's with its numbers.
pub(super) struct Elliptic {
    pub(super) pair: EcdsaKeyPair,
    /// Bytes of a coordinate, and of each half of a signature.
    pub(super) size: usize,
    /// The order of the group.
    pub(super) order: BigUint,
    /// The prime of the field.
    pub(super) prime: BigUint,
    hash: &'static digest::Algorithm,
}

impl Elliptic {
    fn p256() -> Self {
        Self {
            pair: generated(&ECDSA_P256_SHA256_FIXED_SIGNING),
            size: 32,
            order: number("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
            prime: number("ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
            hash: &digest::SHA256,
        }
    }

    fn p384() -> Self {
        Self {
            pair: generated(&ECDSA_P384_SHA384_FIXED_SIGNING),
            size: 48,
            order: number(
                "ffffffffffffffffffffffffffffffffffffffffffffffff\
                 c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            ),
            prime: number(
                "ffffffffffffffffffffffffffffffffffffffffffffffff\
                 fffffffffffffffeffffffff0000000000000000ffffffff",
            ),
            hash: &digest::SHA384,
        }
    }

    /// The two coordinates of the public key.
    pub(super) fn point(&self) -> (&[u8], &[u8]) {
        // The uncompressed form begins with a 4 (SEC 1 section 2.3.3).
        self.pair.public_key().as_ref()[1..].split_at(self.size)
    }

    pub(super) fn jwk(&self, curve: &str) -> Value {
        let (x, y) = self.point();
        json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)})
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        signature.expect("the key signs").as_ref().to_vec()
    }

    /// Signs a number instead of the hash that the algorithm asks for.
    ///
    /// A signature that the library made gives its nonce away to who has the private key.
    pub(super) fn sign_raw(&self, instead_of_hash: &BigUint) -> Vec<u8> {
        let message = b"any";
        let hash = BigUint::from_bytes_be(digest::digest(self.hash, message).as_ref());
        let bytes: EcPrivateKeyBin<'_> = self
            .pair
            .private_key()
            .as_be_bytes()
            .expect("a private key");
        let private = BigUint::from_bytes_be(bytes.as_ref());
        let (r, s) = self.halves(&self.sign(message));
        let inverse = |number: &BigUint| number.modinv(&self.order).expect("a prime order");
        let product = &r * private;
        let nonce = inverse(&s) * (hash + &product) % &self.order;
        let s = inverse(&nonce) * (instead_of_hash + product) % &self.order;
        self.pair_of(&r, &s)
    }

    /// The numbers of a signature.
    pub(super) fn halves(&self, signature: &[u8]) -> (BigUint, BigUint) {
        let (r, s) = signature.split_at(self.size);
        (BigUint::from_bytes_be(r), BigUint::from_bytes_be(s))
    }

    /// A signature of these numbers (RFC 7518 section 3.4).
    pub(super) fn pair_of(&self, r: &BigUint, s: &BigUint) -> Vec<u8> {
        [fixed(r, self.size), fixed(s, self.size)].concat()
    }
}

fn generated(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).expect("random numbers")
}
