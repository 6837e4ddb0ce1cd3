//! `jwt_providers:` who issues tokens, and where their keys are.

use std::net::IpAddr;
use std::time::Duration;

use http::HeaderName;
use http::header::AUTHORIZATION;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::compile::Checker;
use super::revocations::{DocumentSource, RevocationsSpec};
use crate::auth::credential::Place;
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
    /// Where the keys are published; fetched in the background.
    #[serde(default)]
    pub jwks_uri: Option<String>,
    /// A file with the keys, instead of `jwks_uri`.
    #[serde(default)]
    pub jwks_file: Option<String>,
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
    /// Time between two fetches of the keys, 10 s to 1 d; default 5 m.
    #[serde(default)]
    pub refresh_interval: Option<HumanDuration>,
    /// Tokens that are refused before their time is over; none by default.
    #[serde(default)]
    pub revocations: Option<RevocationsSpec>,
    /// Bytes of a token, 256 B to 64 KiB; default 16 KiB.
    #[serde(default)]
    pub max_token_size: Option<ByteSize>,
}

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037 with a public key.
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
        }
    }
}

/// Where a provider's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The place.
    pub place: KeyPlace,
    /// Time between two readings.
    pub refresh_interval: Duration,
}

/// A URL or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// Fetched over HTTP.
    Url(String),
    /// Read from disk.
    File(String),
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
            audience_claim: self.audience_claim.as_deref().unwrap_or("aud").into(),
            token_type: self.token_type(&at("token_type"), check),
            places: self.places(&at("token_from"), check),
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
        let source = KeySource {
            place: self.place(name, check),
            refresh_interval: check.duration(
                at("refresh_interval"),
                self.refresh_interval,
                Duration::from_mins(5),
                Duration::from_secs(10)..=Duration::from_hours(24),
            ),
        };
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

    fn places(&self, at: &str, check: &mut Checker<'_>) -> Vec<Place> {
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

    fn place(&self, name: &str, check: &mut Checker<'_>) -> KeyPlace {
        let at = join("jwt_providers", name);
        match (&self.jwks_uri, &self.jwks_file) {
            (Some(uri), None) => {
                check_uri(uri, &join(&at, "jwks_uri"), check);
                KeyPlace::Url(uri.clone())
            }
            (None, Some(file)) => {
                let help = "write the path of a file with a JWK set";
                check.not_empty(&join(&at, "jwks_file"), file, help);
                KeyPlace::File(file.clone())
            }
            (both, _) => {
                let message = match both {
                    Some(_) => "`jwks_uri` and `jwks_file` exclude each other",
                    None => "neither `jwks_uri` nor `jwks_file` is given",
                };
                check.problem(
                    at,
                    message,
                    Some("say one place where the provider's keys are".into()),
                );
                KeyPlace::File(String::new())
            }
        }
    }
}

/// Where a token may be.
#[derive(Clone, Debug, Deserialize)]
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

/// Keys that came over an open wire would let anybody sign.
fn check_uri(uri: &str, at: &str, check: &mut Checker<'_>) {
    let Some(url) = check.url(at, uri, "https://issuer.example/.well-known/jwks.json") else {
        return;
    };
    let host = url.host().unwrap_or_default();
    if url.scheme_str() == Some("http") && !is_loopback(host) {
        check.problem(
            at,
            format!("keys from `{host}` would come over plain http"),
            Some("use https; plain http is for loopback only".into()),
        );
    }
}

/// Where nobody can listen in.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
