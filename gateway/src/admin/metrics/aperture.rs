//! How much of a large set the workers use.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::Family;
use crate::proxy::Live;

pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::gauge(
        encoder,
        "gateway_upstream_aperture_endpoints",
        "Endpoints among which the worker that uses most of them chooses now, by upstream",
    )?;
    for (index, cluster) in live.plan.clusters.iter().enumerate() {
        let endpoints = live.endpoints[index].load().endpoints().len() as u64;
        let widths = live.cells.iter();
        let widths = widths.map(|cells| u64::from(cells.upstreams[index].aperture.width()));
        // As long as no worker has a window, all of them use the whole set.
        let widest = widths.max().filter(|&width| width > 0);
        let used = widest.map_or(endpoints, |width| width.min(endpoints));
        family.set(&[("upstream", &cluster.name)], used)?;
    }
    Ok(())
}
