//! The choice of an endpoint: one file a policy, chosen by name in the routes file.
//!
//! | file | policy |
//! |---|---|
//! | `p2c.rs` | `p2c_ewma` and `least_request`: the better of two drawn at random |
//! | `round_robin.rs` | `round_robin`: each in its turn |
//! | `consistent_hash.rs` | `consistent_hash`: one key, one endpoint, as long as it can bear it |
//!
//! What they have in common is here: subsets, the preference for our own zone, slow start, and
//! what to do when no endpoint is good. No choice looks at more than a few endpoints, unless most
//! of a set is ejected or tried already. Of a large set a worker uses a part, `window.rs`.

mod consistent_hash;
mod p2c;
mod round_robin;
#[cfg(test)]
mod tests;
mod window;

use std::sync::Arc;

use super::aperture::{ApertureRules, Opening, Sightings, Vantage};
use super::key::{HashKey, mix};
use super::pool::{Member, Pool};
use super::view::{Subset, View};
use super::zone::{ZonePreference, Zones};
use super::{Endpoint, EndpointSet, Lease};
use crate::words::time::Millis;

/// Endpoints of earlier tries of the same request; more tries than this repeat.
pub const TRIED_MAX: usize = 4;
/// Draws before all endpoints are looked through for a good one: as long as half of them are
/// good, one choice in 256 comes to that, and then finds one after two or so.
const DRAWS_MAX: u32 = 8;
/// The weight of an endpoint at the beginning of its slow start.
const WARMTH_MIN: f64 = 0.1;

/// How an upstream's endpoints are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancer {
    /// The rule.
    pub policy: Policy,
    /// Time in which the weight of a new endpoint grows from a tenth to its whole; 0 for none.
    pub slow_start: Millis,
    /// Whether endpoints of our own zone are preferred; not with [`Policy::ConsistentHash`].
    pub zones: Option<ZonePreference>,
    /// How much of a large set a worker uses; all of it without. Not with
    /// [`Policy::ConsistentHash`], whose keys have their endpoints anywhere.
    pub aperture: Option<ApertureRules>,
    /// The subsets that routes choose from, by their indices.
    pub subsets: Vec<Subset>,
}

/// The rule by which an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Of two drawn at random, the one that is expected to answer first.
    #[default]
    P2cEwma,
    /// Of two drawn at random, the one with fewer requests under way.
    LeastRequest,
    /// Each in its turn.
    RoundRobin,
    /// The same for the same key.
    ConsistentHash(ConsistentHash),
}

/// One key, one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistentHash {
    /// Where a request's key is. Requests without one are balanced as by [`Policy::P2cEwma`].
    pub key: HashKey,
    /// An endpoint takes no more than this many hundredths of the mean number of requests under
    /// way; what is beyond goes to the key's next endpoint.
    pub load_percent_max: u32,
}

/// What a choice looks at beside the set.
#[derive(Debug)]
pub struct Choice<'a> {
    /// The endpoints of earlier tries.
    pub tried: &'a Tried,
    /// The time.
    pub now: Millis,
    /// One draw of 64 bits.
    pub random: u64,
    /// A number that grows by one with each choice of the same worker, for round robin.
    pub turn: u64,
    /// The hash of the request's key, where [`Balancer::key`] names one.
    pub key: Option<u64>,
    /// Whether the request may find out if an ejected endpoint is good again: one that cannot be
    /// repeated would fail with it.
    pub may_probe: bool,
    /// The endpoints that may be chosen; `None` for all.
    pub subset: Option<SubsetChoice>,
    /// Whose choice it is; `None` for nobody's, which uses all of a large set.
    pub vantage: Option<Vantage<'a>>,
}

/// One of the upstream's subsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubsetChoice {
    /// Its index among [`Balancer::subsets`].
    pub index: usize,
    /// Whether any endpoint will do while the subset has none.
    pub or_any: bool,
}

/// From where an endpoint was chosen, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From all: no zone is preferred.
    Any,
    /// From our own zone.
    ZoneLocal,
    /// From another zone, because ours has less than its share of the endpoints.
    ZoneShare,
    /// From another zone, because it would answer sooner by far.
    ZoneLoad,
    /// From any zone, because the wanted side has no good endpoint left.
    ZoneHealth,
    /// The endpoint of the request's key.
    KeyHome,
    /// A later endpoint of the request's key: the earlier ones are full, ejected or tried.
    KeyElsewhere,
    /// From all: the request has no key.
    KeyMissing,
    /// An ejected endpoint whose time is over: the request finds out whether it is good again.
    Probe,
}

impl Origin {
    /// All origins, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Any,
        Self::ZoneLocal,
        Self::ZoneShare,
        Self::ZoneLoad,
        Self::ZoneHealth,
        Self::KeyHome,
        Self::KeyElsewhere,
        Self::KeyMissing,
        Self::Probe,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ZoneLocal => "zone_local",
            Self::ZoneShare => "zone_share",
            Self::ZoneLoad => "zone_load",
            Self::ZoneHealth => "zone_health",
            Self::KeyHome => "key_home",
            Self::KeyElsewhere => "key_elsewhere",
            Self::KeyMissing => "key_missing",
            Self::Probe => "probe",
        }
    }
}

