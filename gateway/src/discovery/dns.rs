//! A name's A and AAAA records with a port from the configuration, or its SRV
//! records with ports and weights of their own.
//!
//! Nothing is cached here: the next question is due when the records that were
//! found have lived their time, within bounds. Negative answers have no time to
//! live at all, although Cloud Map's private zones give them one while a
//! service has no instance yet: the loop asks again after its own pause, and
//! keeps the set that worked.
//!
//! Such zones return at most eight records for a name, chosen at random, so a
//! larger service belongs to the `cloud_map` source.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use gateway_core::file::NameServers;
use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RData, Record, RecordType},
    },
};

use super::{Discover, DiscoverError, Found, FoundEndpoint};

const SOURCE_NAME: &str = "dns";

/// Tries after the first, to another server where there is one.
const RETRIES: usize = 1;

/// Targets of SRV records that are looked up; what a name has beyond them, in
/// the order of target and port, is left out.
const MAX_TARGETS: usize = 64;

/// Between which bounds a record's time to live is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    /// No name is asked for more often.
    pub min: Duration,
    /// No name is asked for less often.
    pub max: Duration,
}

/// A resolver, to be made once and shared; cloning is cheap.
///
/// It opens its sockets on the runtime that asks first, so ask from one runtime.
#[derive(Clone, Debug)]
pub struct DnsResolver {
    system: Arc<System>,
}

#[derive(Debug)]
struct System {
    resolver: TokioResolver,
    hosts: Hosts,
    /// Time for one try of one name server.
    try_timeout: Duration,
}

impl DnsResolver {
    /// Asks these name servers, or, where none is named, those of the system with its search list,
    /// read once. The system's hosts file comes first.
    ///
    /// # Errors
    /// `System` when `/etc/resolv.conf` is needed and cannot be read or understood.
    pub fn new(servers: &NameServers) -> Result<Self, DnsError> {
        // A machine without a hosts file has no entries.
        Self::with_hosts(servers, Hosts::from_system().unwrap_or_default())
    }

    fn with_hosts(servers: &NameServers, hosts: Hosts) -> Result<Self, DnsError> {
        let unusable = |error: NetError| DnsError::System {
            cause: error.to_string(),
        };
        let mut builder = if servers.addresses.is_empty() {
            TokioResolver::builder_tokio().map_err(unusable)?
        } else {
            let servers = servers.addresses.iter().map(name_server);
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        bound(builder.options_mut(), servers.timeout);
        let system = System {
            resolver: builder.build().map_err(unusable)?,
            hosts,
            try_timeout: servers.timeout,
        };
        Ok(Self {
            system: Arc::new(system),
        })
    }

    /// A source of the endpoints behind `name`, which may be an IP address.
    ///
    /// A name with a dot is taken as complete; only a single label goes
    /// through the search list.
    ///
    /// # Errors
    /// `Name` when it is not a host name.
    pub fn name(&self, name: &str, port: NonZeroU16, ttl: TtlBounds) -> Result<Dns, DnsError> {
        let target = match name.parse() {
            Ok(ip) => Target::Address(SocketAddr::new(ip, port.get())),
            Err(_) => Target::Name(Arc::clone(&self.system), host_name(name)?, port),
        };
        Ok(Dns { target, ttl })
    }

    /// A source of the endpoints behind the SRV records of `name`, such as
    /// `_http._tcp.users.internal` (RFC 2782).
    ///
    /// # Errors
    /// `Name` when it is not a host name.
    pub fn srv(&self, name: &str, ttl: TtlBounds) -> Result<Dns, DnsError> {
        let target = Target::Srv(Arc::clone(&self.system), host_name(name)?);
        Ok(Dns { target, ttl })
    }
}

/// Asked by UDP, and by TCP where an answer is too long for that (RFC 7766 section 5).
fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    let connections = connections.map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn host_name(name: &str) -> Result<Name, DnsError> {
    let mut parsed = Name::from_utf8(name)
        .ok()
        .filter(is_host_name)
        .ok_or_else(|| DnsError::Name {
            name: name.to_owned(),
        })?;
    if parsed.num_labels() > 1 {
        parsed.set_fqdn(true);
    }
    Ok(parsed)
}

/// What records say, and for how long.
#[derive(Debug)]
struct Lived<T> {
    values: Vec<T>,
    /// The shortest time to live among them; none without records.
    ttl: Option<Duration>,
}

impl<T> Lived<T> {
    /// What `value` finds in the records of an answer; those that lead to them count with their
    /// times too.
    fn of(records: &[Record], value: impl Fn(&RData) -> Option<T>) -> Self {
        Self {
            values: records.iter().filter_map(|it| value(&it.data)).collect(),
            ttl: records
                .iter()
                .map(|it| Duration::from_secs(it.ttl.into()))
                .min(),
        }
    }

