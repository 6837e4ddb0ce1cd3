//! `health_check:` of an upstream: requests of the gateway's own that find out what is healthy.

use std::time::Duration;

use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use crate::cluster::health::CheckThresholds;
use crate::config::join;
use crate::words::percent::Percent;
use crate::words::units::HumanDuration;

/// Bytes of a path.
const PATH_BYTES_MAX: usize = 1024;
/// Statuses that a list may hold.
const STATUSES_MAX: usize = 16;
/// The shortest time between two checks of an endpoint.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The largest share of the interval by which a wait may differ from it.
const JITTER_PERCENT_MAX: u32 = 50;

/// Active checks, as written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckSpec {
    /// The path that is asked for with GET, query included, such as `/healthz`.
    pub path: String,
    /// The `Host` of the request; default the endpoint's address.
    #[serde(default)]
    pub host: Option<String>,
    /// Time between two checks of an endpoint, 100 ms to 10 m; default 5 s.
    #[serde(default)]
    pub interval: Option<HumanDuration>,
    /// Share of the interval by which a wait may differ from it, 0% to 50%; default 10%.
    #[serde(default)]
    pub jitter: Option<Percent>,
    /// Time for one check, connection included, 10 ms to 1 m and at most the interval; default
    /// 1 s, or the interval if that is shorter.
    #[serde(default)]
    pub timeout: Option<HumanDuration>,
    /// Checks passed in a row that bring an endpoint back, 1 to 100; default 2.
    #[serde(default)]
    pub healthy_threshold: Option<u32>,
    /// Checks failed in a row that leave an endpoint out, 1 to 100; default 3.
    #[serde(default)]
    pub unhealthy_threshold: Option<u32>,
    /// The statuses that pass, up to 16 of 200 to 599; default every 2xx.
    #[serde(default)]
    pub expected_status: Vec<u16>,
}

/// Active checks of one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: PathAndQuery,
    /// The `Host`, where it is not the endpoint's address.
    pub host: Option<http::HeaderValue>,
    /// Time between two checks of an endpoint.
    pub interval: Duration,
    /// By how much of the interval a wait may differ from it.
    pub jitter_percent: u32,
    /// Time for one check.
    pub timeout: Duration,
    /// How many in a row change an endpoint's state.
    pub thresholds: CheckThresholds,
    /// The statuses that pass; empty for every 2xx.
    pub expected_statuses: Vec<u16>,
}

impl HealthCheck {
    /// Whether an answer of this status passes.
    #[must_use]
    pub fn is_expected(&self, status: u16) -> bool {
        if self.expected_statuses.is_empty() {
            return (200..300).contains(&status);
        }
        self.expected_statuses.contains(&status)
    }
}

impl HealthCheckSpec {
    pub(super) fn compile(&self, upstream: &str, check: &mut Checker<'_>) -> HealthCheck {
        let at = join(&join("upstreams", upstream), "health_check");
        let interval = check.duration(
            join(&at, "interval"),
            self.interval,
            Duration::from_secs(5),
            INTERVAL_MIN..=Duration::from_mins(10),
        );
        let longest = interval.clamp(INTERVAL_MIN, Duration::from_mins(1));
        let timeout = check.duration(
            join(&at, "timeout"),
            self.timeout,
            Duration::from_secs(1).min(longest),
            Duration::from_millis(10)..=longest,
        );
        let jitter = self.jitter.map_or(10, |jitter| jitter.0);
        if jitter > JITTER_PERCENT_MAX {
            check.problem(
                join(&at, "jitter"),
                format!("{jitter}% is out of range"),
                Some(format!("write a share from 0% to {JITTER_PERCENT_MAX}%")),
            );
        }
        let mut threshold = |key: &str, given: Option<u32>, default: u32| {
            let value = given.unwrap_or(default);
            check.range(join(&at, key), u64::from(value), 1..=100);
            value
        };
        let thresholds = CheckThresholds {
            healthy: threshold("healthy_threshold", self.healthy_threshold, 2),
            unhealthy: threshold("unhealthy_threshold", self.unhealthy_threshold, 3),
        };
        self.check_statuses(&join(&at, "expected_status"), check);
        HealthCheck {
            path: self.path(&join(&at, "path"), check),
            host: self.host(&join(&at, "host"), check),
            interval,
            jitter_percent: jitter,
            timeout,
            thresholds,
            expected_statuses: self.expected_status.clone(),
        }
    }

    fn path(&self, at: &str, check: &mut Checker<'_>) -> PathAndQuery {
        let path = Some(&self.path)
            .filter(|path| path.starts_with('/') && path.len() <= PATH_BYTES_MAX)
            .and_then(|path| path.parse::<PathAndQuery>().ok());
        path.unwrap_or_else(|| {
            check.problem(
                at,
                format!("`{}` is not a path that can be asked for", self.path),
                Some(format!(
                    "write it from the `/` on, up to {PATH_BYTES_MAX} bytes, such as `/healthz`"
                )),
            );
            PathAndQuery::from_static("/")
        })
    }

    fn host(&self, at: &str, check: &mut Checker<'_>) -> Option<http::HeaderValue> {
        let host = self.host.as_ref()?;
        let is_host = host.parse::<http::uri::Authority>().is_ok() && !host.contains('@');
        if !is_host {
            check.problem(
                at,
                format!("`{host}` is not a host"),
                Some("write a name with or without a port, such as `users.internal`".into()),
            );
        }
        http::HeaderValue::from_str(host).ok()
    }

    fn check_statuses(&self, at: &str, check: &mut Checker<'_>) {
        if self.expected_status.len() > STATUSES_MAX {
            check.problem(
                at,
                format!("{} statuses are too many", self.expected_status.len()),
                Some(format!("name up to {STATUSES_MAX}")),
            );
        }
        for (index, status) in self.expected_status.iter().enumerate() {
            let place = crate::config::item(at, index);
            check.range(place, u64::from(*status), 200..=599);
        }
    }
}
