//! `outlier_detection:` of an upstream: when an endpoint is left out for its own failures.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use crate::cluster::health::{OutlierRules, SuccessRateRule};
use crate::config::join;
use crate::words::percent::Percent;
use crate::words::time::Millis;
use crate::words::units::HumanDuration;

/// Bounds of the first ejection.
const EJECTION_MIN: Duration = Duration::from_millis(100);
const EJECTION_MAX: Duration = Duration::from_mins(5);

/// When an endpoint is left out for its own failures, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlierSpec {
    /// Resets, timeouts and invalid answers in a row that eject, 0 to 1000; default 5, 0 never
    /// does. A failed connection ejects at once.
    #[serde(default)]
    pub consecutive_gateway_failures: Option<u32>,
    /// Answers of class 5xx in a row that eject, 0 to 1000; default 0: never, because a route that
    /// always fails would take out one sound endpoint after the other.
    #[serde(default)]
    pub consecutive_5xx: Option<u32>,
    /// The share of good answers below which an endpoint is ejected.
    #[serde(default)]
    pub success_rate: SuccessRateSpec,
    /// The first ejection, 100 ms to 5 m; default 1 s. Each further one doubles it; 10 s of good
    /// time take one doubling back.
    #[serde(default)]
    pub ejection_time: Option<HumanDuration>,
    /// The longest ejection, `ejection_time` to 1 h; default 30 s, or `ejection_time` if that is
    /// longer.
    #[serde(default)]
    pub max_ejection_time: Option<HumanDuration>,
    /// The share of the endpoints that may be ejected at a time, rounded down, of two or more at
    /// least one; default 50%. 0% turns ejection off.
    #[serde(default)]
    pub max_ejected: Option<Percent>,
    /// When a smaller share of the endpoints than this is left, health is ignored and all are
    /// used; default 50%, 0% turns that off.
    #[serde(default)]
    pub panic_threshold: Option<Percent>,
}

/// When too few answers of an endpoint are good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuccessRateSpec {
    /// Below this share of good answers an endpoint is ejected, while at least half of the others
    /// are above; default 80%, 0% turns it off.
    #[serde(default)]
    pub threshold: Option<Percent>,
    /// Fewer requests to an endpoint within the window say nothing, 1 to 1,000,000; default 50.
    #[serde(default)]
    pub min_requests: Option<u32>,
    /// How far back answers count, 1 s to 10 m; default 10 s.
    #[serde(default)]
    pub window: Option<HumanDuration>,
}

impl OutlierSpec {
    pub(super) fn compile(&self, upstream: &str, check: &mut Checker<'_>) -> OutlierRules {
        let at = join(upstream, "outlier_detection");
        let defaults = OutlierRules::default();
        let mut failures = |key: &str, given: Option<u32>, default| {
            let value = given.unwrap_or(default);
            check.range(join(&at, key), u64::from(value), 0..=1000);
            value
        };
        let consecutive_gateway_failures = failures(
            "consecutive_gateway_failures",
            self.consecutive_gateway_failures,
            defaults.consecutive_gateway_failures,
        );
        let consecutive_5xx = failures(
            "consecutive_5xx",
            self.consecutive_5xx,
            defaults.consecutive_5xx,
        );
        let shortest = check.duration(
            join(&at, "ejection_time"),
            self.ejection_time,
            Duration::from_millis(defaults.ejection_ms_min),
            EJECTION_MIN..=EJECTION_MAX,
        );
        let shortest = shortest.clamp(EJECTION_MIN, EJECTION_MAX);
        let longest = check.duration(
            join(&at, "max_ejection_time"),
            self.max_ejection_time,
            Duration::from_millis(defaults.ejection_ms_max).max(shortest),
            shortest..=Duration::from_hours(1),
        );
        let percent = |given: Option<Percent>, default| given.map_or(default, |given| given.0);
        OutlierRules {
            consecutive_gateway_failures,
            consecutive_5xx,
            success_rate: self.success_rate.compile(&at, check),
            ejection_ms_min: millis(shortest),
            ejection_ms_max: millis(longest),
            ejected_percent_max: percent(self.max_ejected, defaults.ejected_percent_max),
            panic_percent: percent(self.panic_threshold, defaults.panic_percent),
        }
    }
}

impl SuccessRateSpec {
    fn compile(&self, outliers: &str, check: &mut Checker<'_>) -> SuccessRateRule {
        let at = join(outliers, "success_rate");
        let defaults = SuccessRateRule::default();
        let requests_min = self.min_requests.map_or(defaults.requests_min, u64::from);
        check.range(join(&at, "min_requests"), requests_min, 1..=1_000_000);
        let window = check.duration(
            join(&at, "window"),
            self.window,
            Duration::from_millis(defaults.window_ms),
            Duration::from_secs(1)..=Duration::from_mins(10),
        );
        SuccessRateRule {
            percent_min: self.threshold.map_or(defaults.percent_min, |it| it.0),
            requests_min,
            window_ms: millis(window),
        }
    }
}

/// What a file may name is far below 64 bits of milliseconds.
fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
