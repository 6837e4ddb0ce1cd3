//! The keys of a provider: one immutable snapshot, made from a JWK set (RFC 7517).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::printable;

/// Entries read from one set, usable or not; the rest is ignored with one reason.
pub const KEYS_MAX: usize = 100;
/// RFC 7518 section 3.3: a key of 2048 bits or larger must be used.
const RSA_BITS_MIN: usize = 2048;
/// The longest modulus that the verifier takes; a signature's cost grows with its square.
const RSA_BITS_MAX: usize = 8192;
/// The longest public exponent that the verifier takes; nearly all are 65537.
const EXPONENT_BITS_MAX: usize = 33;

/// One key that may verify signatures.
#[derive(Clone)]
pub struct Key {
    /// The key's id, where it has one.
    pub id: Option<String>,
    kind: Kind,
    /// Set where the JWK names one algorithm: no other will do then.
    only: Option<Algorithm>,
    decoding: DecodingKey,
    /// The entry as written, its members in order.
    fingerprint: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
    Secret,
}

impl Key {
    /// Whether this key may check a signature made with `algorithm`.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm {
            Algorithm::ES256 => Kind::P256,
            Algorithm::ES384 => Kind::P384,
            Algorithm::EdDSA => Kind::Ed25519,
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Kind::Secret,
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Kind::Rsa,
            _ => return false,
        };
        self.kind == kind && self.only.is_none_or(|only| only == algorithm)
    }

    fn is_same(&self, other: &Self) -> bool {
        // The whole entry, `kid` included.
        self.fingerprint == other.fingerprint
    }

    /// The key in the form the verifier takes.
    #[must_use]
    pub fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A snapshot of a provider's keys.
#[derive(Debug, Default)]
pub struct KeyRing {
    generation: u64,
    keys: Vec<Key>,
    /// Keys of the set that were left out, each with its reason.
    pub ignored: Vec<String>,
}

/// Why a document is no JWK set.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// Not JSON, or no `keys` array.
    #[error("not a JWK set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Nothing in it can be used.
    #[error("the JWK set holds no key that can verify signatures{}", list(.0))]
    Empty(Vec<String>),
    /// RFC 7518 section 3.2: as long as the hash at least.
    #[error(
        "a secret of {bytes} bytes is too weak for {algorithm:?}; use one of {bytes_min} random \
         bytes or more"
    )]
    WeakSecret {
        /// Its length.
        bytes: usize,
        /// The least length.
        bytes_min: usize,
        /// The algorithm that asks for it.
        algorithm: Algorithm,
    },
}

fn list(ignored: &[String]) -> String {
    match ignored {
        [] => String::new(),
        reasons => format!(" ({})", reasons.join("; ")),
    }
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl KeyRing {
    /// Reads a JWK set. Keys that cannot be used are left out and listed in `ignored`.
    ///
    /// # Errors
    /// [`KeyRingError`] when nothing can be used: the caller keeps what it had.
    pub fn from_jwk_set(document: &[u8]) -> Result<Self, KeyRingError> {
        let set: KeySet = serde_json::from_slice(document)?;
        let (mut keys, mut ignored) = (Vec::new(), Vec::new());
        for (index, value) in set.keys.into_iter().enumerate() {
            if index == KEYS_MAX {
                ignored.push(format!(
                    "keys[{index}] and later: more than {KEYS_MAX} keys"
                ));
                break;
            }
            match key(&value) {
                Ok(key) if keys.iter().any(|other: &Key| other.is_same(&key)) => {
                    ignored.push(format!("keys[{index}]: it is there twice"));
                }
                Ok(key) => keys.push(key),
                Err(reason) => ignored.push(format!("keys[{index}]: {reason}")),
            }
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty(ignored));
        }
        Ok(Self {
            generation: 0,
            keys,
            ignored,
        })
    }

    /// A ring of one shared secret for these algorithms, all of them HS256, HS384 or HS512.
    ///
    /// # Errors
    /// [`KeyRingError::WeakSecret`] where it is shorter than an algorithm's hash.
    pub fn from_secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyRingError> {
        for &algorithm in algorithms {
            let bytes_min = match algorithm {
                Algorithm::HS384 => 48,
                Algorithm::HS512 => 64,
                _ => 32,
            };
            if secret.len() < bytes_min {
                return Err(KeyRingError::WeakSecret {
                    bytes: secret.len(),
                    bytes_min,
                    algorithm,
                });
            }
        }
        let key = Key {
            id: None,
            kind: Kind::Secret,
            only: None,
            decoding: DecodingKey::from_secret(secret),
            fingerprint: secret.to_vec(),
        };
        Ok(Self {
            generation: 0,
            keys: vec![key],
            ignored: Vec::new(),
        })
    }

    /// The same keys as the successor of `previous`.
    ///
    /// The generation grows only when a key went or came, so that a refresh that changes
    /// nothing keeps every cached token. Order means nothing: the replicas of one provider need
    /// not list their keys alike.
    #[must_use]
    pub fn succeeding(mut self, previous: &KeyRing) -> Self {
        let holds = |key: &Key| self.keys.iter().any(|other| other.is_same(key));
        let same = self.keys.len() == previous.keys.len() && previous.keys.iter().all(holds);
        self.generation = previous.generation + u64::from(!same);
        self
    }

    /// Grows whenever a key is added or removed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether no set has been read yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}

fn key(value: &Value) -> Result<Key, String> {
    let fingerprint = value.to_string().into_bytes();
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    if !matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    ) {
        return Err("its use is not `sig`".into());
    }
    if let Some(operations) = &jwk.common.key_operations
        && !operations.contains(&KeyOperations::Verify)
    {
        return Err("its operations lack `verify`".into());
    }
    if value.get("d").is_some() {
        return Err("it shows its private half (`d`), so anybody could sign".into());
    }
    let kind = kind(&jwk.algorithm, value)?;
    let only = match text(value, "alg") {
        None => None,
        Some(name) => Some(
            name.parse::<Algorithm>()
                .map_err(|_| format!("its algorithm `{}` is not supported", printable(name)))?,
        ),
    };
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    let key = Key {
        id: jwk.common.key_id,
        kind,
        only,
        decoding,
        fingerprint,
    };
    match key.only {
        Some(only) if !key.fits(only) => Err(format!("its algorithm `{only:?}` does not fit it")),
        _ => Ok(key),
    }
}

