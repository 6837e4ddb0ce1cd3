//! One snapshot of all addresses of an upstream.

use std::collections::HashMap;
use std::sync::Arc;

use super::balance::Balancer;
use super::view::View;
use super::{Endpoint, Instance};
use crate::words::time::Millis;

/// One snapshot of an upstream's endpoints, with the tables that its policy chooses by: made once,
/// so that a request only looks them up.
#[derive(Debug, Default)]
pub struct EndpointSet {
    endpoints: Vec<Arc<Endpoint>>,
    /// All endpoints, and then those of each of the upstream's subsets; `None` where there are
    /// none. Empty in a set that was never filled.
    views: Vec<Option<View>>,
}

impl EndpointSet {
    /// The set for new instances; endpoints of `previous` that stay are kept as they are.
    ///
    /// `own_zone` is where this gateway runs, where it is known. Instances that were not in
    /// `previous` have been there since `now`.
    #[must_use]
    pub fn succeeding(
        previous: &EndpointSet,
        found: impl IntoIterator<Item = Instance>,
        balancer: &Balancer,
        own_zone: Option<&str>,
        now: Millis,
    ) -> Self {
        let known = previous.endpoints.iter();
        let known: HashMap<_, _> = known.map(|it| (it.address(), it)).collect();
        let keep_or_make = |instance: Instance| match known.get(&instance.address) {
            Some(endpoint) if endpoint.instance == instance => Arc::clone(endpoint),
            _ => Arc::new(Endpoint::new(instance, now)),
        };
        let endpoints: Vec<_> = found.into_iter().map(keep_or_make).collect();
        let view = |index: usize, endpoints: &mut dyn Iterator<Item = &Arc<Endpoint>>| {
            let previous = previous.views.get(index).and_then(Option::as_ref);
            View::new(endpoints, balancer, own_zone, previous)
        };
        let all = view(0, &mut endpoints.iter());
        let subsets = balancer.subsets.iter().zip(1..).map(|(subset, index)| {
            let mut covered = endpoints.iter().filter(|it| subset.covers(&it.instance));
            view(index, &mut covered)
        });
        let views = [all].into_iter().chain(subsets).collect();
        Self { endpoints, views }
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// All endpoints to choose from; `None` when there are none.
    pub(super) fn all(&self) -> Option<&View> {
        self.views.first()?.as_ref()
    }

    /// Those of a subset, by its index in the balancer.
    pub(super) fn subset(&self, index: usize) -> Option<&View> {
        self.views.get(index + 1)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Lease;
    use crate::cluster::tests::{at, set_after};

    #[test]
    fn endpoints_that_stay_keep_their_load_and_health() {
        let before = set_after(&EndpointSet::default(), [at(1), at(2)]);
        let lease = Lease::new(&before.endpoints()[1]);
        let after = set_after(&before, [at(2), at(3)]);
        assert_eq!(after.endpoints()[0].load.in_flight(), 1);
        assert!(Arc::ptr_eq(&before.endpoints()[1], &after.endpoints()[0]));
        assert_eq!(after.endpoints()[1].load.in_flight(), 0);
        drop(lease);
        assert_eq!(after.endpoints()[0].load.in_flight(), 0);
    }

    #[test]
    fn an_address_whose_description_changed_is_a_new_endpoint() {
        let before = set_after(&EndpointSet::default(), [at(1)]);
        let changed = Instance { weight: 2, ..at(1) };
        let after = set_after(&before, [changed]);
        assert!(!Arc::ptr_eq(&before.endpoints()[0], &after.endpoints()[0]));
    }
}
