//! Who signs the tokens that every request carries: one issuer for each algorithm.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use serde::Serialize;

pub(super) const ISSUER: &str = "https://bench.example/";
pub(super) const AUDIENCE: &str = "api";
pub(super) const SCOPE: &str = "bench:read";

/// The name of the key in the key set and in the token's header.
const KEY_ID: &str = "bench-1";

/// Longer than any sensible run, so that no token expires within one.
const TOKEN_LIFETIME: Duration = Duration::from_hours(24);

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// RSA of 2,048 bits.
    Rs256,
    /// ECDSA on the curve P-256.
    Es256,
    /// A secret that both sides know, with SHA-256: a million of them are signed in seconds.
    Hs256,
}

impl Algorithm {
    /// Its name in a token's header (RFC 7518, section 3.1).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }
}

/// One issuer for each algorithm, so that no peer knows a key that it does not need.
pub(super) struct Identities {
    rs256: Identity,
    es256: Identity,
    hs256: Identity,
}

impl Identities {
    /// Makes new keys and writes what a proxy needs of them to `directory`.
    ///
    /// # Errors
    /// When a key cannot be made or a file cannot be written.
    pub(super) fn create(directory: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            rs256: Identity::create(Algorithm::Rs256, directory)?,
            es256: Identity::create(Algorithm::Es256, directory)?,
            hs256: Identity::create(Algorithm::Hs256, directory)?,
        })
    }

    /// The one that signs with `algorithm`.
    pub(super) fn of(&self, algorithm: Algorithm) -> &Identity {
        match algorithm {
            Algorithm::Rs256 => &self.rs256,
            Algorithm::Es256 => &self.es256,
            Algorithm::Hs256 => &self.hs256,
        }
    }
}

/// The key as files for the proxies, and a token for the client.
pub(super) struct Identity {
    pub(super) algorithm: Algorithm,
    pub(super) key_files: KeyFiles,
    /// A token that every peer must take.
    pub(super) token: String,
    signer: Signer,
}

/// What a proxy verifies tokens with.
pub(super) enum KeyFiles {
    Public {
        /// The public key as a JSON Web Key Set.
        jwks: PathBuf,
        /// The public key as PEM.
        pem: PathBuf,
    },
    /// The secret as text.
    Secret(PathBuf),
}

#[derive(Serialize)]
struct Header {
    typ: &'static str,
    alg: &'static str,
    kid: &'static str,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: &'static str,
    scope: &'static str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

impl Identity {
    fn create(algorithm: Algorithm, directory: &Path) -> anyhow::Result<Self> {
        let (signer, key_files) = match algorithm {
            Algorithm::Hs256 => {
                let secret = new_secret()?;
                let file = directory.join("secret");
                std::fs::write(&file, &secret).context("cannot write the secret")?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                (Signer::Hmac(Box::new(key)), KeyFiles::Secret(file))
            }
            Algorithm::Rs256 => with_public_key(algorithm, Signer::generate_rsa()?, directory)?,
            Algorithm::Es256 => with_public_key(algorithm, Signer::generate_ecdsa()?, directory)?,
        };
        Ok(Self {
            algorithm,
            key_files,
            token: sign(algorithm, &signer, None)?,
            signer,
        })
    }

    /// A token like [`Self::token`] but for its `jti`.
    ///
    /// # Errors
    /// When the clock stands before 1970 or the system has no random numbers.
    pub(super) fn mint(&self, number: usize) -> anyhow::Result<String> {
        sign(self.algorithm, &self.signer, Some(number))
    }
}

/// Writes the public half of a key in both forms.
fn with_public_key(
    algorithm: Algorithm,
    signer: Signer,
    directory: &Path,
) -> anyhow::Result<(Signer, KeyFiles)> {
    let name = algorithm.as_str().to_ascii_lowercase();
    let public_key = pem("PUBLIC KEY", signer.public_der()?.as_ref());
    let key_set = serde_json::to_string(&key_set(algorithm, &public_key)?)?;
    let jwks = directory.join(format!("jwks-{name}.json"));
    let pem = directory.join(format!("public-key-{name}.pem"));
    std::fs::write(&jwks, key_set).context("cannot write the key set")?;
    std::fs::write(&pem, public_key).context("cannot write the public key")?;
    Ok((signer, KeyFiles::Public { jwks, pem }))
}

/// 256 bits in base64.
fn new_secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .context("the system has no random numbers")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A key that signs, parsed once: jsonwebtoken would parse and check it for each token.
enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Hmac(Box<hmac::Key>),
}

impl Signer {
    fn generate_rsa() -> anyhow::Result<Self> {
        RsaKeyPair::generate(KeySize::Rsa2048)
            .map(|key| Self::Rsa(Box::new(key)))
            .context("cannot make an RSA key")
    }

