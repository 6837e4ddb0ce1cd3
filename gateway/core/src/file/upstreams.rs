//! `upstreams:` where requests go, and how their endpoints are found.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::compile::Checker;
use super::{Address, ConnectionsSpec, identity};
use crate::cluster::balance::Balancer;
use crate::config::{item, join};
use crate::plan::Cluster;
use crate::words::units::HumanDuration;

/// One upstream, as written: exactly one of `cloud_map`, `static` and `dns`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// Instances registered in AWS Cloud Map.
    #[serde(default)]
    pub cloud_map: Option<CloudMapSpec>,
    /// Addresses that never change.
    #[serde(default)]
    pub r#static: Option<Vec<Address>>,
    /// Addresses of a name.
    #[serde(default)]
    pub dns: Option<DnsSpec>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// Time to open a connection, 1 ms to 60 s; default 1 s.
    #[serde(default)]
    pub connect_timeout: Option<HumanDuration>,
    /// What is kept open to the endpoints, and when it is given up.
    #[serde(default)]
    pub connections: ConnectionsSpec,
    /// The audience of the tokens that the gateway signs for this upstream, which gets one with
    /// each request; default none. Needs the section `internal_identity`.
    #[serde(default)]
    pub identity: Option<String>,
}

/// Instances registered in AWS Cloud Map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudMapSpec {
    /// The namespace's name; Copilot has it in `COPILOT_SERVICE_DISCOVERY_ENDPOINT`.
    pub namespace: String,
    /// The service's name: with Copilot, that of the Copilot service.
    pub service: String,
    /// The port of instances that are registered without one.
    #[serde(default)]
    pub port: Option<u16>,
    /// Time between two questions, 1 s to 5 m; default 5 s.
    #[serde(default)]
    pub interval: Option<HumanDuration>,
    /// A URL in place of AWS's own, for local registries; default AWS, or the SDK's
    /// `AWS_ENDPOINT_URL_SERVICEDISCOVERY`.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsSpec {
    /// The name.
    pub name: String,
    /// The port.
    pub port: u16,
    /// Time between two questions, 1 s to 5 m; default 5 s.
    #[serde(default)]
    pub interval: Option<HumanDuration>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancer {
    /// The one with fewer requests in flight of two drawn at random.
    #[default]
    LeastRequest,
}

/// Where an upstream's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointSource {
    /// AWS Cloud Map.
    CloudMap {
        /// What to ask.
        spec: CloudMapSpec,
        /// How often.
        interval: Duration,
    },
    /// The file itself.
    Static(Vec<SocketAddr>),
    /// The domain name system.
    Dns {
        /// What to ask.
        spec: DnsSpec,
        /// How often.
        interval: Duration,
    },
}

impl UpstreamSpec {
    pub(super) fn compile(&self, name: &str, check: &mut Checker<'_>) -> (Cluster, EndpointSource) {
        let at = join("upstreams", name);
        check.plain_name(&at, name);
        let cluster = Cluster {
            name: name.into(),
            balancer: match self.load_balancer {
                LoadBalancer::LeastRequest => Balancer::LeastRequest,
            },
            connect_timeout: check.duration(
                join(&at, "connect_timeout"),
                self.connect_timeout,
                Duration::from_secs(1),
                Duration::from_millis(1)..=Duration::from_mins(1),
            ),
            connections: self.connections.compile(&at, check),
            identity: identity::audience(self.identity.as_ref(), &at, check),
        };
        let source = match (&self.cloud_map, &self.r#static, &self.dns) {
            (Some(spec), None, None) => EndpointSource::CloudMap {
                spec: spec.clone(),
                interval: check_cloud_map(spec, &join(&at, "cloud_map"), check),
            },
            (None, Some(addresses), None) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.0).collect();
                check_addresses(&addresses, &join(&at, "static"), check);
                EndpointSource::Static(addresses)
            }
            (None, None, Some(spec)) => EndpointSource::Dns {
                spec: spec.clone(),
                interval: check_dns(spec, &join(&at, "dns"), check),
            },
            _ => {
                check.problem(
                    at,
                    format!(
                        "upstream `{name}` needs exactly one of `cloud_map`, `static` and `dns`"
                    ),
                    Some("say one place where its endpoints are found".into()),
                );
                EndpointSource::Static(Vec::new())
            }
        };
        (cluster, source)
    }
}

fn check_addresses(addresses: &[SocketAddr], at: &str, check: &mut Checker<'_>) {
    if addresses.is_empty() {
        check.problem(
            at,
            "the list of addresses is empty",
            Some("write at least one, such as `127.0.0.1:9001`".into()),
        );
    }
    let mut seen = HashSet::with_capacity(addresses.len());
    for (index, address) in addresses.iter().enumerate() {
        let place = item(at, index);
        check_port(Some(address.port()), &place, check);
        if !seen.insert(address) {
            check.problem(
                place,
                format!("`{address}` is listed twice"),
                Some("remove one; endpoints have no weight".into()),
            );
        }
    }
}

/// Returns the time between two questions.
fn check_cloud_map(spec: &CloudMapSpec, at: &str, check: &mut Checker<'_>) -> Duration {
    let namespace = "write the namespace's name, such as `${COPILOT_SERVICE_DISCOVERY_ENDPOINT}`";
    check.not_empty(&join(at, "namespace"), &spec.namespace, namespace);
    let service = "write the name of the service in its namespace";
    check.not_empty(&join(at, "service"), &spec.service, service);
    check_port(spec.port, &join(at, "port"), check);
    if let Some(endpoint) = &spec.endpoint {
        check.url(&join(at, "endpoint"), endpoint, "http://127.0.0.1:5000");
    }
    interval(at, spec.interval, check)
}

/// Returns the time between two questions.
fn check_dns(spec: &DnsSpec, at: &str, check: &mut Checker<'_>) -> Duration {
    let help = "write the name to look up, such as `api.internal`";
    check.not_empty(&join(at, "name"), &spec.name, help);
    check_port(Some(spec.port), &join(at, "port"), check);
    interval(at, spec.interval, check)
}

fn check_port(port: Option<u16>, at: &str, check: &mut Checker<'_>) {
    if port == Some(0) {
        check.problem(
            at,
            "port 0 cannot be connected to",
            Some("write the port that the endpoint listens on".into()),
        );
    }
}

fn interval(at: &str, given: Option<HumanDuration>, check: &mut Checker<'_>) -> Duration {
    check.duration(
        join(at, "interval"),
        given,
        Duration::from_secs(5),
        Duration::from_secs(1)..=Duration::from_mins(5),
    )
}
