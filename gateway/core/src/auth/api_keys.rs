//! API keys: opaque credentials that a file lists, each with an id, scopes and an expiry.
//!
//! A key is `gwk_ID_SECRET`: the id says which entry of the file is meant, and the secret is 48
//! characters of base64url. They hold 256 random bits and 32 bits of a checksum, so that a
//! copying mistake is told from a wrong key, and a scanner of source code from chance.
//!
//! The file holds a SHA-256 of the whole key. Slow hashes are for passwords: they make each guess
//! dear because people choose from a small set. Nobody guesses one of 2^256 random secrets, so
//! that a fast hash gives away as little, and a flood of wrong keys costs the gateway no more than
//! the flood itself.

mod file;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderName;
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::config::{Problems, Source};
use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::{Date, UnixSeconds};

/// What every key begins with, so that people and scanners know one when they see it.
pub const PREFIX: &str = "gwk_";
/// Keys of one file.
pub const KEYS_MAX: usize = 100_000;
/// Bytes of one file.
pub const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes of an id.
pub const ID_BYTES_MAX: usize = 64;
/// Bytes of the random part of a key.
pub const SECRET_BYTES: usize = 32;
/// Bytes of the checksum, the beginning of the SHA-256 of all that stands before it.
const CHECKSUM_BYTES: usize = 4;

/// How keys are read: a list of them, and where clients send them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyList {
    /// Its name in the routes file.
    pub name: Box<str>,
    /// The header that carries a key, and nothing else.
    pub header: HeaderName,
}

/// The SHA-256 of a whole key.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyHash([u8; SHA256_OUTPUT_LEN]);

/// The id of a key: 1 to 64 letters, digits and `-`, the first one no `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyId(Box<str>);

/// Why text is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an id has 1 to {ID_BYTES_MAX} letters, digits and `-`; write one such as `partner-a`")]
pub struct KeyIdError;

/// Why text is no hash. What was written is not shown: it may be the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "this is not `sha256:` and 64 hexadecimal digits; take the entry that `gateway api-key new` \
     prints"
)]
pub struct KeyHashError;

/// One key of the file.
#[derive(Clone)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// What rules on claims and `claims_to_headers` see: the attributes, `sub` and `scope`.
    pub claims: Arc<Map<String, Value>>,
    /// The first second in which it is valid no more.
    pub expires: Option<UnixSeconds>,
    /// Whose it is, for people.
    pub description: Option<Box<str>>,
    hash: KeyHash,
}

/// A snapshot of one file of keys.
#[derive(Clone, Default)]
pub struct ApiKeys {
    generation: u64,
    by_id: HashMap<Box<str>, ApiKey, foldhash::fast::RandomState>,
}

/// A key that was just made: the one moment at which its text is known.
pub struct NewKey {
    /// The whole key, for whoever is to use it.
    pub text: String,
    /// What the file is to hold.
    pub hash: KeyHash,
}

impl ApiKeys {
    /// Reads a file of keys, YAML or JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it; the caller keeps what it had.
    pub fn parse(source: Source<'_>) -> Result<Self, Problems> {
        file::parse(source)
    }

