//! A key pair, and the token that every request carries.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

pub(super) const ISSUER: &str = "https://bench.example/";
pub(super) const AUDIENCE: &str = "api";
pub(super) const SCOPE: &str = "bench:read";

/// The name of the key in the key set and in the token's header.
const KEY_ID: &str = "bench-1";

/// Longer than any sensible run, so that no token expires within one.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// The keys as files for the proxies, and the token for the client.
pub(super) struct Identity {
    /// The public key as a JSON Web Key Set.
    pub(super) jwks_file: PathBuf,
    /// The public key as PEM.
    pub(super) public_key_file: PathBuf,
    /// A token that every peer must take.
    pub(super) token: String,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: &'static str,
    scope: &'static str,
    iat: u64,
    exp: u64,
}

impl Identity {
    /// Makes a new RSA key of 2,048 bits and writes its public half to `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn create(directory: &Path) -> anyhow::Result<Self> {
        let key_pair = KeyPair::generate(KeySize::Rsa2048).context("cannot make an RSA key")?;
        let private_der = key_pair.as_der().context("cannot encode the private key")?;
        let private_pem = pem("PRIVATE KEY", private_der.as_ref());
        let key = EncodingKey::from_rsa_pem(private_pem.as_bytes())?;
        let public_der = key_pair
            .public_key()
            .as_der()
            .context("cannot encode the public key")?;

        let identity = Self {
            jwks_file: directory.join("jwks.json"),
            public_key_file: directory.join("public-key.pem"),
            token: sign(&key)?,
        };
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
        jwk.common.key_id = Some(KEY_ID.to_owned());
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] })?;
        std::fs::write(&identity.jwks_file, jwks).context("cannot write the key set")?;
        std::fs::write(
            &identity.public_key_file,
            pem("PUBLIC KEY", public_der.as_ref()),
        )
        .context("cannot write the public key")?;
        Ok(identity)
    }
}

fn sign(key: &EncodingKey) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(KEY_ID.to_owned());
    let claims = Claims {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: "user-1",
        scope: SCOPE,
        iat: now.as_secs(),
        exp: (now + TOKEN_LIFETIME).as_secs(),
    };
    Ok(jsonwebtoken::encode(&header, &claims, key)?)
}

/// Text armour (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    // RFC 7468, section 2: 64 characters a line.
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|&byte| char::from(byte)));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    #[test]
    fn both_key_files_verify_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::create(directory.path()).unwrap();
        let jwks = std::fs::read(&identity.jwks_file).unwrap();
        let jwks: JwkSet = serde_json::from_slice(&jwks).unwrap();
        let pem = std::fs::read(&identity.public_key_file).unwrap();
        let keys = [
            DecodingKey::from_jwk(jwks.find(KEY_ID).unwrap()).unwrap(),
            DecodingKey::from_rsa_pem(&pem).unwrap(),
        ];
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        for key in keys {
            let token =
                jsonwebtoken::decode::<serde_json::Value>(&identity.token, &key, &validation)
                    .unwrap();
            assert_eq!(token.claims["scope"], SCOPE);
        }
    }
}
