//! AWS Cloud Map: the registry that ECS and Copilot fill.
//!
//! One `DiscoverInstances` for each question. `DiscoverInstancesRevision`
//! would be cheaper, but a change of health leaves the revision as it is, so
//! it cannot replace this call.
//!
//! Needs the IAM action `servicediscovery:DiscoverInstances`.
//! API: <https://docs.aws.amazon.com/cloud-map/latest/api/API_DiscoverInstances.html>

mod client;
mod failure;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
};

use aws_sdk_servicediscovery::{
    Client,
    types::{HealthStatus, HealthStatusFilter, HttpInstanceSummary},
};
use tracing::debug;

pub use self::client::{ClientError, CloudMapClient};
use super::{Discover, DiscoverError, Found, FoundEndpoint};

/// Instances asked for: the API's limit, and Cloud Map's quota for a service.
///
/// The API's own default is 100, and there is no second page: without this a
/// larger service would be seen as a random part of itself.
const MAX_RESULTS: i32 = 1000;

const SOURCE_NAME: &str = "cloud map";

/// Which instances to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudMapService {
    /// The namespace's HTTP name; with Copilot the value of
    /// `COPILOT_SERVICE_DISCOVERY_ENDPOINT`.
    pub namespace: String,
    /// The service's name; with Copilot the name of the Copilot service.
    pub service: String,
    /// Connect to this port instead of the registered one. Needed where
    /// instances register none.
    pub port: Option<NonZeroU16>,
    /// Only instances that have all these attributes with these values.
    pub attributes: BTreeMap<String, String>,
}

/// The instances of one Cloud Map service.
#[derive(Clone, Debug)]
pub struct CloudMap {
    client: Client,
    service: CloudMapService,
}

impl Discover for CloudMap {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        let CloudMapService {
            namespace,
            service,
            attributes,
            ..
        } = &self.service;
        let mut question = self
            .client
            .discover_instances()
            .namespace_name(namespace)
            .service_name(service)
            // Said although it may be the default: implementations differ in
            // theirs, and while a deployment has no healthy instance yet, a
            // starting one is better than none.
            .health_status(HealthStatusFilter::HealthyOrElseAll)
            .max_results(MAX_RESULTS);
        for (key, value) in attributes {
            question = question.query_parameters(key, value);
        }
        let answer = question
            .send()
            .await
            .map_err(|error| failure::classify(&error, &self.service))?;
        found(answer.instances(), self.service.port)
    }
}

/// Turns an answer's instances into endpoints, leaving out unusable ones.
///
/// An answer that names instances of which none can be used is an error, and
/// not an empty set: what helps is another configuration, not waiting.
fn found(
    instances: &[HttpInstanceSummary],
    port: Option<NonZeroU16>,
) -> Result<Found, DiscoverError> {
    let mut endpoints = Vec::with_capacity(instances.len());
    let mut last_skip = None;
    for instance in instances {
        match endpoint(instance, port) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(skip) => {
                debug!(
                    instance = instance.instance_id(),
                    reason = %skip,
                    "instance skipped"
                );
                last_skip = Some(skip);
            }
        }
    }
    match last_skip {
        Some(skip) if endpoints.is_empty() => Err(DiscoverError::Invalid {
            source_name: SOURCE_NAME,
            cause: format!(
                "none of {} registered instances can be used: {skip}",
                instances.len()
            ),
            remedy: "set the upstream's `port`, or register instances with an address and a port",
        }),
        _ => {
            let skipped = instances.len() - endpoints.len();
            Ok(Found::new(endpoints).with_skipped(skipped))
        }
    }
}

/// Why an instance cannot be an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Skip {
    #[error("neither AWS_INSTANCE_IPV4 nor AWS_INSTANCE_IPV6 holds a usable address")]
    Address,
    #[error("AWS_INSTANCE_PORT is missing or not a port")]
    Port,
}

fn endpoint(
    instance: &HttpInstanceSummary,
    port: Option<NonZeroU16>,
) -> Result<FoundEndpoint, Skip> {
    let none = HashMap::new();
    let attributes = instance.attributes().unwrap_or(&none);
    let ip = ["AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6"]
        .into_iter()
        .filter_map(|key| attributes.get(key)?.parse().ok())
        .find(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
        .ok_or(Skip::Address)?;
    let port = port
        .or_else(|| attributes.get("AWS_INSTANCE_PORT")?.parse().ok())
        .ok_or(Skip::Port)?;
    Ok(FoundEndpoint {
        zone: attributes
            .get("AVAILABILITY_ZONE")
            .filter(|zone| !zone.is_empty())
            .map(|zone| Arc::from(zone.as_str())),
        // UNKNOWN is what an instance without a health check has.
        healthy: instance.health_status() != Some(&HealthStatus::Unhealthy),
        id: instance.instance_id().map(Arc::from),
        ..FoundEndpoint::new(SocketAddr::new(ip, port.get()))
    })
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
