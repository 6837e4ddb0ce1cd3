//! The keys of a provider: one immutable snapshot, made from a JWK set (RFC 7517) or a secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use super::printable;
use super::signature::{self, Verifier};

/// Entries read from one set, usable or not; the rest is ignored with one reason.
pub const KEYS_MAX: usize = 100;
/// RFC 7518 section 3.3: a key of 2048 bits or larger must be used.
const RSA_BITS_MIN: usize = 2048;
/// The longest modulus that the verifier takes; a signature's cost grows with its square.
const RSA_BITS_MAX: usize = 8192;
/// The longest public exponent that the verifier takes; nearly all are 65537.
const EXPONENT_BITS_MAX: usize = 33;
/// The second coordinates of the points whose order divides 8, in all their spellings (Chalkias,
/// Garillot, Nikolaenko, "Taming the many `EdDSA`s", 2020, table 5): 0, 1, -1, the two of order 8,
/// and the two that are not reduced, p and p + 1.
const SMALL_ORDER: [[u8; 32]; 7] = [
    small(0x00, 0x00, 0x00),
    small(0x01, 0x00, 0x00),
    small(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    small(0xed, 0xff, 0x7f),
    small(0xee, 0xff, 0x7f),
];

/// A number whose bytes in the middle are all alike.
const fn small(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Keys of one id that are kept; more are ignored with a reason.
const KEYS_PER_ID_MAX: usize = 4;
/// Fewer different bytes than these make a secret that somebody typed in haste.
const SECRET_DISTINCT_BYTES_MIN: usize = 8;

/// One key that may verify signatures.
pub struct Key {
    /// The key's id, where it has one.
    pub id: Option<String>,
    /// What this key is called for as long as it stays in the ring: no other key has it before
    /// or after.
    serial: u64,
    /// One for each algorithm that the key may be used with.
    verifiers: Vec<(Algorithm, Verifier)>,
    /// The entry as written, its members in order.
    fingerprint: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl Kind {
    fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Kind::Rsa => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            Kind::P256 => &[Algorithm::ES256],
            Kind::P384 => &[Algorithm::ES384],
            Kind::Ed25519 => &[Algorithm::EdDSA],
        }
    }
}

impl Key {
    /// What checks a signature made with `algorithm`, where this key may.
    #[must_use]
    pub fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        self.verifiers
            .iter()
            .find(|(own, _)| *own == algorithm)
            .map(|(_, verifier)| verifier)
    }

    /// What it may be used with.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// What this key is called while it stays in the ring.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    fn is_same(&self, other: &Self) -> bool {
        // The whole entry, `kid` included.
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.verifiers.iter().map(|(own, _)| own).collect();
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &algorithms)
            .finish_non_exhaustive()
    }
}

/// A snapshot of a provider's keys.
#[derive(Debug, Default)]
pub struct KeyRing {
    generation: u64,
    /// The serial of the next key that comes.
    next_serial: u64,
    keys: Vec<Key>,
    /// Keys of the set that were left out, each with its reason.
    pub ignored: Vec<String>,
}

