//! `upstreams:` where requests go, and how their endpoints are found.

use std::time::Duration;

use serde::Deserialize;

use super::compile::Checker;
use super::endpoints::{self, EndpointSpec};
use super::identity;
use super::sources::{CloudMapSpec, DnsSpec, EndpointSource, FileSpec};
use crate::cluster::balance::Balancer;
use crate::config::join;
use crate::plan::Cluster;
use crate::words::units::HumanDuration;

/// One upstream, as written: exactly one of `cloud_map`, `static`, `dns` and `file`.
#[derive(Clone, Debug, Deserialize)]
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
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancer: LoadBalancer,
    /// Time to open a connection, 1 ms to 60 s; default 1 s.
    #[serde(default)]
    pub connect_timeout: Option<HumanDuration>,
    /// The audience of the tokens that the gateway signs for this upstream, which gets one with
    /// each request; default none. Needs the section `internal_identity`.
    #[serde(default)]
    pub identity: Option<String>,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancer {
    /// The one with fewer requests in flight of two drawn at random.
    #[default]
    LeastRequest,
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