/// An endpoint that was chosen, with the request counted against it.
#[derive(Debug)]
pub struct Pick {
    /// The request, counted.
    pub lease: Lease,
    /// From where it was chosen.
    pub origin: Origin,
    /// Whether the wanted subset had no endpoint, so that any would do.
    pub is_subset_fallback: bool,
}

impl Balancer {
    /// Where the key of a request is, for upstreams that choose by one.
    #[must_use]
    pub fn key(&self) -> Option<&HashKey> {
        match &self.policy {
            Policy::ConsistentHash(hash) => Some(&hash.key),
            Policy::P2cEwma | Policy::LeastRequest | Policy::RoundRobin => None,
        }
    }

    /// Takes an endpoint and counts the request against it.
    ///
    /// Ejected endpoints and those already tried are taken only when there is no other, but for
    /// the one request that finds out whether an ejected one is good again. `None` means that the
    /// set is empty, or the subset that was asked for.
    #[must_use]
    pub fn pick(&self, set: &EndpointSet, choice: &Choice<'_>) -> Option<Pick> {
        let is_wanted = |endpoint: &Arc<Endpoint>| {
            let subset = choice.subset.map(|subset| &self.subsets[subset.index]);
            !choice.tried.contains(endpoint)
                && subset.is_none_or(|subset| subset.covers(&endpoint.instance))
        };
        if choice.may_probe
            && let Some(lease) = set.claim_probe(choice.now, is_wanted)
        {
            return Some(Pick {
                lease,
                origin: Origin::Probe,
                is_subset_fallback: false,
            });
        }
        let (view, is_subset_fallback) = view(set, choice.subset)?;
        let mut picker = Picker {
            balancer: self,
            choice,
            dice: Dice(choice.random),
            opening: self.opening(view, choice),
            seen: Sightings::default(),
        };
        let (origin, member) = picker.pick(view);
        picker.count();
        let lease = match &view.hashed {
            Some(hashed) => Lease::counted(&member.endpoint, &hashed.total),
            None => Lease::new(&member.endpoint),
        };
        Some(Pick {
            lease,
            origin,
            is_subset_fallback,
        })
    }
}

/// What a choice would see of one endpoint.
#[derive(Clone, Debug)]
pub struct Prospect {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// What one more request would cost there, by the policy's measure: expected seconds for
    /// `p2c_ewma` and `consistent_hash`, requests under way per weight for the others.
    pub cost: f64,
    /// How much of its weight it has in slow start, from a tenth to 1.
    pub warmth: f64,
    /// Whether it is chosen only where there is no other.
    pub is_left_out: bool,
}

impl Balancer {
    /// What a choice would see now, by the same measures; it takes nothing and counts nothing.
    #[must_use]
    pub fn prospects(
        &self,
        set: &EndpointSet,
        subset: Option<SubsetChoice>,
        now: Millis,
    ) -> Vec<Prospect> {
        let choice = Choice {
            tried: &Tried::default(),
            now,
            random: 0,
            turn: 0,
            key: None,
            may_probe: false,
            subset,
            vantage: None,
        };
        let picker = Picker {
            balancer: self,
            choice: &choice,
            dice: Dice(0),
            opening: None,
            seen: Sightings::default(),
        };
        let Some((view, _)) = view(set, subset) else {
            return Vec::new();
        };
        let members = view.all.members().iter();
        let prospect = |member: &Member| Prospect {
            endpoint: Arc::clone(&member.endpoint),
            cost: picker.cost(member),
            warmth: picker.warmth(member),
            is_left_out: !picker.is_healthy(member),
        };
        members.map(prospect).collect()
    }
}

/// The endpoints of a choice, and whether they are all because the subset has none.
fn view(set: &EndpointSet, subset: Option<SubsetChoice>) -> Option<(&View, bool)> {
    let wanted = match subset {
        None => set.all(),
        Some(subset) => set.subset(subset.index),
    };
    match wanted {
        Some(view) => Some((view, false)),
        None if subset.is_some_and(|subset| subset.or_any) => Some((set.all()?, true)),
        None => None,
    }
}

/// One choice under way.
struct Picker<'a> {
    balancer: &'a Balancer,
    choice: &'a Choice<'a>,
    dice: Dice,
    /// The part of a large set that this worker uses.
    opening: Option<Opening>,
    seen: Sightings,
}

