//! `limits:` of an upstream.

use serde::Deserialize;

use super::compile::Checker;
use crate::cluster::Limits;
use crate::config::join;

/// How much of the gateway an upstream may hold. Beyond it requests are answered at once with
/// 503 `upstream_overloaded`. Each worker has an equal share, rounded up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamLimitsSpec {
    /// Open connections, idle ones included, 1 to 1,000,000; default 10,000.
    pub connections: Option<u32>,
    /// Requests that wait for a connection to be opened, 1 to 1,000,000; default 2,000.
    pub pending: Option<u32>,
    /// Requests at a time, 1 to 1,000,000; default 10,000.
    pub requests: Option<u32>,
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
