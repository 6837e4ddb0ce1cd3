//! The choice of an endpoint: one file a policy, chosen by name in the routes file.

mod p2c;

use std::sync::Arc;

use super::{Endpoint, EndpointSet, Lease};
use crate::words::time::Millis;

/// Endpoints of earlier tries of the same request; more tries than this repeat.
pub const TRIED_MAX: usize = 4;

/// How an upstream's endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancer {
    /// Of two drawn at random, the one with fewer requests under way.
    #[default]
    LeastRequest,
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
}

impl Balancer {
    /// Takes an endpoint and counts the request against it.
    ///
    /// Ejected endpoints and those already tried are taken only when there is no other, but for
    /// the one request that finds out whether an ejected one is good again. `None`
    /// means that the set is empty.
    #[must_use]
    pub fn pick(&self, set: &EndpointSet, choice: &Choice<'_>) -> Option<Lease> {
        let is_new = |endpoint: &Arc<Endpoint>| !choice.tried.contains(endpoint);
        if let Some(probe) = set.claim_probe(choice.now, is_new) {
            return Some(probe);
        }
        match self {
            Balancer::LeastRequest => p2c::pick(set, choice),
        }
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
                .any(|tried| Arc::ptr_eq(tried, endpoint))
    }
}
