//! One snapshot of all addresses of an upstream.

use std::sync::Arc;

use super::{Endpoint, Instance};

/// One snapshot of an upstream's endpoints.
#[derive(Debug, Default)]
pub struct EndpointSet {
    endpoints: Vec<Arc<Endpoint>>,
}

impl EndpointSet {
    /// The set for new instances; endpoints of `previous` that stay are kept as they are.
    #[must_use]
    pub fn succeeding(previous: &EndpointSet, found: impl IntoIterator<Item = Instance>) -> Self {
        let endpoints = found
            .into_iter()
            .map(|instance| {
                let mut known = previous.endpoints.iter();
                let kept = known.find(|endpoint| endpoint.instance == instance);
                kept.map_or_else(|| Arc::new(Endpoint::new(instance)), Arc::clone)
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
    use std::net::SocketAddr;

    use super::*;
    use crate::cluster::Lease;

    fn at(port: u16) -> Instance {
        Instance::at(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn endpoints_that_stay_keep_their_load_and_health() {
        let before = EndpointSet::succeeding(&EndpointSet::default(), [at(1), at(2)]);
        let lease = Lease::new(&before.endpoints()[1]);
        let after = EndpointSet::succeeding(&before, [at(2), at(3)]);
        assert_eq!(after.endpoints()[0].load.in_flight(), 1);
        assert!(Arc::ptr_eq(&before.endpoints()[1], &after.endpoints()[0]));
        assert_eq!(after.endpoints()[1].load.in_flight(), 0);
        drop(lease);
        assert_eq!(after.endpoints()[0].load.in_flight(), 0);
    }
}
