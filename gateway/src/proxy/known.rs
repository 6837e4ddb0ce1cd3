//! Which addresses belong to an upstream, so that connections to others can be closed.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_core::cluster::EndpointSet;

/// The addresses of all endpoints, gathered anew when a set has changed.
#[derive(Default)]
pub(super) struct KnownAddresses {
    sets: Vec<Arc<EndpointSet>>,
    addresses: HashSet<SocketAddr, foldhash::fast::RandomState>,
}

impl KnownAddresses {
    /// Follows the sets of the moment.
    pub(super) fn update(&mut self, current: &[Arc<ArcSwap<EndpointSet>>]) {
        let are_same = self.sets.len() == current.len()
            && self
                .sets
                .iter()
                .zip(current)
                .all(|(known, current)| Arc::ptr_eq(known, &current.load()));
        if are_same {
            return;
        }
        self.sets = current.iter().map(|set| set.load_full()).collect();
        let endpoints = self.sets.iter().flat_map(|set| set.endpoints());
        self.addresses = endpoints.map(|endpoint| endpoint.address()).collect();
    }

    pub(super) fn contains(&self, address: &SocketAddr) -> bool {
        self.addresses.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::cluster::Instance;
    use gateway_core::cluster::balance::Balancer;

    use super::*;

    #[test]
    fn addresses_of_all_sets_are_known_until_they_leave() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let set = |ports: &[u16]| {
            let found = ports.iter().map(|port| Instance::at(at(*port)));
            let (none, balancer) = (EndpointSet::default(), Balancer::default());
            Arc::new(EndpointSet::succeeding(&none, found, &balancer, None, 0))
        };
        let sets = [&[1, 2][..], &[3]].map(|ports| Arc::new(ArcSwap::new(set(ports))));
        let mut known = KnownAddresses::default();
        known.update(&sets);
        assert!([1, 2, 3].iter().all(|port| known.contains(&at(*port))));
        sets[0].store(set(&[2, 4]));
        known.update(&sets);
        let found: Vec<_> = (1..=4).map(|port| known.contains(&at(port))).collect();
        assert_eq!(found, [false, true, true, true]);
        known.update(&sets[1..]);
        assert!(known.contains(&at(3)) && !known.contains(&at(2)));
    }
}
