//! `limits:` of an upstream.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::load_balancers::Switch;
use crate::cluster::{AdaptiveRules, Limits};
use crate::config::{TextOr, join};
use crate::words::percent::Percent;

/// How much of the gateway an upstream may hold. Beyond it requests are answered at once with
/// 503 `upstream_overloaded`. Each worker has an equal share, rounded up.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamLimitsSpec {
    /// Open connections, idle ones included, 1 to 1,000,000; default 10,000.
    pub connections: Option<u32>,
    /// Requests that wait for a connection to be opened, 1 to 1,000,000; default 2,000.
    pub pending: Option<u32>,
    /// Requests at a time, 1 to 1,000,000; default 10,000.
    pub requests: Option<u32>,
    /// Whether requests at a time are also limited to what the upstream is seen to take: `true`,
    /// `false`, or how; default false. What is beyond is answered with 503 `request_shed`.
    pub adaptive: Option<Adaptive>,
}

/// Whether a limit finds itself: `true`, `false`, or how.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<Switch, AdaptiveSpec>")]
pub struct Adaptive(TextOr<Switch, AdaptiveSpec>);

impl From<TextOr<Switch, AdaptiveSpec>> for Adaptive {
    fn from(written: TextOr<Switch, AdaptiveSpec>) -> Self {
        Self(written)
    }
}

/// How far a limit may move, over all workers of one gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveSpec {
    /// Requests at a time that are always let in, 1 to 1,000,000; default 3.
    pub min: Option<u32>,
    /// Requests at a time that are never exceeded, `min` to 1,000,000; default 1,000, or `min` if
    /// that is more.
    pub max: Option<u32>,
    /// Requests at a time to begin with, `min` to `max`; default 20, or the nearest of those.
    pub initial: Option<u32>,
    /// How much longer than without a queue answers may take before the limit falls, 5% to 100%;
    /// default 25%.
    pub tolerance: Option<Percent>,
}

const LIMIT_MAX: u64 = 1_000_000;

impl UpstreamLimitsSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> Limits {
        let at = join(at, "limits");
        let mut limit = |key: &str, given: Option<u32>, default: u32| {
            let value = given.unwrap_or(default);
            check.range(join(&at, key), u64::from(value), 1..=LIMIT_MAX);
            value
        };
        let defaults = Limits::default();
        Limits {
            connections_max: limit("connections", self.connections, defaults.connections_max),
            pending_max: limit("pending", self.pending, defaults.pending_max),
            requests_max: limit("requests", self.requests, defaults.requests_max),
        }
    }
}

impl UpstreamLimitsSpec {
    pub(super) fn compile_adaptive(
        &self,
        at: &str,
        check: &mut Checker<'_>,
    ) -> Option<AdaptiveRules> {
        match &self.adaptive.as_ref()?.0 {
            TextOr::Text(Switch::Off) => None,
            TextOr::Text(Switch::On) => Some(AdaptiveRules::default()),
            TextOr::Other(spec) => {
                Some(spec.compile(&join(&join(at, "limits"), "adaptive"), check))
            }
        }
    }
}

impl AdaptiveSpec {
    fn compile(&self, at: &str, check: &mut Checker<'_>) -> AdaptiveRules {
        let defaults = AdaptiveRules::default();
        let min = self.min.unwrap_or(defaults.min);
        let max = self.max.unwrap_or(defaults.max.max(min));
        let initial = self.initial.unwrap_or(defaults.initial.min(max).max(min));
        let tolerance = self.tolerance.map_or(defaults.tolerance_percent, |it| it.0);
        check.range(join(at, "min"), min.into(), 1..=LIMIT_MAX);
        if (1..=LIMIT_MAX).contains(&min.into()) {
            check.range(join(at, "max"), max.into(), min.into()..=LIMIT_MAX);
            let most = u64::from(max).clamp(min.into(), LIMIT_MAX);
            check.range(join(at, "initial"), initial.into(), min.into()..=most);
        }
        check.range(join(at, "tolerance"), tolerance.into(), 5..=100);
        AdaptiveRules {
            min,
            max,
            initial,
            tolerance_percent: tolerance,
        }
    }
}
