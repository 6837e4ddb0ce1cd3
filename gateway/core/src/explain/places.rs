//! Endpoints as a choice sees them.

use serde::Serialize;

use super::ENDPOINTS_MAX;
use crate::cluster::balance::{Prospect, SubsetChoice};
use crate::cluster::{EndpointSet, HealthState};
use crate::plan::Cluster;
use crate::words::time::Millis;

/// One endpoint as a choice would see it now.
#[derive(Clone, Debug, Serialize)]
pub struct EndpointStory {
    /// Its address.
    pub address: Box<str>,
    /// Its availability zone, where it is known.
    pub zone: Option<Box<str>>,
    /// Its share of the requests, against those of the others.
    pub weight: u32,
    /// `healthy`, `ejected`, `probing` or `unhealthy`.
    pub health: &'static str,
    /// Whether it is chosen only where there is no other.
    pub is_left_out: bool,
    /// Why it was ejected last; none before the first time.
    pub ejected_for: Option<&'static str>,
    /// Milliseconds until its ejection is over, where it is ejected.
    pub ejected_for_ms: Option<Millis>,
    /// Ejections so far.
    pub ejections: u32,
    /// Requests under way.
    pub in_flight: u32,
    /// The milliseconds that an answer's head is expected to take; none where nothing is known.
    pub expected_ms: Option<f64>,
    /// What one more request would cost, by the policy's measure: the lower of two is chosen.
    pub score: f64,
    /// The part of its weight that slow start leaves it.
    pub warmth: f64,
}

/// The endpoints of an upstream, or of one of its subsets; at most [`ENDPOINTS_MAX`].
#[must_use]
pub fn endpoints(
    cluster: &Cluster,
    set: &EndpointSet,
    subset: Option<SubsetChoice>,
    now: Millis,
) -> Vec<EndpointStory> {
    let prospects = cluster.balancer.prospects(set, subset, now);
    let prospects = prospects.iter().take(ENDPOINTS_MAX);
    prospects.map(|it| EndpointStory::of(it, now)).collect()
}

impl EndpointStory {
    fn of(prospect: &Prospect, now: Millis) -> Self {
        let (endpoint, health) = (&prospect.endpoint, &prospect.endpoint.health);
        let (state, turns) = (health.state(), health.turns());
        let until = health.ejected_until();
        let expected = endpoint.load.expected(now);
        Self {
            address: endpoint.label.clone(),
            zone: endpoint.instance.zone.as_deref().map(Into::into),
            weight: endpoint.instance.weight,
            health: state.as_str(),
            is_left_out: prospect.is_left_out,
            ejected_for: (turns.ejections > 0).then(|| health.last_reason().as_str()),
            ejected_for_ms: until
                .filter(|_| state != HealthState::Healthy)
                .map(|until| until.saturating_sub(now)),
            ejections: turns.ejections,
            in_flight: endpoint.load.in_flight(),
            expected_ms: expected.map(|it| it.as_secs_f64() * 1_000.0),
            score: prospect.cost,
            warmth: prospect.warmth,
        }
    }
}