/// What a key is good for, if its numbers can make a key at all.
fn kind(parameters: &AlgorithmParameters, entry: &Value) -> Result<Kind, String> {
    match parameters {
        AlgorithmParameters::RSA(rsa) => {
            let bits = bits(&bytes("n", &rsa.n)?);
            if bits < RSA_BITS_MIN {
                return Err(format!(
                    "an RSA key of {bits} bits is weaker than {RSA_BITS_MIN}"
                ));
            }
            if bits > RSA_BITS_MAX {
                return Err(format!(
                    "an RSA key of {bits} bits is longer than {RSA_BITS_MAX}"
                ));
            }
            check_exponent(&bytes("e", &rsa.e)?)?;
            Ok(Kind::Rsa)
        }
        AlgorithmParameters::EllipticCurve(curve) => {
            let (kind, length) = match &curve.curve {
                EllipticCurve::P256 => (Kind::P256, 32),
                EllipticCurve::P384 => (Kind::P384, 48),
                _ => return Err(unsupported(entry)),
            };
            check_length("x", &curve.x, length)?;
            check_length("y", &curve.y, length)?;
            Ok(kind)
        }
        AlgorithmParameters::OctetKeyPair(pair) => {
            if pair.curve != EllipticCurve::Ed25519 {
                return Err(unsupported(entry));
            }
            check_length("x", &pair.x, 32)?;
            Ok(Kind::Ed25519)
        }
        // A shared secret has no place in a published set (RFC 8725 section 3.5).
        AlgorithmParameters::OctetKey(_) => Err("a symmetric key in a public set".into()),
        _ => Err(unsupported(entry)),
    }
}

/// With an exponent of 1 everybody can sign; even ones and large ones make no key that the
/// verifier takes.
fn check_exponent(exponent: &[u8]) -> Result<(), String> {
    let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
    if is_odd && (2..=EXPONENT_BITS_MAX).contains(&bits(exponent)) {
        return Ok(());
    }
    Err(format!(
        "its exponent is not an odd number from 3 with at most {EXPONENT_BITS_MAX} bits"
    ))
}

/// Coordinates have the full length of their curve (RFC 7518 section 6.2.1.2, RFC 8032 section
/// 5.1.5).
fn check_length(member: &str, text: &str, length: usize) -> Result<(), String> {
    let bytes = bytes(member, text)?;
    if bytes.len() != length {
        return Err(format!(
            "its `{member}` has {} bytes, not {length}",
            bytes.len()
        ));
    }
    Ok(())
}

fn bytes(member: &str, text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| format!("its `{member}` is not base64url: {error}"))
}

/// Bits of a number in big-endian bytes, leading zeros not counted.
fn bits(number: &[u8]) -> usize {
    match number.iter().position(|&byte| byte != 0) {
        None => 0,
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
    }
}

/// Why an entry is no key of a type and curve known here.
fn unsupported(entry: &Value) -> String {
    let Some(kind) = text(entry, "kty") else {
        return "it has no key type (`kty`)".into();
    };
    let members: &[&str] = match kind {
        "RSA" => &["n", "e"],
        "EC" => &["crv", "x", "y"],
        "OKP" => &["crv", "x"],
        "oct" => &["k"],
        _ => return format!("its key type `{}` is not supported", printable(kind)),
    };
    match (
        members.iter().find(|member| text(entry, member).is_none()),
        text(entry, "crv"),
    ) {
        (Some(member), _) => format!("its `{member}` is missing, or is not text"),
        (None, Some(curve)) => format!("its curve `{}` is not supported", printable(curve)),
        (None, None) => "it is malformed".into(),
    }
}

fn text<'e>(entry: &'e Value, member: &str) -> Option<&'e str> {
    entry.get(member).and_then(Value::as_str)
}
