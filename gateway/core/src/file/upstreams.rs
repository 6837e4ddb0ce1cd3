//! `upstreams:` where requests go, and how their endpoints are found.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::endpoints::{self, EndpointSpec};
use super::load_balancers::{Attributes, LoadBalancer, ZoneAware};
use super::sources::{CloudMapSpec, DnsSpec, EndpointSource, FileSpec};
use super::upstream_limits::UpstreamLimitsSpec;
use super::{ConnectionsSpec, HealthCheckSpec, OutlierSpec, identity};
use crate::cluster::PriorityShares;
use crate::config::join;
use crate::plan::Cluster;
use crate::words::units::HumanDuration;

/// One upstream, as written: exactly one of `cloud_map`, `static`, `dns` and `file`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// Instances registered in AWS Cloud Map.
    #[serde(default)]
    pub cloud_map: Option<CloudMapSpec>,
    /// Addresses that never change.
    #[serde(default)]
    pub r#static: Option<Vec<EndpointSpec>>,
    /// Addresses of a name.
    #[serde(default)]
    pub dns: Option<DnsSpec>,
    /// Addresses in a file of their own, which is read again when it changes.
    #[serde(default)]
    pub file: Option<FileSpec>,
    /// How an endpoint is chosen; default `p2c_ewma`.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// Whether endpoints of our own zone are preferred, where zones are known; default false.
    #[serde(default)]
    pub zone_aware: Option<ZoneAware>,
    /// Time in which the share of a new endpoint grows from a tenth to its whole, up to 1 h;
    /// default 0s, at once.
    #[serde(default)]
    pub slow_start: Option<HumanDuration>,
    /// Time to open a connection, 1 ms to 60 s; default 1 s.
    #[serde(default)]
    pub connect_timeout: Option<HumanDuration>,
    /// What is kept open to the endpoints, and when it is given up.
    #[serde(default)]
    pub connections: ConnectionsSpec,
    /// How much of the gateway this upstream may hold.
    #[serde(default)]
    pub limits: UpstreamLimitsSpec,
    /// When an endpoint is left out for its own failures; on unless it says otherwise.
    #[serde(default)]
    pub outlier_detection: OutlierSpec,
    /// Requests of the gateway's own that find out what is healthy; default none.
    #[serde(default)]
    pub health_check: Option<HealthCheckSpec>,
    /// The audience of the tokens that the gateway signs for this upstream, which gets one with
    /// each request; default none. Needs the section `internal_identity`.
    #[serde(default)]
    pub identity: Option<String>,
}

impl UpstreamSpec {
    /// `subsets` are those that routes ask for.
    pub(super) fn compile(
        &self,
        name: &str,
        subsets: Option<&Vec<&Attributes>>,
        check: &mut Checker<'_>,
    ) -> (Cluster, EndpointSource) {
        let at = join("upstreams", name);
        check.plain_name(&at, name);
        let cluster = Cluster {
            name: name.into(),
            balancer: self.balancer(&at, subsets, check),
            connect_timeout: check.duration(
                join(&at, "connect_timeout"),
                self.connect_timeout,
                Duration::from_secs(1),
                Duration::from_millis(1)..=Duration::from_mins(1),
            ),
            connections: self.connections.compile(&at, check),
            limits: self.limits.compile(&at, check),
            adaptive: self.limits.compile_adaptive(&at, check),
            priorities: PriorityShares::default(),
            outliers: self.outlier_detection.compile(&at, check),
            identity: identity::audience(self.identity.as_ref(), &at, check),
        };
        (cluster, self.source(name, &at, check))
    }

    fn source(&self, name: &str, at: &str, check: &mut Checker<'_>) -> EndpointSource {
        match (&self.cloud_map, &self.r#static, &self.dns, &self.file) {
            (Some(spec), None, None, None) => {
                EndpointSource::CloudMap(spec.compile(&join(at, "cloud_map"), check))
            }
            (None, Some(entries), None, None) => {
                let mut problems = |place, message, help| check.problem(place, message, Some(help));
                let at = join(at, "static");
                EndpointSource::Static(endpoints::compile(entries, &at, &mut problems))
            }
            (None, None, Some(spec), None) => {
                EndpointSource::Dns(spec.compile(&join(at, "dns"), check))
            }
            (None, None, None, Some(spec)) => {
                EndpointSource::File(spec.compile(&join(at, "file"), check))
            }
            _ => {
                check.problem(
                    at,
                    format!(
                        "upstream `{name}` needs exactly one of `cloud_map`, `static`, `dns` and `file`"
                    ),
                    Some("say one place where its endpoints are found".into()),
                );
                EndpointSource::Static(Vec::new())
            }
        }
    }
}
