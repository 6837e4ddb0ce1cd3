//! `jwt_providers:` who issues tokens, and where their keys are.

use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use jsonwebtoken::Algorithm;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::compile::Checker;
use super::key_sources::KeySource;
use super::revocations::{DocumentSource, RevocationsSpec};
use super::secrets::SecretSpec;
use crate::auth::credential::Place;
use crate::auth::jwt::Provider;
use crate::config::{item, join};
use crate::words::units::{ByteSize, HumanDuration};

/// One provider, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
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
    /// The claim that holds the audience, by its path; default `aud`.
    #[serde(default)]
    pub audience_claim: Option<String>,
    /// What `typ` must be, such as `at+jwt` (RFC 9068); default anything.
    #[serde(default)]
    pub token_type: Option<String>,
    /// Where tokens are looked for, up to 8 places; the first that has one counts. Default
    /// `[authorization]`.
    #[serde(default)]
    pub token_from: Option<Vec<PlaceSpec>>,
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
    /// Tokens that are refused before their time is over; none by default.
    #[serde(default)]
    pub revocations: Option<RevocationsSpec>,
    /// Bytes of a token, 256 B to 64 KiB; default 16 KiB.
    #[serde(default)]
    pub max_token_size: Option<ByteSize>,
}

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037; those that begin with HS go with
/// `secret` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
            id: 0,
            name: name.into(),
            issuer: self.issuer.as_str().into(),
            audiences: self
                .audiences
                .iter()
                .map(|audience| audience.as_str().into())
                .collect(),
            audience_claim: self.audience_claim(&at("audience_claim"), check),
            token_type: self.token_type(&at("token_type"), check),
            places: self.token_places(&at("token_from"), check),
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

    /// Where the deny list is.
    pub(super) fn revocations(
        &self,
        name: &str,
        check: &mut Checker<'_>,
    ) -> Option<DocumentSource> {
        let at = join(&join("jwt_providers", name), "revocations");
        self.revocations
            .as_ref()
            .map(|spec| spec.compile(&at, check))
    }

    fn audience_claim(&self, at: &str, check: &mut Checker<'_>) -> Box<str> {
        let written = self.audience_claim.as_deref().unwrap_or("aud");
        check.not_empty(
            at,
            written,
            "name a claim, such as `client_id`, or remove the key",
        );
        written.into()
    }

    fn token_type(&self, at: &str, check: &mut Checker<'_>) -> Option<Box<str>> {
        let written = self.token_type.as_deref()?;
        check.not_empty(
            at,
            written,
            "write a type such as `at+jwt`, or remove the key",
        );
        let short = written.strip_prefix("application/").unwrap_or(written);
        Some(short.into())
    }

    fn token_places(&self, at: &str, check: &mut Checker<'_>) -> Vec<Place> {
        let Some(written) = &self.token_from else {
            return vec![Place::Authorization];
        };
        if !(1..=PLACES_MAX).contains(&written.len()) {
            let help = format!("list 1 to {PLACES_MAX}, such as `[authorization]`");
            check.problem(at, format!("{} places", written.len()), Some(help));
        }
        let places = written.iter().enumerate();
        let places = places.map(|(index, place)| place.compile(&item(at, index), check));
        places.collect()
    }
}

/// Where a token may be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceSpec {
    /// `Authorization: Bearer TOKEN`.
    Authorization,
    /// A header that holds the token alone.
    Header(String),
    /// A cookie that holds the token alone.
    Cookie(String),
}

/// Places in which a provider's tokens are looked for.
const PLACES_MAX: usize = 8;

impl PlaceSpec {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> Place {
        match self {
            PlaceSpec::Authorization => Place::Authorization,
            PlaceSpec::Header(name) => match name.parse::<HeaderName>() {
                Ok(AUTHORIZATION) => {
                    let help = "write the word `authorization`: its value begins with `Bearer`";
                    check.problem(at, "the header is `authorization`", Some(help.into()));
                    Place::Authorization
                }
                Ok(name) => Place::Header(name),
                Err(_) => {
                    let help = "use letters, digits and `-`, such as `x-id-token`";
                    let message = format!("`{name}` is not a header name");
                    check.problem(at, message, Some(help.into()));
                    Place::Authorization
                }
            },
            PlaceSpec::Cookie(name) => {
                // RFC 6265 section 4.1.1 takes from RFC 2616 what RFC 9110 calls a token.
                if name.parse::<HeaderName>().is_err() {
                    let help = "use letters, digits, `-` and `_`, such as `session`";
                    let message = format!("`{name}` is not a cookie's name");
                    check.problem(at, message, Some(help.into()));
                }
                Place::Cookie(name.as_str().into())
            }
        }
    }
}
