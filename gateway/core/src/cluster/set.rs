//! One snapshot of all addresses of an upstream.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::balance::Balancer;
use super::health::{EjectionReason, OutlierRules, SetHealth};
use super::view::View;
use super::{Endpoint, Instance, Lease};
use crate::words::time::Millis;

/// One snapshot of an upstream's endpoints, with the tables that its policy chooses by: made once,
/// so that a request only looks them up.
#[derive(Debug, Default)]
pub struct EndpointSet {
    endpoints: Vec<Arc<Endpoint>>,
    /// All endpoints, and then those of each of the upstream's subsets; `None` where there are
    /// none. Empty in a set that was never filled.
    views: Vec<Option<View>>,
    health: Arc<SetHealth>,
}

impl EndpointSet {
    /// An empty set, whose successors go by these rules.
    #[must_use]
    pub fn with_rules(rules: OutlierRules) -> Self {
        Self {
            health: Arc::new(SetHealth::new(rules)),
            ..Self::default()
        }
    }

    /// The set for new instances; endpoints of `previous` that stay keep their load and health,
    /// whatever is said of them now, and those that leave no longer count.
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
        let health = Arc::clone(&previous.health);
        let known = previous.endpoints.iter();
        let known: HashMap<_, _> = known.map(|it| (it.address(), it)).collect();
        let keep_or_make = |instance: Instance| match known.get(&instance.address) {
            Some(endpoint) if endpoint.instance == instance => Arc::clone(endpoint),
            Some(endpoint) => Arc::new(endpoint.described(instance)),
            None => Arc::new(Endpoint::of(instance, now, &health)),
        };
        let endpoints: Vec<_> = found.into_iter().map(keep_or_make).collect();
        let kept: HashSet<_> = endpoints.iter().map(|it| it.address()).collect();
        for endpoint in &previous.endpoints {
            if !kept.contains(&endpoint.address()) {
                endpoint.health.retire();
            }
        }
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
        let set = Self {
            endpoints,
            views,
            health,
        };
        set.settle();
        set
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// What is known of each endpoint, as its source said it.
    pub fn instances(&self) -> impl Iterator<Item = Instance> + '_ {
        self.endpoints.iter().map(|it| it.instance.clone())
    }

    /// The health of all of them together.
    #[must_use]
    pub fn health(&self) -> &SetHealth {
        &self.health
    }

    /// A request for an ejected endpoint whose time is over, if there is one: the only one until
    /// its outcome is known. Asked before any other choice, so that a balancer that avoids
    /// endpoints which were bad cannot keep them from showing that they are good again.
    ///
    /// `is_wanted` says whether the request may go to an endpoint.
    pub fn claim_probe(
        &self,
        now: Millis,
        is_wanted: impl Fn(&Arc<Endpoint>) -> bool,
    ) -> Option<Lease> {
        if !self.health.is_probe_due(now) {
            return None;
        }
        self.health.forget_probes();
        let mut lease = None;
        for endpoint in &self.endpoints {
            if lease.is_none()
                && is_wanted(endpoint)
                && let Some(probe) = endpoint.health.claim_probe(now)
            {
                lease = Some(Lease::probing(endpoint, probe));
            }
            if let Some(at) = endpoint.health.next_probe_at() {
                self.health.expect_probe_at(at);
            }
        }
        lease
    }

    /// Judges success rates, and makes sure that no probe is forgotten; to be called about once a
    /// second.
    pub fn tick(&self, now: Millis) {
        // A request with an old snapshot may have looked for the next probe among others.
        self.expect_probes();
        let Some(oldest) = self.health.end_half(now) else {
            return;
        };
        self.judge_success_rates(now);
        for endpoint in &self.endpoints {
            endpoint.health.clear_half(oldest);
        }
        self.health.begin_half(oldest);
    }

    /// Ejects endpoints with too few good answers, if at least half of those that can be judged
    /// have enough: where most are bad the fault is not one endpoint's.
    fn judge_success_rates(&self, now: Millis) {
        let rule = self.health.rules().success_rate;
        if !rule.is_on() {
            return;
        }
        let judged = || {
            self.endpoints
                .iter()
                .map(|endpoint| (endpoint, endpoint.health.answers()))
                .filter(|(_, answers)| rule.is_sample(*answers))
        };
        let (good, bad) = judged().fold((0, 0), |(good, bad), (_, answers)| {
            if rule.is_met(answers) {
                (good + 1, bad)
            } else {
                (good, bad + 1)
            }
        });
        if bad == 0 || good < bad {
            return;
        }
        for (endpoint, answers) in judged() {
            if !rule.is_met(answers) {
                endpoint.health.eject(EjectionReason::SuccessRate, now);
            }
        }
    }

    /// Makes the counts those of this set.
    fn settle(&self) {
        self.health.resize(self.endpoints.len());
        // A smaller set allows fewer to be out: those return whose time is over first.
        let mut ejected: Vec<_> = self
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.health.ejected_until()?, endpoint)))
            .collect();
        ejected.sort_by_key(|(until, _)| *until);
        for (until, endpoint) in ejected {
            if !self.health.is_over_share() {
                break;
            }
            endpoint.health.readmit(until);
        }
        self.expect_probes();
    }

    fn expect_probes(&self) {
        let times = self.endpoints.iter();
        let times = times.filter_map(|endpoint| endpoint.health.next_probe_at());
        if let Some(at) = times.min() {
            self.health.expect_probe_at(at);
        }
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
    fn an_address_of_which_something_else_is_said_keeps_its_load_and_health() {
        let before = set_after(&EndpointSet::default(), [at(1), at(2)]);
        let lease = Lease::new(&before.endpoints()[0]);
        before.endpoints()[0]
            .health
            .eject(EjectionReason::ConnectFailure, 0);
        let changed = Instance { weight: 2, ..at(1) };
        let after = set_after(&before, [changed, at(2)]);
        let endpoint = &after.endpoints()[0];
        assert_eq!(endpoint.instance.weight, 2);
        assert!(endpoint.is(&before.endpoints()[0]));
        assert_eq!(endpoint.load.in_flight(), 1);
        assert!(endpoint.health.is_ejected(0));
        drop(lease);
        assert_eq!(endpoint.load.in_flight(), 0);
        assert_eq!(endpoint.since, before.endpoints()[0].since);
    }
}
