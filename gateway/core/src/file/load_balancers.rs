//! `load_balancer:`, `zone_aware:` and `slow_start:` how an upstream's endpoints are chosen, and
//! `subset:` and `sticky:` how a route narrows the choice.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::apertures::Aperture;
use super::compile::Checker;
use super::upstreams::UpstreamSpec;
use super::{RouteSpec, routes::BackendSpec};
use crate::cluster::aperture::ApertureRules;
use crate::cluster::balance::{Balancer, ConsistentHash, Policy};
use crate::cluster::{HashKey, Subset, ZonePreference};
use crate::config::{TextOr, item, join};

/// Hundredths of the mean load that an endpoint of `consistent_hash` takes.
const LOAD_PERCENT: u32 = 125;
/// Hundredths of a remote endpoint's load at which a local one is passed over.
const SPILL_PERCENT: u32 = 200;
/// Different subsets of one upstream: each has tables of its own.
const SUBSETS_MAX: usize = 32;
/// Attributes of one subset.
const ATTRIBUTES_MAX: usize = 8;

/// How an endpoint is chosen: a policy by name, or one with options.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<PolicyName, PolicySpec>")]
pub struct LoadBalancer(TextOr<PolicyName, PolicySpec>);

impl From<TextOr<PolicyName, PolicySpec>> for LoadBalancer {
    fn from(written: TextOr<PolicyName, PolicySpec>) -> Self {
        Self(written)
    }
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self(TextOr::Text(PolicyName::default()))
    }
}

/// A policy by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyName {
    /// Of two drawn at random, the one that is expected to answer first: by its recent answers,
    /// its requests in flight and its failures. The default.
    #[default]
    P2cEwma,
    /// Of two drawn at random, the one with fewer requests in flight.
    LeastRequest,
    /// Each in its turn.
    RoundRobin,
}

/// A policy with options: at most one of `policy` and `consistent_hash`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySpec {
    /// The policy by name; default `p2c_ewma`.
    pub policy: Option<PolicyName>,
    /// One endpoint for all requests of one key.
    pub consistent_hash: Option<ConsistentHashSpec>,
    /// Whether each worker uses only a part of a large set of endpoints, as wide as its load asks
    /// for; default true. Not with `consistent_hash`, whose keys have their endpoints anywhere.
    pub aperture: Option<Aperture>,
}

/// One endpoint for all requests of one key: exactly one of `header`, `cookie` and `claim`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistentHashSpec {
    /// The header that holds the key.
    #[serde(default)]
    pub header: Option<String>,
    /// The cookie that holds the key.
    #[serde(default)]
    pub cookie: Option<String>,
    /// The claim that is the key: `sub`.
    #[serde(default)]
    pub claim: Option<ClaimName>,
    /// The load that an endpoint takes before the key's next one is used, in hundredths of the
    /// mean load, 101 to 1,000; default 125.
    #[serde(default)]
    pub max_load_percent: Option<u32>,
}

/// Where a key is: exactly one of `header`, `cookie` and `claim`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickySpec {
    /// The header that holds the key.
    #[serde(default)]
    pub header: Option<String>,
    /// The cookie that holds the key.
    #[serde(default)]
    pub cookie: Option<String>,
    /// The claim that is the key: `sub`.
    #[serde(default)]
    pub claim: Option<ClaimName>,
}

/// A claim that can be a key: the one that is kept of every verified token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimName {
    /// Who the caller is.
    Sub,
}

/// Whether endpoints of our own zone are preferred: a boolean, or how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<Switch, ZoneSpec>")]
pub struct ZoneAware(TextOr<Switch, ZoneSpec>);

impl From<TextOr<Switch, ZoneSpec>> for ZoneAware {
    fn from(written: TextOr<Switch, ZoneSpec>) -> Self {
        Self(written)
    }
}

/// A boolean where a map may stand too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Switch {
    /// Yes.
    #[serde(rename = "true")]
    On,
    /// No.
    #[serde(rename = "false")]
    Off,
}

/// How endpoints of our own zone are preferred.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZoneSpec {
    /// A local endpoint is passed over for a remote one when it has more requests in flight than
    /// this many hundredths of the remote one's, 100 to 1,000; default 200.
    pub spill_at_percent: Option<u32>,
}