    fn extend(&mut self, other: Self) {
        self.values.extend(other.values);
        self.ttl = self.ttl.into_iter().chain(other.ttl).min();
    }
}

/// One SRV record, in the order in which they are looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    priority: u16,
    target: Name,
    port: u16,
    weight: u16,
}

impl System {
    async fn addresses(&self, name: &Name) -> Result<Lived<IpAddr>, DiscoverError> {
        let from_hosts = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| {
                let query = Query::query(name.clone(), kind);
                self.hosts.lookup_static_host(&query)
            })
            .map(|lookup| addresses_of(lookup.answers()))
            .reduce(|mut all, more| {
                all.extend(more);
                all
            });
        if let Some(addresses) = from_hosts.filter(|it| !it.values.is_empty()) {
            return Ok(addresses);
        }
        let (v4, v6) = tokio::join!(
            self.resolver.lookup(name.clone(), RecordType::A),
            self.resolver.lookup(name.clone(), RecordType::AAAA),
        );
        let answers = [v4, v6].map(|answer| answer.map(|lookup| addresses_of(lookup.answers())));
        self.combine(answers, name)
    }

    /// The servers of the lowest priority.
    async fn servers(&self, name: &Name) -> Result<Lived<Server>, DiscoverError> {
        let answer = self.resolver.lookup(name.clone(), RecordType::SRV).await;
        let answer = answer.map(|lookup| Lived::of(lookup.answers(), server));
        let mut servers = self.combine([answer], name)?;
        let lowest = servers.values.iter().map(|it| it.priority).min();
        servers.values.retain(|it| Some(it.priority) == lowest);
        servers.values.sort();
        Ok(servers)
    }

    /// Joins the answers about one name, such as those of both families.
    ///
    /// One family without records is usual. One that fails is not: half an answer
    /// would take the other half's endpoints away, so the whole question fails and
    /// the last good set stays.
    fn combine<T, const N: usize>(
        &self,
        answers: [Result<Lived<T>, NetError>; N],
        name: &Name,
    ) -> Result<Lived<T>, DiscoverError> {
        let mut all = Lived {
            values: Vec::new(),
            ttl: None,
        };
        let mut exists = false;
        for answer in answers {
            match answer {
                Ok(found) => {
                    exists = true;
                    all.extend(found);
                }
                Err(error) if error.is_no_records_found() => exists |= !error.is_nx_domain(),
                Err(NetError::Timeout) => {
                    return Err(DiscoverError::Timeout {
                        limit: self.try_timeout,
                    });
                }
                Err(error) => {
                    return Err(DiscoverError::Outage {
                        source_name: SOURCE_NAME,
                        cause: error.to_string(),
                    });
                }
            }
        }
        if exists {
            return Ok(all);
        }
        Err(DiscoverError::NotFound {
            what: format!("dns name `{name}`"),
        })
    }

    async fn endpoints_of_servers(
        &self,
        name: &Name,
        ttl: TtlBounds,
    ) -> Result<Found, DiscoverError> {
        let servers = self.servers(name).await?;
        let asked = &servers.values[..servers.values.len().min(MAX_TARGETS)];
        let answers = join_all(asked.iter().map(|server| self.addresses(&server.target))).await;
        let (mut endpoints, mut shortest) = (Vec::new(), servers.ttl);
        let mut skipped = servers.values.len() - asked.len();
        for (server, answer) in asked.iter().zip(answers) {
            let addresses = match answer {
                Ok(addresses) => addresses,
                // A record may outlive its target. Any other failure would take
                // away what is there.
                Err(DiscoverError::NotFound { .. }) => {
                    skipped += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            shortest = shortest.into_iter().chain(addresses.ttl).min();
            endpoints.extend(endpoints_of(&addresses.values, server.port).map(|it| {
                let weight = u32::from(server.weight).max(1);
                FoundEndpoint { weight, ..it }
            }));
        }
        if endpoints.is_empty() && skipped > 0 {
            return Err(DiscoverError::NotFound {
                what: format!("every target of dns name `{name}`"),
            });
        }
        let found = Found::new(endpoints).with_skipped(skipped);
        Ok(found.with_lifetime(ttl.clamp(shortest)))
    }
}

impl TtlBounds {
    /// When to ask again: at the earliest where there is nothing yet.
    fn clamp(self, ttl: Option<Duration>) -> Duration {
        ttl.unwrap_or(Duration::ZERO).min(self.max).max(self.min)
    }
}

/// The target `.` says that there is no such service (RFC 2782).
fn server(data: &RData) -> Option<Server> {
    let RData::SRV(srv) = data else { return None };
    (!srv.target.is_root() && srv.port != 0).then(|| Server {
        priority: srv.priority,
        target: srv.target.clone(),
        port: srv.port,
        weight: srv.weight,
    })
}

/// RFC 1123 section 2.1, and underscores, which registries use.
fn is_host_name(name: &Name) -> bool {
    name.num_labels() > 0
        && name
            .iter()
            .flatten()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn addresses_of(records: &[Record]) -> Lived<IpAddr> {
    Lived::of(records, RData::ip_addr)
}

/// What the addresses of one name stand for: one of each family is one host that has both; of
/// more nobody says which belong together, so each is an endpoint.
fn endpoints_of(addresses: &[IpAddr], port: u16) -> impl Iterator<Item = FoundEndpoint> {
    let second = match addresses {
        [first, second] if first.is_ipv4() && second.is_ipv6() => Some(*second),
        _ => None,
    };
    let count = addresses.len() - usize::from(second.is_some());
    addresses[..count].iter().map(move |ip| FoundEndpoint {
        second_address: second.map(|ip| SocketAddr::new(ip, port)),
        ..FoundEndpoint::new(SocketAddr::new(*ip, port))
    })
}

fn bound(options: &mut ResolverOpts, try_timeout: Duration) {
    options.timeout = try_timeout;
    options.attempts = RETRIES;
    // Without a cache times to live are ours to mind.
    options.cache_size = 0;
    options.negative_max_ttl = Some(Duration::ZERO);
    // Looked up here, for both families at once.
    options.use_hosts_file = ResolveHosts::Never;
}

/// The endpoints behind one name.
#[derive(Clone, Debug)]
pub struct Dns {
    target: Target,
    ttl: TtlBounds,
}

#[derive(Clone, Debug)]
enum Target {
    Address(SocketAddr),
    Name(Arc<System>, Name, NonZeroU16),
    Srv(Arc<System>, Name),
}

impl Discover for Dns {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        match &self.target {
            Target::Address(address) => {
                let found = Found::new([FoundEndpoint::new(*address)]);
                Ok(found.with_lifetime(self.ttl.max))
            }
            Target::Name(system, name, port) => {
                let addresses = system.addresses(name).await?;
                let found = Found::new(endpoints_of(&addresses.values, port.get()));
                Ok(found.with_lifetime(self.ttl.clamp(addresses.ttl)))
            }
            Target::Srv(system, name) => system.endpoints_of_servers(name, self.ttl).await,
        }
    }
}

/// Why there is no resolver or no source.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The system's resolver configuration is of no use.
    #[error("no name server is known ({cause}); correct /etc/resolv.conf")]
    System {
        /// What is wrong with it.
        cause: String,
    },
    /// Not a name.
    #[error(
        "`{name}` is not a host name; write one such as `api.internal`, without scheme or port"
    )]
    Name {
        /// What was configured.
        name: String,
    },
}

#[cfg(test)]
mod tests;