    fn generate_ecdsa() -> anyhow::Result<Self> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Self::Ecdsa)
            .context("cannot make an ECDSA key")
    }

    fn public_der(&self) -> anyhow::Result<PublicKeyX509Der<'static>> {
        let der = match self {
            Self::Rsa(key) => key.public_key().as_der(),
            Self::Ecdsa(key) => key.public_key().as_der(),
            Self::Hmac(_) => bail!("a secret has no public half"),
        };
        der.context("cannot encode the public key")
    }

    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
            }
            Self::Ecdsa(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
        .context("cannot sign a token")
    }
}

fn key_set(algorithm: Algorithm, public_key: &str) -> anyhow::Result<JwkSet> {
    let (key, name) = match algorithm {
        Algorithm::Rs256 => (
            DecodingKey::from_rsa_pem(public_key.as_bytes())?,
            jsonwebtoken::Algorithm::RS256,
        ),
        Algorithm::Es256 => (
            DecodingKey::from_ec_pem(public_key.as_bytes())?,
            jsonwebtoken::Algorithm::ES256,
        ),
        Algorithm::Hs256 => bail!("a secret is in no key set"),
    };
    let mut jwk = Jwk::from_decoding_key(&key, Some(name))?;
    jwk.common.key_id = Some(KEY_ID.to_owned());
    Ok(JwkSet { keys: vec![jwk] })
}

/// The compact form (RFC 7515, section 3.1). `number` tells tokens apart.
fn sign(algorithm: Algorithm, signer: &Signer, number: Option<usize>) -> anyhow::Result<String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    let header = Header {
        typ: "JWT",
        alg: algorithm.as_str(),
        kid: KEY_ID,
    };
    let claims = Claims {
        iss: ISSUER,
        aud: AUDIENCE,
        sub: "user-1",
        scope: SCOPE,
        iat: now.as_secs(),
        exp: (now + TOKEN_LIFETIME).as_secs(),
        jti: number.map(|number| number.to_string()),
    };
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims)?, &mut token);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
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
    use jsonwebtoken::Validation;

    use super::*;

    #[test]
    fn both_key_files_of_each_algorithm_verify_every_token() {
        let directory = tempfile::tempdir().unwrap();
        let identities = Identities::create(directory.path()).unwrap();
        for (algorithm, name, from_pem) in [
            (
                Algorithm::Rs256,
                jsonwebtoken::Algorithm::RS256,
                DecodingKey::from_rsa_pem as fn(&[u8]) -> _,
            ),
            (
                Algorithm::Es256,
                jsonwebtoken::Algorithm::ES256,
                DecodingKey::from_ec_pem,
            ),
        ] {
            let identity = identities.of(algorithm);
            let KeyFiles::Public { jwks, pem } = &identity.key_files else {
                panic!("{algorithm:?} has a secret");
            };
            let jwks = std::fs::read(jwks).unwrap();
            let jwks: JwkSet = serde_json::from_slice(&jwks).unwrap();
            let pem = std::fs::read(pem).unwrap();
            let keys = [
                DecodingKey::from_jwk(jwks.find(KEY_ID).unwrap()).unwrap(),
                from_pem(&pem).unwrap(),
            ];
            let mut validation = Validation::new(name);
            validation.set_issuer(&[ISSUER]);
            validation.set_audience(&[AUDIENCE]);
            for token in [&identity.token, &identity.mint(7).unwrap()] {
                for key in &keys {
                    let token =
                        jsonwebtoken::decode::<serde_json::Value>(token, key, &validation).unwrap();
                    assert_eq!(token.claims["scope"], SCOPE);
                }
            }
        }
    }

    #[test]
    fn secret_verifies_every_token() {
        let directory = tempfile::tempdir().unwrap();
        let identities = Identities::create(directory.path()).unwrap();
        let identity = identities.of(Algorithm::Hs256);
        let KeyFiles::Secret(secret) = &identity.key_files else {
            panic!("there is no secret");
        };
        let key = DecodingKey::from_secret(&std::fs::read(secret).unwrap());
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        for token in [&identity.token, &identity.mint(7).unwrap()] {
            let token = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation);
            assert_eq!(token.unwrap().claims["scope"], SCOPE);
        }
    }

    #[test]
    fn minted_tokens_differ() {
        let directory = tempfile::tempdir().unwrap();
        let identities = Identities::create(directory.path()).unwrap();
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Hs256] {
            let identity = identities.of(algorithm);
            let [first, second] = [1, 2].map(|number| identity.mint(number).unwrap());
            assert_ne!(first, second, "{algorithm:?}");
        }
    }
}
