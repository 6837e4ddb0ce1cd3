//! The endpoints that a choice is made among: all of a set, or those of a subset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::balance::{Balancer, Policy};
use super::maglev::{ENDPOINTS_MAX, Maglev};
use super::pool::{Member, Pool, Uses, put_on_ring};
use super::zone::Zones;
use super::{Endpoint, Instance};

/// The endpoints with these attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Name and value of each.
    pub attributes: BTreeMap<String, String>,
}

impl Subset {
    /// Whether an instance has all of them.
    #[must_use]
    pub fn covers(&self, instance: &Instance) -> bool {
        let mut wanted = self.attributes.iter();
        wanted.all(|(name, value)| instance.attributes.get(name) == Some(value))
    }
}

/// Requests under way at the endpoints of a view, through all its snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Total(Arc<AtomicU32>);

impl Total {
    pub(super) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A table of keys, and the load that its bound is a part of.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) table: Maglev,
    pub(super) total: Total,
}

/// Endpoints with the tables that the upstream's policy wants; at least one endpoint.
#[derive(Debug)]
pub(super) struct View {
    pub(super) all: Pool,
    pub(super) zones: Option<Zones>,
    pub(super) hashed: Option<Hashed>,
}

impl View {
    /// `None` when there are no endpoints.
    pub(super) fn new<'e>(
        endpoints: impl Iterator<Item = &'e Arc<Endpoint>>,
        balancer: &Balancer,
        own_zone: Option<&str>,
        previous: Option<&View>,
    ) -> Option<Self> {
        let mut members = members(endpoints);
        let uses = Uses {
            turns: balancer.policy == Policy::RoundRobin,
            windows: balancer.has_windows(members.len()),
        };
        if uses.windows {
            put_on_ring(&mut members);
        }
        let zones = own_zone.filter(|_| balancer.zones.is_some());
        let zones = zones.and_then(|zone| Zones::new(&members, zone, uses));
        let is_hashed = !members.is_empty() && matches!(balancer.policy, Policy::ConsistentHash(_));
        let hashed = is_hashed.then(|| {
            let names = members.iter().take(ENDPOINTS_MAX);
            let names = names.map(|(member, weight)| (&*member.endpoint.label, *weight));
            let previous = previous.and_then(|view| view.hashed.as_ref());
            Hashed {
                table: Maglev::new(names),
                total: previous.map(|it| it.total.clone()).unwrap_or_default(),
            }
        });
        let weighted = members.into_iter();
        let weighted = weighted.map(|(member, weight)| (member, u64::from(weight)));
        Some(Self {
            all: Pool::new(weighted.collect(), uses)?,
            zones,
            hashed,
        })
    }
}

/// Endpoints with their weights.
fn members<'e>(endpoints: impl Iterator<Item = &'e Arc<Endpoint>>) -> Vec<(Member, u32)> {
    let endpoints: Vec<_> = endpoints.collect();
    let weight = |endpoint: &Endpoint| endpoint.instance.weight.max(1);
    let sum: f64 = endpoints.iter().map(|it| f64::from(weight(it))).sum();
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are fewer endpoints than 2^52"
    )]
    let mean = sum / endpoints.len().max(1) as f64;
    let member = |endpoint: &Arc<Endpoint>| {
        let weight = weight(endpoint);
        let member = Member {
            endpoint: Arc::clone(endpoint),
            scale: mean / f64::from(weight),
        };
        (member, weight)
    };
    endpoints.into_iter().map(member).collect()
}
