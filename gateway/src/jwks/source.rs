//! The places of keys. What they have in common, when and how often they are read, is `watch`'s.

use gateway_core::auth::keys::KeyRing;
use gateway_core::file::{KeyPlace, KeySource, SecretEncoding, is_private_way};
use gateway_core::words::time::Millis;
use jsonwebtoken::Algorithm;
use reqwest::Url;
use serde::Deserialize;

use super::error::KeyError;
use super::fetch::Way;
use super::file::{Look, look};
use super::stats::KeyStats;
use crate::fetch::Fetcher;
use crate::files::Fingerprint;

/// An issuer's document is read again after this time, and whenever keys could not be fetched.
const DOCUMENT_INTERVAL: Millis = 3_600_000;

/// What a reading brought.
#[derive(Debug)]
pub(super) enum Reading {
    /// The file is as it was.
    Unchanged,
    New(NewKeys),
}

#[derive(Debug)]
pub(super) struct NewKeys {
    pub(super) ring: KeyRing,
    /// For how long the answer says that it holds.
    pub(super) max_age: Option<Millis>,
    /// What is worth remembering: sets that came over HTTP.
    pub(super) document: Option<Vec<u8>>,
}

impl NewKeys {
    fn local(ring: KeyRing) -> Reading {
        Reading::New(Self {
            ring,
            max_age: None,
            document: None,
        })
    }
}

/// One provider's place of keys.
pub(super) enum Source {
    Url {
        url: String,
        way: Way,
    },
    Discovery(Discovery),
    File(KeyFile),
    /// Those of the routes file or the environment.
    Static,
}

impl Source {
    pub(super) fn new(source: &KeySource, fetcher: &Fetcher) -> Self {
        let way = Way {
            fetcher: fetcher.clone(),
            is_http_allowed: source.allow_http,
        };
        match &source.place {
            KeyPlace::Url(url) => Self::Url {
                url: url.clone(),
                way,
            },
            KeyPlace::Discovery(url) => Self::Discovery(Discovery {
                document_url: url.clone(),
                issuer: source.issuer.clone(),
                way,
                jwks_uri: None,
                due: 0,
                is_failing: false,
            }),
            KeyPlace::File(path) => Self::File(KeyFile::new(path, Content::JwkSet)),
            KeyPlace::SecretFile {
                path,
                encoding,
                algorithms,
            } => {
                let content = Content::Secret(*encoding, algorithms.clone());
                Self::File(KeyFile::new(path, content))
            }
            KeyPlace::Inline(_) | KeyPlace::Secret(..) => Self::Static,
        }
    }

    /// The URL that remembered keys must have come from, where they are worth remembering.
    pub(super) fn url(&self) -> Option<&str> {
        match self {
            Self::Url { url, .. } => Some(url),
            Self::Discovery(discovery) => Some(&discovery.document_url),
            Self::File(_) | Self::Static => None,
        }
    }

    pub(super) async fn read(
        &mut self,
        now: Millis,
        stats: &KeyStats,
    ) -> Result<Reading, KeyError> {
        match self {
            Self::Url { url, way } => fetch_keys(way, url).await,
            Self::Discovery(discovery) => discovery.read(now, stats).await,
            Self::File(file) => file.read().await,
            Self::Static => Ok(Reading::Unchanged),
        }
    }
}

async fn fetch_keys(way: &Way, url: &str) -> Result<Reading, KeyError> {
    let answer = way.get(url).await?;
    let ring = KeyRing::from_jwk_set(&answer.document).map_err(|source| KeyError::Keys {
        place: url.into(),
        source,
    })?;
    Ok(Reading::New(NewKeys {
        ring,
        max_age: answer.max_age,
        document: Some(answer.document),
    }))
}

