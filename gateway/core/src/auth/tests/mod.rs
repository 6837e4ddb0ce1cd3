//! Tokens minted by hand, so that odd ones can be made, with signatures that are real.

mod authenticate;
mod form;
mod key_ring;
mod registered_claims;
mod several_ways;
mod tokens;

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::credential::Place;
use super::jwt::{self, Candidate, Provider};
use super::keys::KeyRing;
use super::trust::Trust;
use super::witness::Nobody;
use crate::words::rejection::Rejection;

/// What the tests call now.
const NOW: u64 = 1_700_000_000;
const SKEW_SECONDS: u64 = 60;
const MALFORMED: &str = "jwt_malformed";
const SIGNATURE: &str = "jwt_signature_invalid";
const ISSUER: &str = "https://issuer.example/";

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// A private key, and its public half as a JWK without `kid`, `use` and `alg`.
struct Signer {
    private: EncodingKey,
    public: Value,
}

impl Signer {
    fn new(private: EncodingKey, algorithm: Algorithm) -> Self {
        let jwk = Jwk::from_encoding_key(&private, algorithm).unwrap();
        let mut public = serde_json::to_value(jwk).unwrap();
        let members = public.as_object_mut().unwrap();
        for name in ["kid", "use", "alg"] {
            members.remove(name);
        }
        Self { private, public }
    }

    /// An entry of a JWK set.
    fn jwk(&self, more: &Value) -> Value {
        let mut jwk = self.public.clone();
        let members = jwk.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        jwk
    }

    /// The third part of a token for the first two, `message`.
    fn sign(&self, message: &str, algorithm: Algorithm) -> String {
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.private, algorithm).unwrap()
    }
}

/// The provider's keys by their `kid`, and one that is not the provider's.
struct Signers {
    rsa: Signer,
    p256: Signer,
    p384: Signer,
    ed25519: Signer,
    stranger: Signer,
}

static SIGNERS: LazyLock<Signers> = LazyLock::new(|| Signers {
    rsa: Signer::new(rsa_key(KeySize::Rsa2048), Algorithm::RS256),
    p256: p256_signer(),
    p384: {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let der = key.to_pkcs8v1().unwrap();
        Signer::new(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES384)
    },
    ed25519: {
        let key = Ed25519KeyPair::generate().unwrap();
        let der = key.to_pkcs8v1().unwrap();
        Signer::new(EncodingKey::from_ed_der(der.as_ref()), Algorithm::EdDSA)
    },
    stranger: p256_signer(),
});

fn rsa_key(size: KeySize) -> EncodingKey {
    let key = RsaKeyPair::generate(size).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

fn p256_signer() -> Signer {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = key.to_pkcs8v1().unwrap();
    Signer::new(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256)
}

impl Signers {
    /// The provider's key for an algorithm, and its `kid`.
    fn of(&self, algorithm: Algorithm) -> (&Signer, &'static str) {
        match algorithm {
            Algorithm::ES256 => (&self.p256, "p256"),
            Algorithm::ES384 => (&self.p384, "p384"),
            Algorithm::EdDSA => (&self.ed25519, "ed25519"),
            _ => (&self.rsa, "rsa"),
        }
    }
}

/// The ring of all the provider's keys.
fn ring() -> KeyRing {
    let keys = [
        Algorithm::RS256,
        Algorithm::ES256,
        Algorithm::ES384,
        Algorithm::EdDSA,
    ]
    .map(|algorithm| {
        let (signer, id) = SIGNERS.of(algorithm);
        signer.jwk(&json!({"kid": id}))
    });
    ring_of(&keys)
}

fn ring_of(keys: &[Value]) -> KeyRing {
    let document = json!({ "keys": keys }).to_string();
    KeyRing::from_jwk_set(document.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn trust(ring: KeyRing) -> Trust {
    Trust::default().with_keys(ring)
}

fn provider() -> Provider {
    Provider {
        id: 0,
        name: "main".into(),
        issuer: ISSUER.into(),
        audiences: vec!["api".into(), "other".into()],
        audience_claim: "aud".into(),
        algorithms: ALGORITHMS.to_vec(),
        token_type: None,
        places: vec![Place::Authorization],
        clock_skew_seconds: SKEW_SECONDS,
        token_bytes_max: 4096,
    }
}

/// Claims that hold, with `more` on top; what is `null` in `more` is left out.
fn claims(more: &Value) -> String {
    let mut claims = json!({"iss": ISSUER, "aud": "api", "sub": "ann", "exp": NOW + 60});
    let members = claims.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    claims.to_string()
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these very texts.
fn mint(
    header: impl AsRef<[u8]>,
    payload: impl AsRef<[u8]>,
    by: &Signer,
    as_: Algorithm,
) -> String {
    signed(
        &format!("{}.{}", base64url(header), base64url(payload)),
        by,
        as_,
    )
}

fn signed(message: &str, by: &Signer, as_: Algorithm) -> String {
    format!("{message}.{}", by.sign(message, as_))
}

/// A token of the provider that says `header`, with claims that hold.
fn with_header(header: impl AsRef<[u8]>) -> String {
    mint(header, claims(&json!({})), &SIGNERS.p256, Algorithm::ES256)
}

/// A token of the provider with this very payload.
fn with_payload(payload: impl AsRef<[u8]>) -> String {
    let header = r#"{"alg":"ES256","kid":"p256"}"#;
    mint(header, payload, &SIGNERS.p256, Algorithm::ES256)
}

/// A token that holds.
fn valid() -> String {
    with_payload(claims(&json!({})))
}

/// Header, payload and signature.
fn parts(token: &str) -> (String, String, String) {
    let mut parts = token.split('.').map(str::to_owned);
    let mut part = || parts.next().expect("three parts");
    (part(), part(), part())
}

/// What the one provider of a route says of a token.
fn verify(provider: &Provider, keys: &Trust, token: &str) -> Result<(), Rejection> {
    let candidate = Candidate {
        index: 0,
        provider,
        trust: keys,
    };
    match jwt::verify(&[candidate], token, NOW, &mut Nobody) {
        Ok(_) => Ok(()),
        Err(denied) => Err(denied.rejection),
    }
}

/// `ok`, or the code of the refusal.
fn verdict(provider: &Provider, keys: &Trust, token: &str) -> &'static str {
    match verify(provider, keys, token) {
        Ok(()) => "ok",
        Err(rejection) => rejection.reason.code(),
    }
}

/// Verifies each token by the provider's keys, and compares the verdicts.
fn check(cases: &[(&str, String, &str)]) {
    let (provider, ring) = (provider(), trust(ring()));
    let wrong: Vec<_> = cases
        .iter()
        .map(|(what, token, expected)| (what, token, expected, verdict(&provider, &ring, token)))
        .filter(|(_, _, expected, got)| *expected != got)
        .map(|(what, token, expected, got)| format!("{what}: {got}, not {expected}: {token}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
