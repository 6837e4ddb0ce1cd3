//! `upstreams:` where requests go, and how their endpoints are found.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::compile::Checker;
use crate::config::join;
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
    pub r#static: Option<Vec<SocketAddr>>,
    /// Addresses of a name.
    #[serde(default)]
    pub dns: Option<DnsSpec>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// Time to open a connection, 1 ms to 60 s; default 1 s.
    #[serde(default)]
    pub connect_timeout: Option<HumanDuration>,
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
        let cluster = Cluster {
            name: name.into(),
            connect_timeout: check.duration(
                join(&at, "connect_timeout"),
                self.connect_timeout,
                Duration::from_secs(1),
                Duration::from_millis(1)..=Duration::from_mins(1),
            ),
        };
        let source = match (&self.cloud_map, &self.r#static, &self.dns) {
            (Some(spec), None, None) => EndpointSource::CloudMap {
                spec: spec.clone(),
                interval: interval(&join(&at, "cloud_map"), spec.interval, check),
            },
            (None, Some(addresses), None) => {
                check_addresses(addresses, &join(&at, "static"), check);
                EndpointSource::Static(addresses.clone())
            }
            (None, None, Some(spec)) => EndpointSource::Dns {
                spec: spec.clone(),
                interval: interval(&join(&at, "dns"), spec.interval, check),
            },
            _ => {
                check.problem(
                    at,
                    format!(
                        "upstream `{name}` needs exactly one of `cloud_map`, `static` and `dns`"
                    ),
                    None,
                );
                EndpointSource::Static(Vec::new())
            }
        };
        (cluster, source)
    }
}

fn check_addresses(addresses: &[SocketAddr], at: &str, check: &mut Checker<'_>) {
    if addresses.is_empty() {
        check.problem(at, "the list of addresses is empty", None);
    }
    for (index, address) in addresses.iter().enumerate() {
        let place = format!("{at}[{index}]");
        if address.port() == 0 {
            check.problem(place, "port 0 cannot be connected to", None);
        } else if addresses[..index].contains(address) {
            check.problem(place, format!("`{address}` is listed twice"), None);
        }
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
