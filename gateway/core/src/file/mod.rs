//! The routes file: what it may say ([`RoutesFile`]), and what it means ([`Compiled`]).
//!
//! Two stages: the first says what the user wrote, the second is all that the proxy sees.

mod access_log;
mod address;
mod admin;
mod apertures;
mod api_keys;
mod auth;
mod bounds;
mod compile;
mod connections;
mod endpoints;
mod health_checks;
mod identity;
mod key_sources;
mod lints;
mod load_balancers;
mod name_servers;
mod named_files;
mod origins;
mod outliers;
mod outline;
mod overload;
mod providers;
mod reference;
mod retries;
mod revocations;
mod routes;
mod schema;
mod secrets;
mod settings;
mod sources;
mod tracing;
mod upgrade;
mod upstream_limits;
mod upstreams;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use access_log::{
    AccessLogFormat, AccessLogOutput, AccessLogSpec, HashSecretSpec, LogSwitch, LoggedErrors,
    QuerySpec, RouteLogSpec, SampleSpec,
};
pub use address::{Address, NameServer, Network};
pub use admin::AdminSpec;
pub use apertures::{Aperture, ApertureSpec};
pub use api_keys::ApiKeysSpec;
pub use auth::{AuthSpec, CallerSpec, Open, RequireSpec};
pub use compile::{Compiled, Report, check, check_included, read};
pub use connections::ConnectionsSpec;
pub use endpoints::{ENDPOINT_FILE_BYTES_MAX, EndpointFile, EndpointMap, EndpointSpec};
pub use health_checks::{HealthCheck, HealthCheckSpec};
pub use identity::InternalIdentitySpec;
pub use key_sources::{KeyPlace, KeySource, is_private_way};
pub use lints::WARNING_CODES;
pub use load_balancers::{
    ClaimName, ConsistentHashSpec, LoadBalancer, PolicyName, PolicySpec, StickySpec, Switch,
    WhenEmpty, ZoneAware, ZoneSpec,
};
pub use name_servers::{NameServers, NameServersSpec};
pub use named_files::{Holds, NamedFile};
pub use outliers::{OutlierSpec, SuccessRateSpec};
pub use outline::{Change, Changes, Outline};
pub use overload::{HedgeSpec, PriorityName};
pub use providers::{AlgorithmName, PlaceSpec, ProviderSpec};
pub use reference::reference;
pub use retries::{BackoffSpec, HoldSpec, RetryCondition, RetrySpec, StatusMethodsSpec};
pub use revocations::{DocumentSource, RevocationsSpec};
pub use routes::{BackendSpec, Defaults, FixedSpec, OwnAnswer, RespondSpec, RouteSpec};
pub use schema::schema;
pub use secrets::{Secret, SecretEncoding, SecretError, SecretPlace, SecretSpec};
pub use settings::{
    ForwardedSpec, Limits, LimitsSpec, ListenerSpec, Settings, ShutdownSpec, ShutdownTimes,
};
pub use sources::{CloudMap, CloudMapSpec, Dns, DnsName, DnsSpec, EndpointSource, FileSpec};
pub use tracing::{
    B3Form, B3Spec, ParentName, SamplingSpec, TraceExport, TraceProtocol, TracingSpec,
};
pub use upgrade::{Upgrade, UpgradeSpec};
pub use upstream_limits::{Adaptive, AdaptiveSpec, UpstreamLimitsSpec};
pub use upstreams::UpstreamSpec;

/// A routes file, as written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutesFile {
    /// The format's version: 1.
    pub version: u32,
    // Taken out before the others are decoded, so that it is empty here.
    /// Other files that are a part of this one, as paths or patterns with `*`, `?` and `[…]`,
    /// relative to the directory of this file. At most 8 deep, 1,000 files, and together within
    /// the bounds of one file.
    #[serde(default)]
    pub include: Vec<String>,
    /// Where clients connect; default `0.0.0.0:8080`.
    #[serde(default)]
    pub listeners: Vec<ListenerSpec>,
    /// Where health, readiness and metrics are served; default `127.0.0.1:9090`.
    #[serde(default)]
    pub admin: AdminSpec,
    /// Worker threads, 1 to 256; default one a core.
    #[serde(default)]
    pub workers: Option<u32>,
    /// One line a request.
    #[serde(default)]
    pub access_log: AccessLogSpec,
    /// Spans of requests, for an OpenTelemetry collector; default none.
    #[serde(default)]
    pub tracing: Option<TracingSpec>,
    /// Bounds on connections and request heads.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// How the process leaves.
    #[serde(default)]
    pub shutdown: ShutdownSpec,
    /// How a new process takes over from a running one; default not at all.
    #[serde(default)]
    pub upgrade: Option<UpgradeSpec>,
    /// Whom to believe about earlier hops.
    #[serde(default)]
    pub forwarded: ForwardedSpec,
    /// A directory in which the providers' keys are remembered, so that a gateway that starts
    /// while a provider is down has them; default none.
    #[serde(default)]
    pub state_directory: Option<String>,
    /// The availability zone that this gateway runs in, such as `eu-west-1a`; default what the
    /// task metadata endpoint of Amazon ECS says. Empty text counts as none.
    #[serde(default)]
    pub zone: Option<String>,
    /// Who is asked about the names of upstreams; default as the system says.
    #[serde(default)]
    pub dns: NameServersSpec,
    /// Who issues tokens, by name.
    #[serde(default)]
    pub jwt_providers: BTreeMap<String, ProviderSpec>,
    /// Who holds which API key, by name.
    #[serde(default)]
    pub api_keys: BTreeMap<String, ApiKeysSpec>,
    /// The gateway's own tokens for upstreams.
    #[serde(default)]
    pub internal_identity: Option<InternalIdentitySpec>,
    /// Where requests go, by name.
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamSpec>,
    /// What routes leave out.
    #[serde(default)]
    pub defaults: Defaults,
    /// Which request goes where, and who may send it.
    pub routes: Vec<RouteSpec>,
}