    /// Finds the entry of the key that a client sent.
    ///
    /// The digests are compared in constant time, also for an id that nobody has, so that the
    /// time taken says nothing about a secret and does not set known ids apart.
    ///
    /// # Errors
    /// [`Reason::ApiKeyUnknown`] and [`Reason::ApiKeyExpired`]; the detail never shows the key.
    pub fn find(&self, presented: &[u8], now: UnixSeconds) -> Result<&ApiKey, Rejection> {
        let unknown = |detail| Rejection::with_detail(Reason::ApiKeyUnknown, detail);
        let id = id_of(presented).map_err(|detail| unknown(detail.to_owned()))?;
        let presented = KeyHash::of(presented);
        let entry = self.by_id.get(id);
        let expected = entry.map_or(&KeyHash::NOBODY, |entry| &entry.hash);
        let is_it = verify_slices_are_equal(&expected.0, &presented.0).is_ok();
        let Some(entry) = entry else {
            return Err(unknown(format!("no key has the id `{id}`")));
        };
        if !is_it {
            return Err(unknown(format!("the key `{id}` has another secret")));
        }
        match entry.expires {
            Some(expires) if now >= expires => Err(Rejection::with_detail(
                Reason::ApiKeyExpired,
                format!("the key `{id}` expired at {}", Date(expires)),
            )),
            _ => Ok(entry),
        }
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&ApiKey> {
        self.by_id.get(id.as_str())
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.by_id.values()
    }

    /// How many keys there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is no key at all: every request is refused then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Differs between a snapshot and those it succeeds: what was concluded from an earlier one
    /// holds no more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same keys as the successor of `previous`.
    #[must_use]
    pub fn succeeding(self, previous: &Self) -> Self {
        Self {
            generation: previous.generation + 1,
            ..self
        }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys")
            .field("generation", &self.generation)
            .field("keys", &self.by_id.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl NewKey {
    /// The key of these 32 random bytes, which nobody may know.
    #[must_use]
    pub fn compose(id: &KeyId, random: &[u8; SECRET_BYTES]) -> Self {
        let head = format!("{PREFIX}{id}_");
        let mut secret = random.to_vec();
        secret.extend(checksum(head.as_bytes(), random));
        let text = head + &URL_SAFE_NO_PAD.encode(secret);
        let hash = KeyHash::of(text.as_bytes());
        Self { text, hash }
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").finish_non_exhaustive()
    }
}

/// The id in a key whose form is right, or what is wrong with it.
fn id_of(presented: &[u8]) -> Result<&str, &'static str> {
    let malformed = "it is not of the form gwk_ID_SECRET";
    let text = std::str::from_utf8(presented).map_err(|_| malformed)?;
    let rest = text.strip_prefix(PREFIX).ok_or(malformed)?;
    let (id, secret) = rest.split_once('_').ok_or(malformed)?;
    if !is_id(id) {
        return Err(malformed);
    }
    let mut bytes = [0; SECRET_BYTES + CHECKSUM_BYTES];
    // 36 bytes are 48 characters without padding or bits left over, so that there is one way to
    // write them.
    match URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) {
        Ok(length) if length == bytes.len() => {}
        _ => return Err("its secret is not 48 characters of base64url: a part is missing"),
    }
    let (random, sum) = bytes.split_at(SECRET_BYTES);
    let head = &presented[..=PREFIX.len() + id.len()];
    if checksum(head, random) != sum {
        return Err("its checksum does not fit: a copying mistake");
    }
    Ok(id)
}

fn checksum(head: &[u8], random: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let all = digest(&SHA256, &[head, random].concat());
    let (start, _) = all.as_ref().split_at(CHECKSUM_BYTES);
    start.try_into().expect("it was split at this length")
}

fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
    text.len() <= ID_BYTES_MAX
        && text.bytes().all(is_plain)
        && text.as_bytes().first().is_some_and(is_first)
}

impl KeyId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        if is_id(text) {
            Ok(Self(text.into()))
        } else {
            Err(KeyIdError)
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<Self, KeyIdError> {
        text.parse()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyHash {
    /// Compared with when no key has the id; that nobody knows what hashes to it need not be
    /// relied on.
    const NOBODY: Self = Self([0; SHA256_OUTPUT_LEN]);

    /// The hash of a whole key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let digest = digest(&SHA256, key);
        let bytes = digest.as_ref().try_into();
        Self(bytes.expect("SHA-256 has this length"))
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    /// `sha256:` and the digest in hexadecimal digits or base64url.
    fn from_str(text: &str) -> Result<Self, KeyHashError> {
        let digits = text.strip_prefix("sha256:").ok_or(KeyHashError)?;
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        if digits.len() == 2 * bytes.len() {
            for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
                let digit = |at: usize| char::from(pair[at]).to_digit(16).ok_or(KeyHashError);
                *byte = u8::try_from(digit(0)? << 4 | digit(1)?).map_err(|_| KeyHashError)?;
            }
            return Ok(Self(bytes));
        }
        match URL_SAFE_NO_PAD.decode_slice(digits, &mut bytes) {
            Ok(length) if length == bytes.len() => Ok(Self(bytes)),
            _ => Err(KeyHashError),
        }
    }
}

impl TryFrom<String> for KeyHash {
    type Error = KeyHashError;

    fn try_from(text: String) -> Result<Self, KeyHashError> {
        text.parse()
    }
}

impl fmt::Display for KeyHash {
    /// As a file has it, in hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}
