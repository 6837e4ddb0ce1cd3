//! An issuer of tokens with keys of its own.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://issuer.example/";
pub(crate) const AUDIENCE: &str = "api";

/// A key that signs, and its public half.
pub(crate) struct Key {
    algorithm: Algorithm,
    id: &'static str,
    private: EncodingKey,
}

/// Made once: an RSA key takes its time.
pub(crate) fn rs256() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("a key can be written");
        Key {
            algorithm: Algorithm::RS256,
            id: "rsa-1",
            private: EncodingKey::from_rsa_pem(&pem(pkcs8.as_ref())).expect("an RSA key"),
        }
    });
    &KEY
}

pub(crate) fn es256() -> &'static Key {
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::es256("ec-1"));
    &KEY
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").into_bytes()
}

impl Key {
    /// A fresh key of this id.
    pub(crate) fn es256(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = pair
            .and_then(|pair| pair.to_pkcs8v1())
            .expect("random numbers");
        Self {
            algorithm: Algorithm::ES256,
            id,
            private: EncodingKey::from_ec_pem(&pem(pkcs8.as_ref())).expect("an EC key"),
        }
    }

    fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.id.into());
        jwk
    }

    /// Signs these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.id, claims)
    }

    /// Signs these claims and names another key.
    pub(crate) fn sign_as(&self, id: &str, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(id.into());
        jsonwebtoken::encode(&header, claims, &self.private).expect("the key signs")
    }
}

/// A JWK set.
pub(crate) fn key_set(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
    json!({"keys": keys}).to_string()
}

pub(crate) fn write_key_set(path: &Path, keys: &[&Key]) {
    std::fs::write(path, key_set(keys)).expect("a file can be written");
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Claims of a good token, changed by `change`; `null` takes a claim away.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write `json!` in place"
)]
pub(crate) fn claims(change: Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "user-1",
        "scope": "users:read",
        "iat": now(),
        "exp": now() + 600,
    });
    for (name, value) in change.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .expect("an object")
        .retain(|_, value| !value.is_null());
    claims
}

/// A good token.
pub(crate) fn good_token() -> String {
    rs256().sign(&claims(json!({})))
}

/// A token with these claims and no signature (RFC 7519 section 6).
pub(crate) fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.",
        part(&json!({"alg": "none", "typ": "JWT"})),
        part(claims)
    )
}

/// The same token with other claims under the old signature.
pub(crate) fn tampered(token: &str, claims: &Value) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
    parts.join(".")
}
