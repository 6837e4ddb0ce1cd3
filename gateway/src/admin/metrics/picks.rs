//! From where endpoints were chosen: zones, keys, subsets.

use std::fmt;

use gateway_core::cluster::balance::Origin;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, sum};
use crate::proxy::Live;

pub(super) fn encode(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let clusters = || live.plan.clusters.iter().enumerate();
    let cells = |cluster: usize| {
        live.cells
            .iter()
            .map(move |it| &it.upstreams[cluster].picks)
    };
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_picks",
        "Choices of an endpoint, by upstream and from where it was chosen",
    )?;
    for (index, cluster) in clusters() {
        for origin in Origin::ALL {
            let count = sum(cells(index).map(|it| &it.origins[origin as usize]));
            // Most origins cannot occur with a given policy.
            if count > 0 {
                let labels = [("upstream", &*cluster.name), ("origin", origin.as_str())];
                family.count(&labels, count)?;
            }
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_subset_fallbacks",
        "Choices from the whole upstream because the wanted subset had no endpoint, by upstream",
    )?;
    for (index, cluster) in clusters() {
        let count = sum(cells(index).map(|it| &it.subset_fallbacks));
        family.count(&[("upstream", &cluster.name)], count)?;
    }
    Ok(())
}
