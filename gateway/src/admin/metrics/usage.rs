//! What upstreams hold, beside their limits.

use std::fmt;

use gateway_core::cluster::Usage;
use prometheus_client::encoding::DescriptorEncoder;

use super::Family;
use crate::proxy::Live;

pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    type Pick = fn(&Usage) -> u32;
    let gauges: [(&str, &str, Pick); 3] = [
        (
            "gateway_upstream_requests_in_flight",
            "Requests now, by upstream",
            Usage::requests,
        ),
        (
            "gateway_upstream_requests_pending",
            "Requests that wait for a connection to be opened now, by upstream",
            Usage::pending,
        ),
        (
            "gateway_upstream_connections",
            "Connections now, idle ones included, by upstream",
            Usage::connections,
        ),
    ];
    for (name, help, pick) in gauges {
        let mut family = Family::gauge(encoder, name, help)?;
        for (index, cluster) in live.plan.clusters.iter().enumerate() {
            let counts = live.cells.iter();
            let counts = counts.map(|cells| u64::from(pick(&cells.upstreams[index].usage)));
            family.set(&[("upstream", &cluster.name)], counts.sum())?;
        }
    }
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_limit",
        "What an upstream may have at a time, by upstream and kind",
    )?;
    for cluster in &live.plan.clusters {
        let limits = &cluster.limits;
        for (kind, value) in [
            ("requests", limits.requests_max),
            ("pending", limits.pending_max),
            ("connections", limits.connections_max),
        ] {
            family.set(&[("upstream", &cluster.name), ("kind", kind)], value.into())?;
        }
    }
    Ok(())
}