/// An issuer whose document says where its keys are (`OpenID` Connect Discovery 1.0 section 4).
pub(super) struct Discovery {
    document_url: String,
    issuer: String,
    way: Way,
    /// As the last good document has it.
    jwks_uri: Option<String>,
    /// When the document is to be read again.
    due: Millis,
    is_failing: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Discovery {
    async fn read(&mut self, now: Millis, stats: &KeyStats) -> Result<Reading, KeyError> {
        let mut failure = None;
        if now >= self.due {
            match self.discover().await {
                Ok(jwks_uri) => {
                    stats.count_discovery(super::Outcome::Success);
                    self.jwks_uri = Some(jwks_uri);
                    self.due = now + DOCUMENT_INTERVAL;
                    self.is_failing = false;
                }
                Err(error) => {
                    stats.count_discovery(error.outcome());
                    failure = Some(error);
                }
            }
        }
        let jwks_uri = match (&self.jwks_uri, failure) {
            (None, Some(error)) => return Err(error),
            (Some(jwks_uri), Some(error)) => {
                // The keys may well be where they were.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, jwks_uri, "the issuer's document cannot be read; its last answer stays");
                }
                jwks_uri
            }
            (Some(jwks_uri), None) => jwks_uri,
            (None, None) => unreachable!("the document is due until it has been read"),
        };
        let read = fetch_keys(&self.way, jwks_uri).await;
        if read.is_err() {
            self.due = 0;
        }
        read
    }

    async fn discover(&self) -> Result<String, KeyError> {
        let url = &self.document_url;
        let answer = self.way.get(url).await?;
        let document: Document =
            serde_json::from_slice(&answer.document).map_err(|source| KeyError::Document {
                url: url.clone(),
                source,
            })?;
        // Section 4.3 there: or anybody's document could be passed off as the issuer's.
        if document.issuer != self.issuer {
            return Err(KeyError::Issuer {
                url: url.clone(),
                found: document.issuer.chars().take(200).collect(),
            });
        }
        let is_private = Url::parse(&document.jwks_uri).is_ok_and(|uri| {
            let host = uri.host_str().unwrap_or_default();
            let is_http = matches!(uri.scheme(), "http" | "https");
            is_private_way(uri.scheme(), host) || self.way.is_http_allowed && is_http
        });
        if !is_private {
            return Err(KeyError::Insecure {
                url: url.clone(),
                jwks_uri: document.jwks_uri.chars().take(200).collect(),
            });
        }
        Ok(document.jwks_uri)
    }
}

/// What a file holds.
#[derive(Clone)]
enum Content {
    JwkSet,
    Secret(SecretEncoding, Vec<Algorithm>),
}

/// A file of keys, or of a secret.
pub(super) struct KeyFile {
    path: String,
    content: Content,
    /// Of what was read last, where that was good.
    stamp: Option<Fingerprint>,
}

impl KeyFile {
    fn new(path: &str, content: Content) -> Self {
        Self {
            path: path.into(),
            content,
            stamp: None,
        }
    }

    /// Reads it here and now.
    pub(super) fn read_now(&mut self) -> Result<Reading, KeyError> {
        let seen = look(&self.path, self.stamp);
        self.take(seen)
    }

    async fn read(&mut self) -> Result<Reading, KeyError> {
        let (path, stamp) = (self.path.clone(), self.stamp);
        // A network file system may take its time; this thread has other things to do.
        let seen = tokio::task::spawn_blocking(move || look(&path, stamp)).await;
        self.take(seen.expect("looking at a file does not panic"))
    }

    fn take(&mut self, seen: Result<Look, KeyError>) -> Result<Reading, KeyError> {
        // What is not good is read again.
        let known = self.stamp.take();
        let (bytes, stamp) = match seen? {
            Look::Unchanged => {
                self.stamp = known;
                return Ok(Reading::Unchanged);
            }
            Look::New(bytes, stamp) => (bytes, stamp),
        };
        let keys = |source| KeyError::Keys {
            place: self.path.clone(),
            source,
        };
        let ring = match &self.content {
            Content::JwkSet => KeyRing::from_jwk_set(&bytes).map_err(keys)?,
            Content::Secret(encoding, algorithms) => {
                let secret = encoding.decode(&bytes).map_err(|source| KeyError::Secret {
                    path: self.path.clone(),
                    source,
                })?;
                KeyRing::from_secret(secret.bytes(), algorithms).map_err(keys)?
            }
        };
        self.stamp = stamp;
        Ok(NewKeys::local(ring))
    }
}
