//! What the admin API says at one moment, as far as it is shown. docs/admin.md has the meanings.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Since this program began to ask.
    pub(super) at: Duration,
    pub(super) status: Status,
    pub(super) config: Config,
    pub(super) routes: Routes,
    pub(super) upstreams: Upstreams,
    pub(super) limits: Limits,
    pub(super) refusals: Refusals,
    pub(super) keys: Keys,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    /// Unix seconds of the gateway's.
    pub(super) time: u64,
    pub(super) is_ready: bool,
    pub(super) waiting_for: Vec<String>,
    pub(super) workers: u64,
    pub(super) connections: u64,
    pub(super) connections_refused: u64,
    pub(super) requests_in_flight: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    pub(super) file: String,
    pub(super) reloads: Reloads,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reloads {
    pub(super) generation: u64,
    pub(super) hash: String,
    pub(super) needs_restart: Vec<String>,
    pub(super) applied: u64,
    pub(super) refused: u64,
    pub(super) refused_last: Option<RefusedFile>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RefusedFile {
    pub(super) problems: Vec<Problem>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Problem {
    pub(super) line: Option<u64>,
    pub(super) message: String,
}

/// Answers by class of status, `1xx` to `5xx`.
pub(super) type Answers = BTreeMap<String, u64>;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Latency {
    /// Counts of each bucket by itself; the last has no bound.
    pub(super) buckets: Vec<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Traffic {
    pub(super) answers: Answers,
    pub(super) latency: Latency,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Routes {
    pub(super) bucket_bounds_seconds: Vec<f64>,
    #[serde(rename = "routes")]
    pub(super) matched: Vec<Route>,
    /// Of requests that match no route.
    pub(super) unmatched: Traffic,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) upstreams: Vec<Target>,
    pub(super) traffic: Traffic,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upstreams {
    pub(super) bucket_bounds_seconds: Vec<f64>,
    #[serde(rename = "upstreams")]
    pub(super) all: Vec<Upstream>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) is_answered: bool,
    pub(super) is_panicking: bool,
    pub(super) endpoint_count: u64,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) retries: u64,
    pub(super) retries_denied: u64,
    pub(super) connect_failures: u64,
    pub(super) answers: Answers,
    pub(super) latency: Latency,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) zone: Option<String>,
    pub(super) weight: u64,
    pub(super) health: String,
    pub(super) ejected_for: Option<String>,
    pub(super) ejections: u64,
    pub(super) in_flight: u64,
    pub(super) expected_ms: Option<f64>,
    pub(super) score: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Limits {
    pub(super) upstreams: Vec<Held>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Held {
    pub(super) upstream: String,
    pub(super) requests: Share,
    pub(super) connections: Share,
    pub(super) pending: Share,
    pub(super) adaptive: Option<Adaptive>,
    pub(super) shed: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Share {
    pub(super) now: u64,
    pub(super) max: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Adaptive {
    pub(super) limit: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refusals {
    #[serde(rename = "refusals")]
    pub(super) newest: Vec<Refusal>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refusal {
    /// Unix milliseconds.
    pub(super) time_ms: u64,
    pub(super) reason: String,
    pub(super) status: u64,
    pub(super) route: Option<String>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    pub(super) client: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Keys {
    pub(super) jwt_providers: Vec<Provider>,
    pub(super) api_keys: Vec<KeyList>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) keys: Vec<Key>,
    /// None where they were never read, or do not change.
    pub(super) age_seconds: Option<u64>,
    pub(super) seconds_until_stale: Option<u64>,
    pub(super) revocations: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeyList {
    pub(super) name: String,
    pub(super) keys: u64,
}
