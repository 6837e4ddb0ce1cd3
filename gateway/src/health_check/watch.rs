//! Looks at the health of one upstream's endpoints once a second, and writes down what changed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_core::cluster::health::Turns;
use gateway_core::cluster::{Endpoint, EndpointSet, HealthState};
use gateway_core::words::time::Millis;

/// Endpoints of one upstream that are written about in one second; of more their number is.
const ENDPOINTS_WRITTEN_MAX: usize = 10;

/// What has been seen of one upstream.
pub(crate) struct HealthWatch {
    upstream: Box<str>,
    endpoints: Arc<ArcSwap<EndpointSet>>,
    seen: HashMap<SocketAddr, (Arc<Endpoint>, Seen)>,
    was_panicking: bool,
}

/// What has been seen of one endpoint; at first nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    turns: Turns,
    is_unhealthy: bool,
}

impl HealthWatch {
    pub(crate) fn new(upstream: &str, endpoints: &Arc<ArcSwap<EndpointSet>>) -> Self {
        Self {
            upstream: upstream.into(),
            endpoints: Arc::clone(endpoints),
            seen: HashMap::new(),
            was_panicking: false,
        }
    }

    pub(crate) fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The same for the set of another plan.
    pub(crate) fn following(mut self, endpoints: &Arc<ArcSwap<EndpointSet>>) -> Self {
        self.endpoints = Arc::clone(endpoints);
        self
    }

    /// Called once a second.
    pub(crate) fn tick(&mut self, now: Millis) {
        let set = self.endpoints.load_full();
        set.tick(now);
        let mut before = std::mem::take(&mut self.seen);
        let mut changed = 0;
        for endpoint in set.endpoints() {
            let earlier = before
                .remove(&endpoint.address())
                .filter(|(known, _)| known.is(endpoint))
                .map_or_else(Seen::default, |(_, seen)| seen);
            let seen = Seen::of(endpoint);
            if seen != earlier {
                changed += 1;
                if changed <= ENDPOINTS_WRITTEN_MAX {
                    self.write(endpoint, earlier, seen, now);
                }
            }
            self.seen
                .insert(endpoint.address(), (Arc::clone(endpoint), seen));
        }
        if let Some(more @ 1..) = changed.checked_sub(ENDPOINTS_WRITTEN_MAX) {
            tracing::warn!(upstream = %self.upstream, more, "the health of more endpoints changed");
        }
        self.write_panic(&set);
    }

    fn write(&self, endpoint: &Endpoint, earlier: Seen, seen: Seen, now: Millis) {
        let (upstream, endpoint, health) = (&self.upstream, &endpoint.label, &endpoint.health);
        if seen.turns.ejections != earlier.turns.ejections {
            let reason = health.last_reason().as_str();
            let until = health.ejected_until();
            let rest_ms = until.map_or(0, |until| until.saturating_sub(now));
            tracing::warn!(%upstream, %endpoint, reason, rest_ms, "endpoint ejected");
        }
        if seen.turns.returns != earlier.turns.returns && health.ejected_until().is_none() {
            tracing::info!(%upstream, %endpoint, "endpoint returned");
        }
        match (earlier.is_unhealthy, seen.is_unhealthy) {
            (false, true) => tracing::warn!(%upstream, %endpoint, "endpoint fails its checks"),
            (true, false) => tracing::info!(%upstream, %endpoint, "endpoint passes its checks"),
            _ => {}
        }
    }

    fn write_panic(&mut self, set: &EndpointSet) {
        let is_panicking = set.health().is_panicking();
        let upstream = &self.upstream;
        match (self.was_panicking, is_panicking) {
            (false, true) => {
                tracing::warn!(%upstream, "too few healthy endpoints: all are used");
            }
            (true, false) => tracing::info!(%upstream, "enough healthy endpoints again"),
            _ => {}
        }
        self.was_panicking = is_panicking;
    }
}

impl Seen {
    fn of(endpoint: &Endpoint) -> Self {
        Self {
            turns: endpoint.health.turns(),
            is_unhealthy: endpoint.health.state() == HealthState::Unhealthy,
        }
    }
}
