//! A name's A and AAAA records, with a port from the configuration.
//!
//! Nothing is cached here: the discovery loop's interval takes the place of
//! time to live. That also keeps negative answers from sticking, which Cloud
//! Map's private zones give while a service has no instance yet.
//!
//! Such zones return at most eight records for a name, chosen at random, so a
//! larger service belongs to the `cloud_map` source.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{ResolveHosts, ResolverOpts},
    net::NetError,
    proto::{
        op::Query,
        rr::{Name, Record, RecordType},
    },
};

use super::{Discover, DiscoverError, Found, FoundEndpoint};

const SOURCE_NAME: &str = "dns";

/// Time for one try of one name server.
const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// Tries after the first, to another server where there is one; together they
/// stay within the discovery loop's default limit.
const RETRIES: usize = 1;

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
}

impl DnsResolver {
    /// Uses the system's name servers, search list and hosts file, read once.
    ///
    /// # Errors
    /// `System` when `/etc/resolv.conf` cannot be read or understood.
    pub fn from_system() -> Result<Self, DnsError> {
        let unusable = |error: NetError| DnsError::System {
            cause: error.to_string(),
        };
        let mut builder = TokioResolver::builder_tokio().map_err(unusable)?;
        bound(builder.options_mut());
        let system = System {
            resolver: builder.build().map_err(unusable)?,
            // A machine without a hosts file has no entries.
            hosts: Hosts::from_system().unwrap_or_default(),
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
    pub fn name(&self, name: &str, port: NonZeroU16) -> Result<Dns, DnsError> {
        if let Ok(ip) = name.parse() {
            let target = Target::Address(ip);
            return Ok(Dns { target, port });
        }
        let mut parsed = Name::from_utf8(name)
            .ok()
            .filter(is_host_name)
            .ok_or_else(|| DnsError::Name {
                name: name.to_owned(),
            })?;
        if parsed.num_labels() > 1 {
            parsed.set_fqdn(true);
        }
        let target = Target::Name(Arc::clone(&self.system), parsed);
        Ok(Dns { target, port })
    }
}

impl System {
    async fn addresses(&self, name: &Name) -> Result<Vec<IpAddr>, DiscoverError> {
        let from_hosts: Vec<_> = [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|kind| {
                let query = Query::query(name.clone(), kind);
                self.hosts.lookup_static_host(&query)
            })
            .flat_map(|lookup| addresses_of(lookup.answers()))
            .collect();
        if !from_hosts.is_empty() {
            return Ok(from_hosts);
        }
        let (v4, v6) = tokio::join!(
            self.resolver.lookup(name.clone(), RecordType::A),
            self.resolver.lookup(name.clone(), RecordType::AAAA),
        );
        let answers = [v4, v6].map(|answer| answer.map(|lookup| addresses_of(lookup.answers())));
        combine(answers, name)
    }
}

/// RFC 1123 section 2.1, and underscores, which registries use.
fn is_host_name(name: &Name) -> bool {
    name.num_labels() > 0
        && name
            .iter()
            .flatten()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn addresses_of(records: &[Record]) -> Vec<IpAddr> {
    records
        .iter()
        .filter_map(|record| record.data.ip_addr())
        .collect()
}

fn bound(options: &mut ResolverOpts) {
    options.timeout = TRY_TIMEOUT;
    options.attempts = RETRIES;
    options.cache_size = 0;
    options.positive_max_ttl = Some(Duration::ZERO);
    options.negative_max_ttl = Some(Duration::ZERO);
    // Looked up here, for both families at once.
    options.use_hosts_file = ResolveHosts::Never;
}

/// Joins the two families' answers.
///
/// One family without records is usual. One that fails is not: half an answer
/// would take the other half's endpoints away, so the whole question fails and
/// the last good set stays.
fn combine(
    answers: [Result<Vec<IpAddr>, NetError>; 2],
    name: &Name,
) -> Result<Vec<IpAddr>, DiscoverError> {
    let mut addresses = Vec::new();
    let mut exists = false;
    for answer in answers {
        match answer {
            Ok(found) => {
                exists = true;
                addresses.extend(found);
            }
            Err(error) if error.is_no_records_found() => exists |= !error.is_nx_domain(),
            Err(NetError::Timeout) => {
                return Err(DiscoverError::Timeout { limit: TRY_TIMEOUT });
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
        return Ok(addresses);
    }
    Err(DiscoverError::NotFound {
        what: format!("dns name `{name}`"),
    })
}

/// The endpoints behind one name.
#[derive(Clone, Debug)]
pub struct Dns {
    target: Target,
    port: NonZeroU16,
}

#[derive(Clone, Debug)]
enum Target {
    Address(IpAddr),
    Name(Arc<System>, Name),
}

impl Discover for Dns {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        let addresses = match &self.target {
            Target::Address(ip) => vec![*ip],
            Target::Name(system, name) => system.addresses(name).await?,
        };
        Ok(Found::new(addresses.into_iter().map(|ip| {
            FoundEndpoint::new(SocketAddr::new(ip, self.port.get()))
        })))
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
