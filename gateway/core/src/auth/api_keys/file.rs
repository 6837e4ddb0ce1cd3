//! A file of API keys, as written.
//!
//! ```yaml
//! keys:
//!   - id: partner-a
//!     hash: sha256:8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4
//!     scopes: ["users:read"]
//!     expires: 2027-01-31T00:00:00Z
//!     attributes: {tenant: a}
//!     description: the import job of partner A
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ApiKey, ApiKeys, FILE_BYTES_MAX, KEYS_MAX, KeyHash, KeyId};
use crate::config::{Bounds, Problems, Source, decode_data, item, join};
use crate::words::time::Date;

/// Keys and values of one file: room for all keys with a handful of scopes and attributes each.
const BOUNDS: Bounds = Bounds {
    bytes: FILE_BYTES_MAX,
    nodes: 30 * KEYS_MAX,
};

/// Claims that are made of other parts of an entry; `scp` is the other name of `scope`.
const RESERVED: [&str; 3] = ["sub", "scope", "scp"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: KeyId,
    hash: KeyHash,
    /// The `sub` of the key's claims; default its id. Keys that replace each other share it.
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    scopes: Vec<Scope>,
    #[serde(default)]
    expires: Option<Date>,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    description: Option<String>,
}

/// A scope-token of RFC 6749 section 3.3.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Scope(String);

impl TryFrom<String> for Scope {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        if text.is_empty() || !text.bytes().all(is_allowed) {
            return Err(
                "a scope is one word of visible ASCII characters without quotes and backslashes; \
                 write one such as `users:read`",
            );
        }
        Ok(Self(text))
    }
}

#[derive(Default, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
struct Attributes(Map<String, Value>);

impl TryFrom<Map<String, Value>> for Attributes {
    type Error = String;

    fn try_from(attributes: Map<String, Value>) -> Result<Self, Self::Error> {
        match RESERVED.iter().find(|name| attributes.contains_key(**name)) {
            None => Ok(Self(attributes)),
            Some(name) => Err(format!(
                "an attribute cannot be named `{name}`; use `subject` and `scopes` beside \
                 `attributes`, or choose another name"
            )),
        }
    }
}

pub(super) fn parse(source: Source<'_>) -> Result<ApiKeys, Problems> {
    let (file, positions) = decode_data::<KeysFile>(source, BOUNDS)?;
    let mut problems = Problems::new(&source);
    let count = file.keys.len();
    if count > KEYS_MAX {
        let help = "take out those that have expired";
        problems.add(
            &positions,
            "keys",
            format!("{count} keys are more than {KEYS_MAX}"),
            Some(help.into()),
        );
    }
    let mut by_id =
        HashMap::with_capacity_and_hasher(count, foldhash::fast::RandomState::default());
    let mut first_at = HashMap::with_capacity(count);
    for (index, entry) in file.keys.into_iter().enumerate() {
        let id = entry.id.0.clone();
        if let Some(first) = first_at.insert(id.clone(), index) {
            problems.add(
                &positions,
                join(&item("keys", index), "id"),
                format!("the id `{id}` is that of keys[{first}] too"),
                Some("give each key an id of its own; `subject` may be the same".into()),
            );
        }
        by_id.insert(id, entry.into_key());
    }
    problems.into_result()?;
    Ok(ApiKeys {
        generation: 0,
        by_id,
    })
}

impl Entry {
    fn into_key(self) -> ApiKey {
        let Self { id, scopes, .. } = self;
        let mut claims = self.attributes.0;
        let subject = self.subject.unwrap_or_else(|| id.to_string());
        claims.insert("sub".into(), subject.into());
        if !scopes.is_empty() {
            let scopes: Vec<_> = scopes.into_iter().map(|scope| scope.0).collect();
            claims.insert("scope".into(), scopes.join(" ").into());
        }
        ApiKey {
            id,
            claims: Arc::new(claims),
            expires: self.expires.map(|date| date.0),
            description: self.description.map(Into::into),
            hash: self.hash,
        }
    }
}
