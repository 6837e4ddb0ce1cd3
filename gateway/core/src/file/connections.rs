//! `connections:` of an upstream: what is kept open to its endpoints, and when it is given up.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use crate::config::join;
use crate::plan::Connections;
use crate::words::units::HumanDuration;

/// Connections to an upstream's endpoints, as written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsSpec {
    /// Idle connections that a worker keeps to one endpoint, 0 to 10,000; default 128.
    pub idle: Option<u32>,
    /// How long one may stay idle, 10 ms to 1 h; default 50 s, below the 60 s after which most
    /// servers close.
    pub idle_timeout: Option<HumanDuration>,
    /// How old one may become, 1 s to 24 h; default 10 m, so that a fleet that has grown gets its
    /// share.
    pub lifetime: Option<HumanDuration>,
    /// Time in which the upstream's host must acknowledge what it was sent, 1 s to 10 m; default
    /// 20 s (`TCP_USER_TIMEOUT`, RFC 5482).
    pub user_timeout: Option<HumanDuration>,
    /// Silence after which the host is asked whether it is still there, 1 s to 2 h; default 15 s
    /// (`TCP_KEEPIDLE`, RFC 9293 section 3.8.4).
    pub keep_alive: Option<HumanDuration>,
    /// How long the first address of a host is tried alone where it has one of each family,
    /// 10 ms to 2 s; default 250 ms (RFC 8305 section 8).
    pub head_start: Option<HumanDuration>,
}

const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

impl ConnectionsSpec {
    pub(super) fn compile(&self, upstream: &str, check: &mut Checker<'_>) -> Connections {
        let at = |key| join(&join(upstream, "connections"), key);
        let default = Connections::default();
        Connections {
            idle_max: check.count(at("idle"), self.idle, default.idle_max, 0..=10_000),
            idle_timeout: check.duration(
                at("idle_timeout"),
                self.idle_timeout,
                default.idle_timeout,
                Duration::from_millis(10)..=HOUR,
            ),
            lifetime: check.duration(
                at("lifetime"),
                self.lifetime,
                default.lifetime,
                SECOND..=24 * HOUR,
            ),
            user_timeout: check.duration(
                at("user_timeout"),
                self.user_timeout,
                default.user_timeout,
                SECOND..=10 * Duration::from_mins(1),
            ),
            keep_alive: check.duration(
                at("keep_alive"),
                self.keep_alive,
                default.keep_alive,
                SECOND..=2 * HOUR,
            ),
            head_start: check.duration(
                at("head_start"),
                self.head_start,
                default.head_start,
                Duration::from_millis(10)..=2 * SECOND,
            ),
        }
    }
}
