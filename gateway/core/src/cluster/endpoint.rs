//! One address that serves an upstream.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Health, Load};

/// What discovery says of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its availability zone, where discovery knows it.
    pub zone: Option<Arc<str>>,
    /// Its share of requests relative to the others of its set, from 1; default 1.
    pub weight: u32,
    /// What else discovery knows of it, for subsets.
    pub attributes: Arc<BTreeMap<String, String>>,
}

impl Instance {
    /// An address of which nothing else is known.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            zone: None,
            weight: 1,
            attributes: Arc::default(),
        }
    }
}

/// One address that serves an upstream, with its load and health.
///
/// It lives as long as discovery says the same of its address, across refreshes and reloads, so
/// that load, health and pooled connections survive a change around it.
#[derive(Debug)]
pub struct Endpoint {
    /// What discovery says of it.
    pub instance: Instance,
    /// Its address as the access log shows it.
    pub label: Box<str>,
    /// How busy it is.
    pub load: Load,
    /// Whether it is left out.
    pub health: Health,
}

impl Endpoint {
    /// An idle, healthy endpoint.
    #[must_use]
    pub fn new(instance: Instance) -> Self {
        Self {
            label: instance.address.to_string().into(),
            instance,
            load: Load::default(),
            health: Health::default(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.instance.address
    }
}