impl Picker<'_> {
    fn pick<'v>(&mut self, view: &'v View) -> (Origin, &'v Member) {
        let picked = match (&self.balancer.policy, &view.hashed, &view.zones) {
            (Policy::ConsistentHash(hash), Some(hashed), _) => self.by_key(hash, hashed, &view.all),
            (_, _, Some(zones)) => self.by_zone(zones),
            _ => self.good(&view.all).map(|member| (Origin::Any, member)),
        };
        picked.unwrap_or_else(|| {
            let origin = match (&view.hashed, &view.zones) {
                (Some(_), _) => Origin::KeyElsewhere,
                (None, Some(_)) => Origin::ZoneHealth,
                (None, None) => Origin::Any,
            };
            (origin, self.search(&view.all))
        })
    }

    /// From our own zone, unless it is too small or too loaded.
    fn by_zone<'v>(&mut self, zones: &'v Zones) -> Option<(Origin, &'v Member)> {
        if !zones.stays(self.dice.half()) {
            let remote = self.good(&zones.remote).map(|it| (Origin::ZoneShare, it));
            return remote.or_else(|| Some((Origin::ZoneHealth, self.good(&zones.local)?)));
        }
        let Some(local) = self.good(&zones.local) else {
            return Some((Origin::ZoneHealth, self.good(&zones.remote)?));
        };
        // Requests under way and not expected time: the estimate of an endpoint that gets few
        // requests decays, and would tempt over again and again.
        let remote = self.draw(&zones.remote, 0);
        let percent = self
            .balancer
            .zones
            .map_or(0, |zones| zones.spill_at_percent);
        let limit = crowd(remote) * f64::from(percent) / 100.0;
        if crowd(local) > limit && self.is_good(remote) {
            return Some((Origin::ZoneLoad, remote));
        }
        Some((Origin::ZoneLocal, local))
    }

    /// By the policy, an endpoint that is neither ejected nor tried; `None` where a few draws did
    /// not find one.
    fn good<'v>(&mut self, pool: &'v Pool) -> Option<&'v Member> {
        match self.balancer.policy {
            Policy::RoundRobin => self.next_in_turn(pool),
            Policy::P2cEwma | Policy::LeastRequest | Policy::ConsistentHash(_) => {
                self.better_of_two(pool)
            }
        }
    }

    fn is_good(&self, member: &Member) -> bool {
        self.is_healthy(member) && self.is_new(member)
    }

    fn is_healthy(&self, member: &Member) -> bool {
        !member.endpoint.health.is_ejected(self.choice.now)
    }

    fn is_new(&self, member: &Member) -> bool {
        !self.choice.tried.contains(&member.endpoint)
    }

    /// What one more request would cost there, by the policy's measure.
    fn cost(&self, member: &Member) -> f64 {
        let load = &member.endpoint.load;
        match self.balancer.policy {
            Policy::P2cEwma | Policy::ConsistentHash(_) => load.cost(self.choice.now, member.scale),
            Policy::LeastRequest | Policy::RoundRobin => crowd(member),
        }
    }

    /// Of two endpoints, the one that is left when the colder one has yielded: in slow start an
    /// endpoint keeps its chances in proportion to the warmth of the other.
    fn warm<'v>(&mut self, first: &'v Member, second: &'v Member) -> Option<&'v Member> {
        if self.balancer.slow_start == 0 {
            return None;
        }
        let (one, other) = (self.warmth(first), self.warmth(second));
        let (colder, warmer, share) = if one < other {
            (one, second, one / other)
        } else {
            (other, first, other / one)
        };
        (colder < 1.0 && self.dice.unit() >= share).then_some(warmer)
    }

    /// From a tenth to 1 in the time of the slow start.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of less than an hour"
    )]
    fn warmth(&self, member: &Member) -> f64 {
        let age = self.choice.now.saturating_sub(member.endpoint.since);
        if age >= self.balancer.slow_start {
            return 1.0;
        }
        WARMTH_MIN + (1.0 - WARMTH_MIN) * age as f64 / self.balancer.slow_start as f64
    }

    /// The draws found nothing good: the first good endpoint from a random place on; failing
    /// that, a new though ejected one, or one that is healthy though tried.
    fn search<'v>(&mut self, pool: &'v Pool) -> &'v Member {
        let (first, _) = pool.draw_two(self.dice.next());
        let members = pool.members();
        let start = members.iter().position(|it| std::ptr::eq(it, first));
        let (before, after) = members.split_at(start.unwrap_or(0));
        let around = || after.iter().chain(before);
        around()
            .find(|member| self.is_good(member))
            .or_else(|| around().find(|member| self.is_new(member)))
            .or_else(|| around().find(|member| self.is_healthy(member)))
            .unwrap_or(first)
    }
}

/// What one more request would be, in requests under way.
fn crowd(member: &Member) -> f64 {
    f64::from(member.endpoint.load.in_flight()) * member.scale + 1.0
}

/// Further draws from the one that the shell made.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        let random = self.0;
        self.0 = mix(random);
        random
    }

    fn half(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap_or(0)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        f64::from(self.half()) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The endpoints that a request has already been sent to.
#[derive(Debug, Default)]
pub struct Tried {
    endpoints: [Option<Arc<Endpoint>>; TRIED_MAX],
    count: usize,
}

impl Tried {
    /// Remembers one.
    pub fn add(&mut self, endpoint: &Arc<Endpoint>) {
        self.endpoints[self.count % TRIED_MAX] = Some(Arc::clone(endpoint));
        self.count += 1;
    }

    pub(super) fn contains(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.count > 0
            && self
                .endpoints
                .iter()
                .flatten()
                .any(|tried| tried.is(endpoint))
    }
}
