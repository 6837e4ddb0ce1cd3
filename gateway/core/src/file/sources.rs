//! Where an upstream's endpoints are found: `cloud_map`, `dns` and `file`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::endpoints::{NO_PORT, PORT_HELP, check_attributes};
use crate::cluster::Instance;
use crate::config::join;
use crate::words::units::HumanDuration;

/// Instances registered in AWS Cloud Map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloudMapSpec {
    /// The namespace's name; Copilot has it in `COPILOT_SERVICE_DISCOVERY_ENDPOINT`.
    pub namespace: String,
    /// The service's name: with Copilot, that of the Copilot service.
    pub service: String,
    /// Only instances that have all these attributes with these values, up to 30; default all
    /// instances.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// A port to connect to in place of the registered one, 1 to 65535; needed where none is
    /// registered.
    #[serde(default)]
    pub port: Option<u16>,
    /// Time between two questions, 1 s to 5 m; default 5 s.
    #[serde(default)]
    pub interval: Option<HumanDuration>,
    /// Time between two looks at the service's revision, which tell of a registration before
    /// the interval has passed, 200 ms to 5 m; default 1 s. As long as `interval` means never.
    #[serde(default)]
    pub revision_interval: Option<HumanDuration>,
    /// A URL in place of AWS's own, for local registries; default AWS, or the SDK's
    /// `AWS_ENDPOINT_URL_SERVICEDISCOVERY`.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Addresses of a name, with a port of the file's or with those of SRV records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsSpec {
    /// A name with A or AAAA records; needs `port`.
    #[serde(default)]
    pub name: Option<String>,
    /// The port, for `name`: 1 to 65535.
    #[serde(default)]
    pub port: Option<u16>,
    /// A name with SRV records, in place of `name` and `port`: `_http._tcp.users.internal`.
    #[serde(default)]
    pub srv: Option<String>,
    /// No name is asked for more often, however short its records live, 1 s to 5 m; default 5 s.
    #[serde(default)]
    pub min_ttl: Option<HumanDuration>,
    /// No name is asked for less often, however long its records live, 1 s to 1 h; default 30 s,
    /// or `min_ttl` where that is longer.
    #[serde(default)]
    pub max_ttl: Option<HumanDuration>,
}

/// Addresses in a file of their own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// The path of a list as that of `static`, YAML or JSON. The file is read again when it
    /// changes; one that is wrong changes nothing.
    pub path: String,
}

/// Where an upstream's endpoints come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointSource {
    /// AWS Cloud Map.
    CloudMap(CloudMap),
    /// The routes file itself.
    Static(Vec<Instance>),
    /// The domain name system.
    Dns(Dns),
    /// A file's path.
    File(String),
}

/// What to ask of AWS Cloud Map, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudMap {
    /// A URL in place of AWS's own.
    pub endpoint: Option<String>,
    /// The namespace's name.
    pub namespace: String,
    /// The service's name.
    pub service: String,
    /// Only instances that have all these.
    pub attributes: BTreeMap<String, String>,
    /// A port in place of the registered one.
    pub port: Option<NonZeroU16>,
    /// Time between two questions.
    pub interval: Duration,
    /// Time between two looks at the revision.
    pub revision_interval: Duration,
}

/// What to ask of the domain name system, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// What to look up.
    pub name: DnsName,
    /// The shortest time between two questions.
    pub min_ttl: Duration,
    /// The longest.
    pub max_ttl: Duration,
}

/// Which records to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsName {
    /// A and AAAA.
    Addresses {
        /// The name, or an IP address.
        name: String,
        /// The port.
        port: NonZeroU16,
    },
    /// SRV, and A and AAAA of their targets.
    Srv(String),
}

impl CloudMapSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> CloudMap {
        let help = "write the namespace's name, such as `${COPILOT_SERVICE_DISCOVERY_ENDPOINT}`";
        check.not_empty(&join(at, "namespace"), &self.namespace, help);
        let help = "write the name of the service in its namespace";
        check.not_empty(&join(at, "service"), &self.service, help);
        let attributes = join(at, "attributes");
        check_attributes(
            &self.attributes,
            &attributes,
            &mut |place, message, help| {
                check.problem(place, message, Some(help));
            },
        );
        if let Some(endpoint) = &self.endpoint {
            check.url(&join(at, "endpoint"), endpoint, "http://127.0.0.1:5000");
        }
        let longest = Duration::from_mins(5);
        CloudMap {
            endpoint: self.endpoint.clone(),
            namespace: self.namespace.clone(),
            service: self.service.clone(),
            attributes: self.attributes.clone(),
            port: self.port.and_then(|port| port_of(port, at, check)),
            interval: check.duration(
                join(at, "interval"),
                self.interval,
                Duration::from_secs(5),
                Duration::from_secs(1)..=longest,
            ),
            revision_interval: check.duration(
                join(at, "revision_interval"),
                self.revision_interval,
                Duration::from_secs(1),
                Duration::from_millis(200)..=longest,
            ),
        }
    }
}

impl DnsSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> Dns {
        let second = Duration::from_secs;
        let min_ttl = check.duration(
            join(at, "min_ttl"),
            self.min_ttl,
            second(5),
            second(1)..=second(300),
        );
        let max_ttl = check.duration(
            join(at, "max_ttl"),
            self.max_ttl,
            second(30).max(min_ttl).min(second(300)),
            second(1)..=second(3600),
        );
        // The default follows `min_ttl`.
        if self.max_ttl.is_some() && max_ttl < min_ttl {
            check.problem(
                join(at, "max_ttl"),
                "`max_ttl` is shorter than `min_ttl`",
                Some("write a longer one, or a shorter `min_ttl`".into()),
            );
        }
        Dns {
            name: self.name(at, check),
            min_ttl,
            max_ttl,
        }
    }

    fn name(&self, at: &str, check: &mut Checker<'_>) -> DnsName {
        if let Some(name) = &self.name {
            let help = "write the name to look up, such as `api.internal`";
            check.not_empty(&join(at, "name"), name, help);
        }
        if let Some(srv) = &self.srv {
            let help = "write the name to look up, such as `_http._tcp.api.internal`";
            check.not_empty(&join(at, "srv"), srv, help);
        }
        match (&self.name, &self.srv, self.port) {
            (Some(name), None, Some(port)) => DnsName::Addresses {
                name: name.clone(),
                // The stand-in is never connected to: the file is refused.
                port: port_of(port, at, check).unwrap_or(NonZeroU16::MIN),
            },
            (None, Some(srv), None) => DnsName::Srv(srv.clone()),
            (name, srv, port) => {
                let message = match (name, srv, port) {
                    (Some(_), None, None) => "`name` needs a `port`",
                    (None, Some(_), Some(_)) => "SRV records have ports of their own",
                    _ => "`dns` needs either `name` or `srv`",
                };
                let help = "write `{name: api.internal, port: 8080}` or \
                            `{srv: _http._tcp.api.internal}`";
                check.problem(at, message, Some(help.into()));
                DnsName::Srv(String::new())
            }
        }
    }
}

impl FileSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> String {
        let help = "write the path of a file with a list of addresses";
        check.not_empty(&join(at, "path"), &self.path, help);
        self.path.clone()
    }
}

fn port_of(port: u16, at: &str, check: &mut Checker<'_>) -> Option<NonZeroU16> {
    let port = NonZeroU16::new(port);
    if port.is_none() {
        check.problem(join(at, "port"), NO_PORT, Some(PORT_HELP.into()));
    }
    port
}
