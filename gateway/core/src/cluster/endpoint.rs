//! One address that serves an upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::health::SetHealth;
use super::{Health, Load};
use crate::words::time::Millis;

/// What discovery says of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the same host listens in the other address family, where it has both. It is used
    /// where `address` cannot be reached, and is no endpoint of its own.
    pub second_address: Option<SocketAddr>,
    /// Its share of the requests, against those of the other endpoints; default 1. 0 counts as 1:
    /// an endpoint that is to get nothing is not listed.
    pub weight: u32,
    /// Its availability zone, where discovery knows it.
    pub zone: Option<Arc<str>>,
    /// What else discovery knows of it, for subsets.
    pub attributes: Arc<BTreeMap<String, String>>,
}

impl Instance {
    /// An address of which nothing else is known.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            second_address: None,
            weight: 1,
            zone: None,
            attributes: Arc::default(),
        }
    }
}

/// One address that serves an upstream, with its load and health.
///
/// It lives as long as discovery says the same of its address, across refreshes and reloads; its
/// load and health live as long as the address is there, so that a new weight or attribute costs
/// nothing of what is known, and requests under way are counted where new ones look.
#[derive(Debug)]
pub struct Endpoint {
    /// What discovery says of it.
    pub instance: Instance,
    /// Its address as the access log shows it.
    pub label: Box<str>,
    /// Since when it is there, for slow start.
    pub since: Millis,
    /// How busy it is.
    pub load: Arc<Load>,
    /// Whether it is left out.
    pub health: Arc<Health>,
}

impl Endpoint {
    /// An idle, healthy endpoint, found now.
    #[must_use]
    pub fn new(instance: Instance, now: Millis) -> Self {
        Self {
            label: instance.address.to_string().into(),
            instance,
            since: now,
            load: Arc::default(),
            health: Arc::default(),
        }
    }

    /// The same, in a set whose endpoints share this.
    pub(super) fn of(instance: Instance, now: Millis, set: &Arc<SetHealth>) -> Self {
        Self {
            health: Arc::new(Health::of(set)),
            ..Self::new(instance, now)
        }
    }

    /// The same address, of which discovery now says this.
    pub(super) fn described(&self, instance: Instance) -> Self {
        Self {
            instance,
            label: self.label.clone(),
            since: self.since,
            load: Arc::clone(&self.load),
            health: Arc::clone(&self.health),
        }
    }

    /// Whether it is the same address of the same set, whatever was said of it when.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.health, &other.health)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.instance.address
    }
}
