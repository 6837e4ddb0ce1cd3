//! `dns:` who is asked about the names of upstreams; see `docs/discovery.md`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::address::NameServer;
use super::compile::Checker;
use crate::config::item;
use crate::words::units::HumanDuration;

/// Who is asked about names, as written.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NameServersSpec {
    /// Addresses of name servers, with a port unless it is 53: up to 8. They are asked in place of
    /// those of `/etc/resolv.conf`, whose search list then counts for nothing either; the hosts
    /// file still comes first. Default those of the system.
    pub servers: Vec<NameServer>,
    /// Time for one try of one server, 100 ms to 1.5 s; default 1 s. There are two, and one question has
    /// 3 s in all.
    pub timeout: Option<HumanDuration>,
}

/// Who is asked about names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers {
    /// In place of the system's, where there are any.
    pub addresses: Vec<SocketAddr>,
    /// Time for one try of one of them.
    pub timeout: Duration,
}

const SERVERS_MAX: u64 = 8;
const DNS_PORT: u16 = 53;
const TIMEOUT: Duration = Duration::from_secs(1);
/// Two tries are within the three seconds that discovery gives a question.
const TIMEOUT_MAX: Duration = Duration::from_millis(1_500);

impl NameServersSpec {
    pub(super) fn compile(&self, check: &mut Checker<'_>) -> NameServers {
        let at = "dns.servers";
        let count = self.servers.len() as u64;
        if count > SERVERS_MAX {
            check.problem(
                at,
                format!("{count} name servers are more than are ever asked"),
                Some(format!("write up to {SERVERS_MAX}")),
            );
        }
        for (index, server) in self.servers.iter().enumerate() {
            if server.0.port() == 0 {
                let help = "write the port at which it listens, or none for 53";
                check.problem(
                    item(at, index),
                    "nobody listens at port 0",
                    Some(help.into()),
                );
            }
        }
        NameServers {
            addresses: self.servers.iter().map(|server| server.0).collect(),
            timeout: check.duration(
                "dns.timeout",
                self.timeout,
                TIMEOUT,
                Duration::from_millis(100)..=TIMEOUT_MAX,
            ),
        }
    }
}

impl FromStr for NameServer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let without_port = text.parse::<IpAddr>();
        match without_port {
            Ok(ip) => Ok(Self(SocketAddr::new(ip, DNS_PORT))),
            Err(_) => text.parse().map(Self),
        }
    }
}
