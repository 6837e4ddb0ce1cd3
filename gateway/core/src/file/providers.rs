//! `jwt_providers:` who issues tokens, and where their keys are.

use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::compile::Checker;
use super::key_sources::KeySource;
use super::secrets::SecretSpec;
use crate::auth::jwt::Provider;
use crate::config::{item, join};
use crate::words::units::{ByteSize, HumanDuration};

/// One provider, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// What `iss` must be, to the letter.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// Which algorithms are accepted; a token's own wish counts for nothing.
    pub algorithms: Vec<AlgorithmName>,
    /// Whether the issuer says by itself where its keys are published: its document at
    /// `ISSUER/.well-known/openid-configuration` names the place (`OpenID` Connect Discovery 1.0
    /// section 4). It is read again every hour, and after keys could not be fetched.
    #[serde(default)]
    pub discovery: bool,
    /// Where the keys are published, instead of `discovery`; fetched in the background.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A file with the keys; read again when it changes.
    #[serde(default)]
    pub jwks_file: Option<String>,
    /// The keys themselves, as a JWK set (RFC 7517 section 5).
    #[serde(default)]
    pub jwks: Option<Value>,
    /// A shared secret; for HS256, HS384 and HS512, and for nothing else.
    #[serde(default)]
    pub secret: Option<SecretSpec>,
    /// Whether keys may come over plain http from another machine; default false. Whoever can
    /// listen in on the way can then sign as he likes.
    #[serde(default)]
    pub allow_http: bool,
    /// By how much clocks may differ, up to 5 m; default 60 s.
    #[serde(default)]
    pub clock_skew: Option<HumanDuration>,
    /// Time between two fetches of the keys where the answer has no `Cache-Control`, 10 s to 1 d;
    /// default 5 m.
    #[serde(default)]
    pub refresh_interval: Option<HumanDuration>,
    /// The least time between two fetches, whatever `Cache-Control` says, 10 s to 1 d; default
    /// 30 s, or `refresh_interval` where that is shorter.
    #[serde(default)]
    pub min_refresh_interval: Option<HumanDuration>,
    /// The longest time between two fetches, whatever `Cache-Control` says, 10 s to 7 d; default
    /// 1 h, or `refresh_interval` where that is longer, and at most half of `max_stale`.
    #[serde(default)]
    pub max_refresh_interval: Option<HumanDuration>,
    /// For how long keys serve that cannot be fetched again, 1 m to 30 d; default 24 h. When it
    /// is over, tokens are refused with `jwt_keys_unavailable`.
    #[serde(default)]
    pub max_stale: Option<HumanDuration>,
    /// For how long a request waits until the keys have been fetched once more for its unknown
    /// `kid`, 500 ms to 30 s; default 5 s.
    #[serde(default)]
    pub unknown_key_wait: Option<HumanDuration>,
    /// Bytes of a token, 256 B to 64 KiB; default 16 KiB.
    #[serde(default)]
    pub max_token_size: Option<ByteSize>,
}

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037; those that begin with HS go with
/// `secret` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "the names are the RFC's")]
pub enum AlgorithmName {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl AlgorithmName {
    /// Whether it signs and verifies with the same secret.
    pub(super) fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::RS256 => Algorithm::RS256,
            AlgorithmName::RS384 => Algorithm::RS384,
            AlgorithmName::RS512 => Algorithm::RS512,
            AlgorithmName::PS256 => Algorithm::PS256,
            AlgorithmName::PS384 => Algorithm::PS384,
            AlgorithmName::PS512 => Algorithm::PS512,
            AlgorithmName::ES256 => Algorithm::ES256,
            AlgorithmName::ES384 => Algorithm::ES384,
            AlgorithmName::EdDSA => Algorithm::EdDSA,
            AlgorithmName::HS256 => Algorithm::HS256,
            AlgorithmName::HS384 => Algorithm::HS384,
            AlgorithmName::HS512 => Algorithm::HS512,
        }
    }
}

impl ProviderSpec {
    pub(super) fn compile(&self, name: &str, check: &mut Checker<'_>) -> (Provider, KeySource) {
        let at = join("jwt_providers", name);
        check.plain_name(&at, name);
        let at = |key: &str| join(&at, key);
        let iss = "write what the tokens have as `iss`, to the letter";
        check.not_empty(&at("issuer"), &self.issuer, iss);
        if self.audiences.is_empty() {
            check.problem(
                at("audiences"),
                "`audiences` is empty: no token would pass",
                Some("name at least one that the tokens have as `aud`, such as `[api]`".into()),
            );
        }
        for (index, audience) in self.audiences.iter().enumerate() {
            let place = item(&at("audiences"), index);
            check.not_empty(&place, audience, "name an audience, or remove this one");
        }
        if self.algorithms.is_empty() {
            check.problem(
                at("algorithms"),
                "`algorithms` is empty: no token would pass",
                Some("name those that the provider signs with, such as `[RS256]`".into()),
            );
        }
        let provider = Provider {
            name: name.into(),
            issuer: self.issuer.as_str().into(),
            audiences: self
                .audiences
                .iter()
                .map(|audience| audience.as_str().into())
                .collect(),
            algorithms: self.algorithms.iter().map(|&name| name.into()).collect(),
            clock_skew_seconds: check
                .duration(
                    at("clock_skew"),
                    self.clock_skew,
                    Duration::from_mins(1),
                    Duration::ZERO..=Duration::from_mins(5),
                )
                .as_secs(),
            token_bytes_max: check.size(
                at("max_token_size"),
                self.max_token_size,
                16 * 1024,
                256..=64 * 1024,
            ),
        };
        let source = self.source(name, check);
        (provider, source)
    }
}
