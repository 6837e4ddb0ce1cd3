//! Upstreams: endpoints, their load and health, the choice among them.
//!
//! | file | holds |
//! |---|---|
//! | `balance.rs` | the choice of an endpoint |
//! | `retry.rs` | whether a failed try may be made again |

pub mod balance;
pub mod retry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::words::time::Millis;

/// The first ejection after a failed connection; each further one doubles it.
const EJECTION_MS_MIN: Millis = 1_000;
/// No ejection lasts longer.
const EJECTION_MS_MAX: Millis = 30_000;

/// One address that serves an upstream, with its load and health.
///
/// It lives as long as its address stays in the set, across discovery and reload, so that
/// load, health and pooled connections survive a change around it.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its availability zone, where discovery knows it.
    pub zone: Option<Arc<str>>,
    /// Its address as the access log shows it.
    pub label: Box<str>,
    in_flight: AtomicU32,
    connect_failures: AtomicU32,
    ejected_until: AtomicU64,
}

impl Endpoint {
    /// An idle, healthy endpoint.
    #[must_use]
    pub fn new(address: SocketAddr, zone: Option<Arc<str>>) -> Self {
        Self {
            address,
            zone,
            label: address.to_string().into(),
            in_flight: AtomicU32::new(0),
            connect_failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
        }
    }

    /// Requests under way to it, from all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it is left out because it could not be reached.
    #[must_use]
    pub fn is_ejected(&self, now: Millis) -> bool {
        self.ejected_until.load(Ordering::Relaxed) > now
    }

    /// Records that no connection could be opened: the endpoint is left out at once, for
    /// 1 s doubling up to 30 s.
    pub fn connect_failed(&self, now: Millis) {
        // Failures of the same moment are one event, whichever workers saw it.
        if self.is_ejected(now) {
            return;
        }
        let failures = self.connect_failures.fetch_add(1, Ordering::Relaxed);
        let ejection = (EJECTION_MS_MIN << failures.min(10)).min(EJECTION_MS_MAX);
        self.ejected_until.store(now + ejection, Ordering::Relaxed);
    }

    /// Records that it answered.
    pub fn answered(&self) {
        // A load is cheaper than a store to a line that the other workers read.
        if self.connect_failures.load(Ordering::Relaxed) != 0 {
            self.connect_failures.store(0, Ordering::Relaxed);
            self.ejected_until.store(0, Ordering::Relaxed);
        }
    }
}

/// A request counted against an endpoint, until dropped: also when the client goes away.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
}

impl Lease {
    /// Counts a request before it connects: a slow handshake is load too.
    #[must_use]
    pub fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            endpoint: Arc::clone(endpoint),
        }
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One snapshot of an upstream's endpoints.
#[derive(Debug, Default)]
pub struct EndpointSet {
    endpoints: Vec<Arc<Endpoint>>,
}

impl EndpointSet {
    /// The set for new addresses; endpoints of `previous` that stay are kept as they are.
    #[must_use]
    pub fn succeeding(
        previous: &EndpointSet,
        found: impl IntoIterator<Item = (SocketAddr, Option<Arc<str>>)>,
    ) -> Self {
        let endpoints = found
            .into_iter()
            .map(|(address, zone)| {
                let kept = previous
                    .endpoints
                    .iter()
                    .find(|endpoint| endpoint.address == address && endpoint.zone == zone);
                kept.map_or_else(|| Arc::new(Endpoint::new(address, zone)), Arc::clone)
            })
            .collect();
        Self { endpoints }
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn endpoints_that_stay_keep_their_load_and_health() {
        let none = EndpointSet::default();
        let before = EndpointSet::succeeding(&none, [(address(1), None), (address(2), None)]);
        let lease = Lease::new(&before.endpoints()[1]);
        let after = EndpointSet::succeeding(&before, [(address(2), None), (address(3), None)]);
        assert_eq!(after.endpoints()[0].in_flight(), 1);
        assert!(Arc::ptr_eq(&before.endpoints()[1], &after.endpoints()[0]));
        assert_eq!(after.endpoints()[1].in_flight(), 0);
        drop(lease);
        assert_eq!(after.endpoints()[0].in_flight(), 0);
    }

    #[test]
    fn ejection_doubles_up_to_its_bound_and_ends_with_an_answer() {
        let endpoint = Endpoint::new(address(1), None);
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..7 {
            endpoint.connect_failed(now);
            endpoint.connect_failed(now);
            let start = now;
            while endpoint.is_ejected(now) {
                now += 500;
            }
            lengths.push(now - start);
        }
        assert_eq!(lengths, [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        endpoint.connect_failed(now);
        endpoint.answered();
        assert!(!endpoint.is_ejected(now));
    }
}
