//! From where endpoints were chosen: zones, keys, subsets.

use std::fmt;

use gateway_core::cluster::balance::Origin;
use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, sum};
use crate::telemetry::ledger::Ledger;

pub(super) fn encode(ledger: &Ledger, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_picks",
        "Choices of an endpoint, by upstream and from where it was chosen",
    )?;
    for (upstream, cells) in ledger.upstreams() {
        for origin in Origin::ALL {
            let count = sum(cells.iter().map(|it| &it.picks.origins[origin as usize]));
            // Most origins cannot occur with a given policy.
            if count > 0 {
                let labels = [("upstream", upstream), ("origin", origin.as_str())];
                family.count(&labels, count)?;
            }
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_upstream_subset_fallbacks",
        "Choices from the whole upstream because the wanted subset had no endpoint, by upstream",
    )?;
    for (upstream, cells) in ledger.upstreams() {
        let count = sum(cells.iter().map(|it| &it.picks.subset_fallbacks));
        family.count(&[("upstream", upstream)], count)?;
    }
    Ok(())
}
