//! `routes:` which request goes where, and who may send it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access_log::RouteLogSpec;
use super::auth::AuthSpec;
use super::compile::{Checker, Names};
use super::load_balancers::{StickySpec, WhenEmpty};
use super::overload::{HedgeSpec, PriorityName};
use super::retries::RetrySpec;
use crate::cluster::HashKey;
use crate::cluster::balance::SubsetChoice;
use crate::config::{TextOr, join};
use crate::plan::{Action, Backends, FixedResponse, Route, Target};
use crate::route::MatchSpec;
use crate::words::units::{ByteSize, HumanDuration};

/// One route, as written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Its name in logs and metrics: letters, digits, `-`, `_` and `.`, at most 64.
    pub name: String,
    /// Which requests are its own.
    pub r#match: MatchSpec,
    /// Who may use it: `none`, or what callers must show. There is no default.
    pub auth: AuthSpec,
    /// From the request's head to the answer's, all tries together, 1 ms to 1 h; default 10 s.
    #[serde(default)]
    pub timeout: Option<HumanDuration>,
    /// Whether to try again.
    #[serde(default)]
    pub retries: RetrySpec,
    /// A second try at another endpoint while the first is slow; default none.
    #[serde(default)]
    pub hedge: Option<HedgeSpec>,
    /// Whose requests are shed first when an upstream is at its limits: `critical`, `high`,
    /// `normal` or `low`; default `normal`.
    #[serde(default)]
    pub priority: PriorityName,
    /// Which of its requests get an access line: `off`, or another share of them; default as in
    /// `access_log.sample`.
    #[serde(default)]
    pub access_log: Option<RouteLogSpec>,
    /// Bytes of a request's body, up to 1024 GiB; default 10 MiB.
    #[serde(default)]
    pub max_request_body: Option<ByteSize>,
    /// Where its requests go. Exactly one of `backends` and `respond`.
    #[serde(default)]
    pub backends: Option<Vec<BackendSpec>>,
    /// The key by which one of several backends is chosen, so that a client stays with the one it
    /// had; default none: each request by itself. Requests without the key are chosen by chance.
    #[serde(default)]
    pub sticky: Option<StickySpec>,
    /// What the gateway answers by itself: `{status: …}`, or `internal_jwks`.
    #[serde(default)]
    pub respond: Option<RespondSpec>,
}

/// What routes leave out.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    /// As in a route, 1 ms to 1 h; default 10 s.
    pub timeout: Option<HumanDuration>,
    /// As in a route; each key stands in for the one that a route leaves out.
    pub retries: RetrySpec,
    /// As in a route, up to 1024 GiB; default 10 MiB.
    pub max_request_body: Option<ByteSize>,
}

/// One of a route's upstreams.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// The upstream's name.
    pub upstream: String,
    /// Its share of the requests, against the sum of all weights, 0 to 1,000,000; default 1.
    #[serde(default)]
    pub weight: Option<u32>,
    /// The attributes, by name, of the endpoints that get its requests, 1 to 8; default all
    /// endpoints.
    #[serde(default)]
    pub subset: Option<BTreeMap<String, String>>,
    /// What becomes of a request while the subset has no endpoint: `fail` with 503, or
    /// `any_endpoint`; default `fail`.
    #[serde(default)]
    pub when_empty: Option<WhenEmpty>,
}

/// An answer of the gateway's own.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<OwnAnswer, FixedSpec>")]
pub enum RespondSpec {
    /// The public keys of the gateway's own tokens, as a JWK set.
    InternalJwks,
    /// Always the same.
    Fixed(FixedSpec),
}

/// The word for an answer that the gateway makes by itself.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnAnswer {
    /// The public keys of the gateway's own tokens, as a JWK set.
    InternalJwks,
}

impl From<TextOr<OwnAnswer, FixedSpec>> for RespondSpec {
    fn from(written: TextOr<OwnAnswer, FixedSpec>) -> Self {
        match written {
            TextOr::Text(OwnAnswer::InternalJwks) => Self::InternalJwks,
            TextOr::Other(spec) => Self::Fixed(spec),
        }
    }
}

/// An answer that is always the same.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedSpec {
    /// 200 to 599.
    pub status: u16,
    /// Default empty.
    #[serde(default)]
    pub body: String,
    /// Default `text/plain; charset=utf-8`.
    #[serde(default)]
    pub content_type: Option<String>,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: u64 = 10 * 1024 * 1024;
const WEIGHT_MAX: u32 = 1_000_000;
/// Backends of one route; the sum of their weights fits 32 bits.
const BACKENDS_MAX: usize = 100;

impl RouteSpec {
    pub(super) fn compile(
        &self,
        index: usize,
        defaults: &Defaults,
        names: &Names<'_>,
        check: &mut Checker<'_>,
    ) -> Route {
        let at = format!("routes[{index}]");
        check.plain_name(join(&at, "name"), &self.name);
        check_timeout(self.timeout, &join(&at, "timeout"), check);
        self.retries.check(&join(&at, "retries"), check);
        let retries = self.retries.or(&defaults.retries);
        let body_bytes_max = self.max_request_body.or(defaults.max_request_body);
        Route {
            name: self.name.as_str().into(),
            template: self.r#match.template().into(),
            auth: self.auth.compile(&join(&at, "auth"), names, check),
            action: self.action(&at, names, check),
            timeout: self.timeout.or(defaults.timeout).map_or(TIMEOUT, |it| it.0),
            per_try_timeout: retries.per_try_timeout.map(|it| it.0),
            retries: retries.compile(),
            hedge: self
                .hedge
                .as_ref()
                .map(|hedge| hedge.compile(&join(&at, "hedge"), check)),
            priority: self.priority.into(),
            body_bytes_max: body_bytes_max.map_or(BODY_BYTES_MAX, |it| it.0),
            // Shared out once all routes are compiled.
            access_log: None,
        }
    }

