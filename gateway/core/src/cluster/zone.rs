//! The preference for endpoints of our own zone, and how much of the load stays there.
//!
//! Traffic between zones costs money and a millisecond. But a zone with few endpoints must not
//! get more than they can bear: it keeps the share of requests that its share of the endpoints
//! allows, and the rest goes to zones that have endpoints to spare.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pool::{Member, Pool, Uses};

/// Shares of a weight, so that little of it is cut off.
const UNITS: u64 = 1 << 10;

/// That endpoints of our own zone are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZonePreference {
    /// A local endpoint is passed over for a remote one when its requests under way, with the new
    /// one, are more than this many hundredths of the remote one's.
    pub spill_at_percent: u32,
}

/// The endpoints of our own zone, and the others.
#[derive(Debug)]
pub(super) struct Zones {
    pub(super) local: Pool,
    pub(super) remote: Pool,
    /// Requests that stay, of 2^32.
    stay: u64,
}

impl Zones {
    /// `None` when there is nothing to choose: our zone has no endpoint, or all of them.
    ///
    /// As callers of other zones cannot be seen from here, each zone that has endpoints is taken
    /// to send the same share of all requests (Envoy's zone-aware routing assumes as much where it
    /// does not know better). If our zone has at least that share of the endpoints' weight, all
    /// our requests stay. If not, as many stay as fill it, and the rest goes to the other zones in
    /// proportion to what they have beyond their own share: so all endpoints are loaded alike.
    pub(super) fn new(members: &[(Member, u32)], own: &str, uses: Uses) -> Option<Self> {
        let mut weights: BTreeMap<Option<&str>, u64> = BTreeMap::new();
        for (member, weight) in members {
            *weights.entry(zone(member)).or_default() += u64::from(*weight);
        }
        let all: u64 = weights.values().sum();
        let zones = weights.keys().flatten().count() as u64;
        // Both sides of "the zone's weight is its share" times the number of zones.
        let stay = (weights.get(&Some(own))? * zones).min(all);
        let spare = |member: &Member| {
            let zone = zone(member);
            let weight = weights[&zone];
            match zone {
                // Nobody is known to send from there.
                None => (weight, weight),
                Some(_) => ((weight * zones).saturating_sub(all), weight * zones),
            }
        };
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        for (member, weight) in members {
            let weight = u64::from(*weight);
            if zone(member) == Some(own) {
                local.push((member.clone(), weight));
                continue;
            }
            let weight = if stay == all {
                weight
            } else {
                let (spare, whole) = spare(member);
                scaled(weight * UNITS, spare, whole)
            };
            remote.push((member.clone(), weight));
        }
        Some(Self {
            local: Pool::new(local, uses)?,
            remote: Pool::new(remote, uses)?,
            stay: scaled(1 << 32, stay, all),
        })
    }

    /// Whether a request stays, by 32 random bits.
    pub(super) fn stays(&self, random: u32) -> bool {
        u64::from(random) < self.stay
    }
}

fn zone(member: &Member) -> Option<&str> {
    let zone: Option<&Arc<str>> = member.endpoint.instance.zone.as_ref();
    zone.map(|zone| &**zone)
}

/// `weight` times `part` of `whole`.
fn scaled(weight: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(weight) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
