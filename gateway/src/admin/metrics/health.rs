//! What is measured of the health of upstreams' endpoints.

use std::fmt;

use gateway_core::cluster::health::EjectionReason;
use gateway_core::cluster::{EndpointSet, HealthState, SetHealth};
use prometheus_client::encoding::DescriptorEncoder;

use super::Family;
use crate::proxy::Live;

type Pick = fn(&SetHealth) -> u64;

/// All metrics of health.
pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    encode_states(live, encoder)?;
    encode_ejections(live, encoder)?;
    encode_checks(live, encoder)
}

fn upstreams(live: &Live) -> impl Iterator<Item = (&str, std::sync::Arc<EndpointSet>)> {
    let sets = live.plan.clusters.iter().zip(&live.endpoints);
    sets.map(|(cluster, endpoints)| (&*cluster.name, endpoints.load_full()))
}

fn encode_states(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_endpoints",
        "Endpoints, by upstream and state",
    )?;
    for (upstream, set) in upstreams(live) {
        let mut counts = [0; HealthState::ALL.len()];
        for endpoint in set.endpoints() {
            counts[endpoint.health.state() as usize] += 1;
        }
        for (state, count) in HealthState::ALL.iter().zip(counts) {
            family.set(&[("upstream", upstream), ("state", state.as_str())], count)?;
        }
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_panic",
        "1 while so few endpoints are healthy that all are used, by upstream",
    )?;
    for (upstream, set) in upstreams(live) {
        let is_panicking = set.health().is_panicking();
        family.set(&[("upstream", upstream)], u64::from(is_panicking))?;
    }
    Ok(())
}

fn encode_ejections(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_ejections",
        "Endpoints left out for their failures, by upstream and reason",
    )?;
    for (upstream, set) in upstreams(live) {
        for reason in EjectionReason::ALL {
            let labels = [("upstream", upstream), ("reason", reason.as_str())];
            family.count(&labels, set.health().ejections(reason))?;
        }
    }
    let counters: [(&str, &str, Pick); 2] = [
        (
            "gateway_upstream_ejections_refused",
            "Failures that would have ejected an endpoint if not too many had been out, by upstream",
            SetHealth::refused,
        ),
        (
            "gateway_upstream_returns",
            "Ejected endpoints that came back, by upstream",
            SetHealth::returns,
        ),
    ];
    for (name, help, pick) in counters {
        let mut family = Family::counter(encoder, name, help)?;
        for (upstream, set) in upstreams(live) {
            family.count(&[("upstream", upstream)], pick(set.health()))?;
        }
    }
    Ok(())
}

fn encode_checks(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_health_checks",
        "Active checks of endpoints, by upstream and outcome",
    )?;
    for (upstream, set) in upstreams(live) {
        let (passed, failed) = set.health().checks();
        for (outcome, count) in [("passed", passed), ("failed", failed)] {
            if passed + failed > 0 {
                family.count(&[("upstream", upstream), ("outcome", outcome)], count)?;
            }
        }
    }
    Ok(())
}