/// What becomes of a request while its subset has no endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenEmpty {
    /// It is answered with 503: nothing else stands in for what the file asks for. The default.
    #[default]
    Fail,
    /// Any endpoint of the upstream gets it.
    AnyEndpoint,
}

/// The attributes of a subset, as written.
pub(super) type Attributes = BTreeMap<String, String>;

/// The subsets of each upstream that routes ask for, by the upstreams' names.
pub(super) fn subsets<'r>(
    routes: &'r [RouteSpec],
    check: &mut Checker<'_>,
) -> BTreeMap<&'r str, Vec<&'r Attributes>> {
    let mut subsets: BTreeMap<&str, Vec<&Attributes>> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let at = join(&item("routes", index), "backends");
        for (index, backend) in route.backends.iter().flatten().enumerate() {
            let Some(attributes) = &backend.subset else {
                continue;
            };
            let at = join(&item(&at, index), "subset");
            check_attributes(attributes, &at, check);
            let known = subsets.entry(backend.upstream.as_str()).or_default();
            if known.contains(&attributes) {
                continue;
            }
            if known.len() == SUBSETS_MAX {
                check.problem(
                    at,
                    format!("an upstream has at most {SUBSETS_MAX} different subsets"),
                    Some("make an upstream of its own for some of them".into()),
                );
                continue;
            }
            known.push(attributes);
        }
    }
    subsets
}

fn check_attributes(attributes: &Attributes, at: &str, check: &mut Checker<'_>) {
    if attributes.is_empty() {
        check.problem(
            at,
            "the subset names no attribute",
            Some("name one, such as `{version: v2}`, or remove `subset`".into()),
        );
    }
    if attributes.len() > ATTRIBUTES_MAX {
        check.problem(
            at,
            format!(
                "{} attributes are more than {ATTRIBUTES_MAX}",
                attributes.len()
            ),
            Some("give the instances one attribute that says it all".into()),
        );
    }
}

impl BackendSpec {
    pub(super) fn check_when_empty(&self, at: &str, check: &mut Checker<'_>) {
        if self.when_empty.is_some() && self.subset.is_none() {
            check.problem(
                join(at, "when_empty"),
                "`when_empty` says nothing without `subset`",
                Some("remove it, or name the subset's attributes".into()),
            );
        }
    }
}

impl UpstreamSpec {
    pub(super) fn balancer(
        &self,
        at: &str,
        subsets: Option<&Vec<&Attributes>>,
        check: &mut Checker<'_>,
    ) -> Balancer {
        let (policy, aperture) = self
            .load_balancer
            .compile(&join(at, "load_balancer"), check);
        let zones = self.zone_aware.as_ref();
        let zones = zones.and_then(|zones| zones.compile(&join(at, "zone_aware"), check));
        let slow_start = check.duration(
            join(at, "slow_start"),
            self.slow_start,
            Duration::ZERO,
            Duration::ZERO..=Duration::from_hours(1),
        );
        if matches!(policy, Policy::ConsistentHash(_)) {
            let is_zoned = zones.is_some().then_some("zone_aware");
            let is_slow = (!slow_start.is_zero()).then_some("slow_start");
            for key in [is_zoned, is_slow].into_iter().flatten() {
                check.problem(
                    join(at, key),
                    format!("`{key}` and `consistent_hash` exclude each other"),
                    Some(
                        "remove one: a key's endpoint does not depend on where or how new it is"
                            .into(),
                    ),
                );
            }
        }
        let subsets = subsets.into_iter().flatten().map(|attributes| Subset {
            attributes: (*attributes).clone(),
        });
        Balancer {
            policy,
            zones,
            aperture,
            slow_start: u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX),
            subsets: subsets.collect(),
        }
    }
}