    fn action(&self, at: &str, names: &Names<'_>, check: &mut Checker<'_>) -> Action {
        match (&self.backends, &self.respond) {
            (Some(backends), None) => {
                let sticky = self.sticky(at, check);
                Action::Forward(forward(backends, at, names, check).sticking_to(sticky))
            }
            (None, Some(RespondSpec::InternalJwks)) => Action::RespondKeys,
            (None, Some(RespondSpec::Fixed(spec))) => Action::Respond(spec.compile(at, check)),
            (both, _) => {
                let message = match both {
                    Some(_) => "`backends` and `respond` exclude each other",
                    None => "neither `backends` nor `respond` is given",
                };
                check.problem(
                    at,
                    message,
                    Some("say one thing to do with the route's requests".into()),
                );
                Action::Forward(Backends::new([]))
            }
        }
    }
}

impl RouteSpec {
    fn sticky(&self, at: &str, check: &mut Checker<'_>) -> Option<HashKey> {
        let is_open = matches!(self.auth, AuthSpec::Open);
        let sticky = self.sticky.as_ref()?;
        sticky.compile(&join(at, "sticky"), is_open, check)
    }
}

impl Defaults {
    pub(super) fn check(&self, check: &mut Checker<'_>) {
        check_timeout(self.timeout, "defaults.timeout", check);
        self.retries.check("defaults.retries", check);
    }
}

/// A time for answers.
pub(super) fn check_timeout(timeout: Option<HumanDuration>, at: &str, check: &mut Checker<'_>) {
    let range = Duration::from_millis(1)..=Duration::from_hours(1);
    check.duration(at, timeout, TIMEOUT, range);
}

fn forward(
    backends: &[BackendSpec],
    at: &str,
    names: &Names<'_>,
    check: &mut Checker<'_>,
) -> Backends {
    let at = join(at, "backends");
    if backends.is_empty() {
        check.problem(
            &at,
            "the list of backends is empty",
            Some("name an upstream, such as `[{upstream: NAME}]`".into()),
        );
    }
    if backends.len() > BACKENDS_MAX {
        check.problem(
            &at,
            format!("{} backends are more than {BACKENDS_MAX}", backends.len()),
            Some("let one upstream have many endpoints instead".into()),
        );
    }
    let mut weighted = Vec::with_capacity(backends.len());
    for (index, backend) in backends.iter().take(BACKENDS_MAX).enumerate() {
        let place = format!("{at}[{index}]");
        let weight = backend.weight.unwrap_or(1);
        check.range(
            join(&place, "weight"),
            u64::from(weight),
            0..=u64::from(WEIGHT_MAX),
        );
        backend.check_when_empty(&place, check);
        let place = join(&place, "upstream");
        let known = names.upstreams.iter().copied();
        if let Some(cluster) = check.name(place, "upstreams", &backend.upstream, known) {
            let target = Target {
                cluster,
                subset: backend.subset(cluster, names),
            };
            weighted.push((target, weight.min(WEIGHT_MAX)));
        }
    }
    let is_unused = |backend: &BackendSpec| backend.weight == Some(0);
    if !backends.is_empty() && backends.iter().all(is_unused) {
        check.problem(
            &at,
            "all weights are 0: no request could be sent",
            Some("give at least one backend a weight from 1".into()),
        );
    }
    Backends::new(weighted)
}

impl BackendSpec {
    fn subset(&self, cluster: usize, names: &Names<'_>) -> Option<SubsetChoice> {
        let index = names.subset(cluster, self.subset.as_ref()?)?;
        let or_any = self.when_empty == Some(WhenEmpty::AnyEndpoint);
        Some(SubsetChoice { index, or_any })
    }
}

impl FixedSpec {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> FixedResponse {
        let at = join(at, "respond");
        check.range(join(&at, "status"), u64::from(self.status), 200..=599);
        // RFC 9110 sections 15.3.5 and 15.4.5.
        if matches!(self.status, 204 | 304) && !self.body.is_empty() {
            check.problem(
                join(&at, "body"),
                format!("an answer of status {} has no body", self.status),
                Some("remove the body, or choose another status".into()),
            );
        }
        let content_type = match &self.content_type {
            None => HeaderValue::from_static("text/plain; charset=utf-8"),
            Some(text) => HeaderValue::from_str(text).unwrap_or_else(|_| {
                let place = join(&at, "content_type");
                check.problem(
                    place,
                    format!("`{text}` is not a header value"),
                    Some("write a media type, such as `application/json`".into()),
                );
                HeaderValue::from_static("text/plain")
            }),
        };
        FixedResponse {
            status: StatusCode::from_u16(self.status).unwrap_or_default(),
            body: Bytes::from(self.body.clone()),
            content_type,
        }
    }
}
