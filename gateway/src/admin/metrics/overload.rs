//! What becomes of requests when there are too many, or when one is slow: limits that find
//! themselves, whose requests were shed, second tries.

use std::fmt;

use gateway_core::cluster::Priority;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, LabelSet, Labels};
use crate::proxy::Live;
use crate::telemetry::cells::HedgeOutcome;

pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    encode_limits(live, encoder)?;
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_requests_shed",
        "Requests left out in overload, by upstream and priority",
    )?;
    for (upstream, cells) in live.ledger.upstreams() {
        for priority in Priority::ALL {
            let counts = cells.iter().map(|cells| cells.usage.shed(priority));
            let labels = [("upstream", upstream), ("priority", priority.as_str())];
            family.count(&labels, counts.sum())?;
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_hedges",
        "Second tries while the first was slow, by upstream and outcome",
    )?;
    for (upstream, cells) in live.ledger.upstreams() {
        // Most upstreams have none.
        for outcome in HedgeOutcome::ALL {
            let counts = cells.iter().map(|it| it.hedges[outcome as usize].get());
            let count = counts.sum();
            if count > 0 {
                let labels = [("upstream", upstream), ("outcome", outcome.as_str())];
                family.count(&labels, count)?;
            }
        }
    }
    Ok(())
}

fn encode_limits(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let limits = || {
        let limits = live.plan.clusters.iter().zip(&live.adaptive);
        limits.filter_map(|(cluster, limit)| Some((&*cluster.name, limit.as_deref()?)))
    };
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_concurrency_limit",
        "Requests at a time that the upstream is seen to take, by upstream",
    )?;
    for (upstream, limit) in limits() {
        family.set(&[("upstream", upstream)], limit.limit().into())?;
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_base_latency_seconds",
        "What an answer's head takes without a queue, by upstream",
    )?;
    for (upstream, limit) in limits() {
        if let Some(base) = limit.base() {
            let labels: &Labels<'_> = &[("upstream", upstream)];
            family
                .0
                .encode_family(&LabelSet(labels))?
                .encode_gauge(&base.as_secs_f64())?;
        }
    }
    Ok(())
}
