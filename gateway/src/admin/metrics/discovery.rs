//! What discovery asked, what it was told, and how old that is.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Family;
use crate::discovery::FailureReason;
use crate::discovery::cloud_map::Look;
use crate::discovery::watch::Discovery;
use crate::proxy::Live;

/// Upstreams that share a source show the same numbers: they are its questions, asked once.
pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let upstreams: Vec<(&str, &Discovery)> = live
        .plan
        .clusters
        .iter()
        .zip(&live.watched.discoveries)
        .filter_map(|(cluster, discovery)| Some((&*cluster.name, discovery.as_ref()?)))
        .collect();
    if let Some(zone) = &live.zone {
        let help = "1, with the availability zone that the gateway runs in";
        Family::gauge(encoder, "gateway_zone", help)?.set(&[("zone", zone)], 1)?;
    }
    encode_answers(&upstreams, encoder)?;
    encode_states(&upstreams, encoder)?;
    let mut family = Family::counter(
        encoder,
        "gateway_discovery_revision_looks",
        "Looks at the revision of a Cloud Map service, by outcome",
    )?;
    for (upstream, discovery) in upstreams {
        let Some(revisions) = discovery.revisions() else {
            continue;
        };
        for look in Look::ALL {
            let labels = [("upstream", upstream), ("outcome", look.as_str())];
            family.count(&labels, revisions.count(look))?;
        }
    }
    Ok(())
}

fn encode_answers(
    upstreams: &[(&str, &Discovery)],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_discovery_answers",
        "Questions about an upstream's endpoints, by outcome",
    )?;
    for (upstream, discovery) in upstreams {
        let stats = discovery.stats();
        let outcomes = FailureReason::ALL
            .map(|reason| (reason.as_str(), stats.failures(reason)))
            .into_iter()
            .chain([("success", stats.successes())]);
        for (outcome, count) in outcomes {
            family.count(&[("upstream", *upstream), ("outcome", outcome)], count)?;
        }
    }
    Ok(())
}

fn encode_states(
    upstreams: &[(&str, &Discovery)],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let states: Vec<_> = upstreams
        .iter()
        .map(|(upstream, discovery)| (*upstream, discovery.state()))
        .collect();
    let mut family = Family::gauge(
        encoder,
        "gateway_discovery_failing",
        "1 while an upstream's source fails, with the latest reason",
    )?;
    for (upstream, state) in &states {
        if let Some(failing) = &state.failing {
            let reason = failing.error.reason().as_str();
            family.set(&[("upstream", *upstream), ("reason", reason)], 1)?;
        }
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_discovery_age_seconds",
        "Seconds since an upstream's source last confirmed the endpoints in use",
    )?;
    for (upstream, state) in &states {
        if let Some(confirmed) = state.last_success {
            family.set(&[("upstream", *upstream)], confirmed.elapsed().as_secs())?;
        }
    }
    Ok(())
}
