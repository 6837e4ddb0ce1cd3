//! What no file of the cluster can test alone, and endpoints for the tests of the others.

mod simulation;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::balance::Balancer;
use super::{Endpoint, EndpointSet, Instance, Lease, Outcome};

/// An instance on loopback.
pub(super) fn at(port: u16) -> Instance {
    Instance::at(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The set for these instances, found at the beginning of time by an upstream with no options.
pub(super) fn set_after(
    previous: &EndpointSet,
    found: impl IntoIterator<Item = Instance>,
) -> EndpointSet {
    EndpointSet::succeeding(previous, found, &Balancer::default(), None, 0)
}

/// Ejects an endpoint at the beginning of time, for a second.
pub(super) fn eject(endpoint: &Arc<Endpoint>) {
    Lease::new(endpoint).report(Outcome::ConnectFailed, Duration::ZERO, 0);
}
