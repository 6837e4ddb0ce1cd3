//! One snapshot of all addresses of an upstream.

use std::collections::HashSet;
use std::sync::Arc;

use super::health::{EjectionReason, OutlierRules, SetHealth};
use super::{Endpoint, Instance, Lease};
use crate::words::time::Millis;

/// One snapshot of an upstream's endpoints.
#[derive(Debug, Default)]
pub struct EndpointSet {
    endpoints: Vec<Arc<Endpoint>>,
    health: Arc<SetHealth>,
}

impl EndpointSet {
    /// An empty set, whose successors go by these rules.
    #[must_use]
    pub fn with_rules(rules: OutlierRules) -> Self {
        Self {
            endpoints: Vec::new(),
            health: Arc::new(SetHealth::new(rules)),
        }
    }

    /// The set for new instances; endpoints of `previous` that stay are kept as they are, and
    /// those that leave no longer count.
    #[must_use]
    pub fn succeeding(previous: &EndpointSet, found: impl IntoIterator<Item = Instance>) -> Self {
        let health = Arc::clone(&previous.health);
        let endpoints: Vec<_> = found
            .into_iter()
            .map(|instance| {
                let mut known = previous.endpoints.iter();
                let kept = known.find(|endpoint| endpoint.instance == instance);
                kept.map_or_else(|| Arc::new(Endpoint::of(instance, &health)), Arc::clone)
            })
            .collect();
        let kept: HashSet<_> = endpoints.iter().map(Arc::as_ptr).collect();
        for endpoint in &previous.endpoints {
            if !kept.contains(&Arc::as_ptr(endpoint)) {
                endpoint.health.retire();
            }
        }
        let set = Self { endpoints, health };
        set.settle();
        set
    }

    /// All endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
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
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

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