/// Why a document or secret makes no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// Not JSON, or no `keys` array.
    #[error("not a JWK set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Nothing in it can be used.
    #[error("the JWK set holds no key that can verify signatures{}", list(.0))]
    Empty(Vec<String>),
    /// Somebody could guess it (RFC 7518 section 3.2, RFC 8725 section 3.5).
    #[error("the secret is too weak: {0}")]
    WeakSecret(String),
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
                Ok(key) if count_of_id(&keys, &key) >= KEYS_PER_ID_MAX => {
                    ignored.push(format!(
                        "keys[{index}]: {KEYS_PER_ID_MAX} others have its `kid`"
                    ));
                }
                Ok(key) => keys.push(key),
                Err(reason) => ignored.push(format!("keys[{index}]: {reason}")),
            }
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty(ignored));
        }
        Ok(Self {
            keys,
            ignored,
            ..Self::default()
        })
    }

    /// A ring of one shared secret, for the HMAC algorithms among `algorithms`.
    ///
    /// # Errors
    /// [`KeyRingError::WeakSecret`] when it is shorter than the longest of the algorithms' hashes
    /// (RFC 7518 section 3.2), or plainly not random.
    pub fn from_secret(secret: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeyRingError> {
        let wanted = algorithms
            .iter()
            .filter_map(|&it| signature::hash_bytes(it));
        let length_min = wanted.max().unwrap_or(0);
        if secret.len() < length_min {
            return Err(KeyRingError::WeakSecret(format!(
                "it has {} bytes; use {length_min} random ones or more",
                secret.len()
            )));
        }
        let mut is_seen = [false; 256];
        for byte in secret {
            is_seen[usize::from(*byte)] = true;
        }
        let distinct = is_seen.iter().filter(|is_seen| **is_seen).count();
        if distinct < SECRET_DISTINCT_BYTES_MIN {
            return Err(KeyRingError::WeakSecret(format!(
                "it repeats {distinct} different bytes; use random ones"
            )));
        }
        let verifiers = algorithms
            .iter()
            .filter_map(|&algorithm| Some((algorithm, Verifier::secret(algorithm, secret)?)));
        let key = Key {
            id: None,
            serial: 0,
            verifiers: verifiers.collect(),
            fingerprint: signature::fingerprint(secret),
        };
        Ok(Self {
            keys: vec![key],
            ..Self::default()
        })
    }

    /// The same keys as the successor of `previous`: a key that stays keeps its serial.
    ///
    /// The generation grows only when a key went or came, so that a refresh that changes
    /// nothing keeps every cached token. Order means nothing: the replicas of one provider need
    /// not list their keys alike.
    #[must_use]
    pub fn succeeding(mut self, previous: &KeyRing) -> Self {
        let holds = |key: &Key| self.keys.iter().any(|other| other.is_same(key));
        let same = self.keys.len() == previous.keys.len() && previous.keys.iter().all(holds);
        self.generation = previous.generation + u64::from(!same);
        self.next_serial = previous.next_serial;
        for key in &mut self.keys {
            let known = previous.keys.iter().find(|other| other.is_same(key));
            key.serial = known.map_or(self.next_serial, |known| known.serial);
            self.next_serial += u64::from(known.is_none());
        }
        self
    }

    /// Whether the key of this serial is still there.
    #[must_use]
    pub fn holds(&self, serial: u64) -> bool {
        self.keys.iter().any(|key| key.serial == serial)
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

fn count_of_id(keys: &[Key], key: &Key) -> usize {
    let same = |other: &&Key| key.id.is_some() && other.id == key.id;
    keys.iter().filter(same).count()
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
    let algorithms = kind.algorithms();
    if let Some(only) = only
        && !algorithms.contains(&only)
    {
        return Err(format!("its algorithm `{only:?}` does not fit it"));
    }
    let verifiers = algorithms
        .iter()
        .filter(|&&algorithm| only.is_none_or(|only| only == algorithm))
        .map(|&algorithm| Ok((algorithm, verifier(algorithm, &jwk.algorithm)?)))
        .collect::<Result<_, String>>()?;
    Ok(Key {
        id: jwk.common.key_id,
        serial: 0,
        verifiers,
        fingerprint,
    })
}

/// The key in the verifier's own form; a point that is not on its curve fails here.
fn verifier(algorithm: Algorithm, parameters: &AlgorithmParameters) -> Result<Verifier, String> {
    let parsed = match parameters {
        AlgorithmParameters::RSA(rsa) => {
            Verifier::rsa(algorithm, &bytes("n", &rsa.n)?, &bytes("e", &rsa.e)?)
        }
        AlgorithmParameters::EllipticCurve(curve) => {
            // SEC 1 section 2.3.3: an uncompressed point.
            let point = [vec![4], bytes("x", &curve.x)?, bytes("y", &curve.y)?].concat();
            Verifier::point(algorithm, &point)
        }
        AlgorithmParameters::OctetKeyPair(pair) => {
            Verifier::point(algorithm, &bytes("x", &pair.x)?)
        }
        _ => None,
    };
    parsed.ok_or_else(|| "its numbers make no key".into())
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
            check_order(&bytes("x", &pair.x)?)?;
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

/// With a point of small order as the key, signatures that hold can be made without any secret,
/// over any message (RFC 8032 section 5.1.7 does not ask for more than the equation).
fn check_order(point: &[u8]) -> Result<(), String> {
    let mut y: [u8; 32] = point.try_into().map_err(|_| "it is malformed".to_owned())?;
    // The sign of the other coordinate.
    y[31] &= 0x7f;
    if SMALL_ORDER.contains(&y) {
        return Err("its point has a small order, so anybody could sign".into());
    }
    Ok(())
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
