//! A fixed list of addresses, for what no registry knows.

use std::net::SocketAddr;

use super::{Discover, DiscoverError, Found, FoundEndpoint};

/// Addresses that never change while the routes file does not.
#[derive(Debug)]
pub struct StaticList {
    found: Found,
}

impl StaticList {
    /// Takes addresses that are already parsed.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self {
            found: Found::new(addresses.into_iter().map(FoundEndpoint::new)),
        }
    }

    /// Parses `ip:port` and `[ipv6]:port`.
    ///
    /// Names are refused rather than resolved once: an address that changes
    /// behind a name is what the `dns` source watches.
    ///
    /// # Errors
    /// [`StaticListError`] for the first entry that is not an IP address with
    /// a port from 1 to 65535.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, StaticListError> {
        entries
            .into_iter()
            .map(parse_address)
            .collect::<Result<Vec<_>, _>>()
            .map(Self::new)
    }
}

impl Discover for StaticList {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        Ok(self.found.clone())
    }
}

/// An entry that is not an address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{entry}` is not an IP address with a port, such as `10.0.0.1:8080`; for a name use `dns`"
)]
pub struct StaticListError {
    entry: String,
}

fn parse_address(entry: &str) -> Result<SocketAddr, StaticListError> {
    entry
        .parse()
        .ok()
        .filter(|address: &SocketAddr| address.port() != 0)
        .ok_or_else(|| StaticListError {
            entry: entry.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_answers_with_all_its_addresses() {
        let list = StaticList::parse(["127.0.0.1:9002", "[::1]:9001", "127.0.0.1:9002"]).unwrap();
        let found = list.discover().await.unwrap();
        let addresses: Vec<_> = found
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        assert_eq!(addresses, ["127.0.0.1:9002", "[::1]:9001"]);
    }

    #[test]
    fn names_and_missing_ports_are_refused_by_name() {
        for entry in [
            "api:80",
            "10.0.0.1",
            "10.0.0.1:0",
            "::1:80",
            "",
            "10.0.0.1:65536",
        ] {
            let error = StaticList::parse(["10.0.0.1:80", entry]).unwrap_err();
            assert_eq!(error.entry, entry);
            assert!(error.to_string().contains(entry));
        }
    }
}