impl LoadBalancer {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> (Policy, Option<ApertureRules>) {
        let spec = match &self.0 {
            TextOr::Text(name) => return (name.policy(), Aperture::compile(None, at, check)),
            TextOr::Other(spec) => spec,
        };
        let Some(consistent_hash) = &spec.consistent_hash else {
            let aperture = Aperture::compile(spec.aperture.as_ref(), at, check);
            return (spec.policy.unwrap_or_default().policy(), aperture);
        };
        spec.check_alone(at, check);
        let policy = consistent_hash.compile(&join(at, "consistent_hash"), check);
        (policy.unwrap_or_default(), None)
    }
}

impl PolicyName {
    fn policy(self) -> Policy {
        match self {
            Self::P2cEwma => Policy::P2cEwma,
            Self::LeastRequest => Policy::LeastRequest,
            Self::RoundRobin => Policy::RoundRobin,
        }
    }
}

impl PolicySpec {
    /// What `consistent_hash` stands for by itself.
    fn check_alone(&self, at: &str, check: &mut Checker<'_>) {
        if self.policy.is_some() {
            check.problem(
                join(at, "policy"),
                "`policy` and `consistent_hash` exclude each other",
                Some("remove one: an upstream has one way to choose".into()),
            );
        }
        if self.aperture.as_ref().is_some_and(Aperture::is_on) {
            check.problem(
                join(at, "aperture"),
                "`aperture` and `consistent_hash` exclude each other",
                Some("remove one: a key's endpoint may be any of the set".into()),
            );
        }
    }
}

impl ConsistentHashSpec {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> Option<Policy> {
        let percent = self.max_load_percent.unwrap_or(LOAD_PERCENT);
        check.range(join(at, "max_load_percent"), percent.into(), 101..=1_000);
        let (header, cookie) = (self.header.as_deref(), self.cookie.as_deref());
        let key = key(header, cookie, self.claim, at, check)?;
        Some(Policy::ConsistentHash(ConsistentHash {
            key,
            load_percent_max: percent,
        }))
    }
}

impl ZoneAware {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> Option<ZonePreference> {
        let percent = match &self.0 {
            TextOr::Text(Switch::Off) => return None,
            TextOr::Text(Switch::On) => SPILL_PERCENT,
            TextOr::Other(spec) => spec.spill_at_percent.unwrap_or(SPILL_PERCENT),
        };
        check.range(join(at, "spill_at_percent"), percent.into(), 100..=1_000);
        Some(ZonePreference {
            spill_at_percent: percent,
        })
    }
}

impl StickySpec {
    /// `is_open` where the route does not ask who its callers are.
    pub(super) fn compile(
        &self,
        at: &str,
        is_open: bool,
        check: &mut Checker<'_>,
    ) -> Option<HashKey> {
        if self.claim.is_some() && is_open {
            check.problem(
                join(at, "claim"),
                "the route has `auth: none`, so that no request has a claim",
                Some("name a header or a cookie, or ask for a token".into()),
            );
        }
        let (header, cookie) = (self.header.as_deref(), self.cookie.as_deref());
        key(header, cookie, self.claim, at, check)
    }
}

fn key(
    header: Option<&str>,
    cookie: Option<&str>,
    claim: Option<ClaimName>,
    at: &str,
    check: &mut Checker<'_>,
) -> Option<HashKey> {
    match (header, cookie, claim) {
        (Some(name), None, None) => {
            let header = name.parse::<HeaderName>();
            if header.is_err() {
                check.problem(
                    join(at, "header"),
                    format!("`{name}` is not a header's name"),
                    Some("write a name such as `x-session-id`".into()),
                );
            }
            header.ok().map(HashKey::Header)
        }
        (None, Some(name), None) => {
            // A cookie's name is a token (RFC 6265 section 4.1.1), as a header's is, but for case.
            if name.parse::<HeaderName>().is_err() {
                check.problem(
                    join(at, "cookie"),
                    format!("`{name}` is not a cookie's name"),
                    Some("write a name such as `session`".into()),
                );
            }
            Some(HashKey::Cookie(name.into()))
        }
        (None, None, Some(ClaimName::Sub)) => Some(HashKey::Subject),
        _ => {
            check.problem(
                at,
                "a key needs exactly one of `header`, `cookie` and `claim`",
                Some("say one place where it is found, such as `{header: x-session-id}`".into()),
            );
            None
        }
    }
}
