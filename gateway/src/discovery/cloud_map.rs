//! AWS Cloud Map: the registry that ECS and Copilot fill.
//!
//! One `DiscoverInstances` for each question. Between two of them the cheaper
//! `DiscoverInstancesRevision` tells of registrations early; it cannot replace
//! the question, because a change of health leaves the revision as it is. Both
//! keep to a share of the account's throttle.
//!
//! Needs the IAM action `servicediscovery:DiscoverInstances`, and for early
//! news `servicediscovery:DiscoverInstancesRevision`.
//! API: <https://docs.aws.amazon.com/cloud-map/latest/api/API_DiscoverInstances.html>

mod budget;
mod client;
mod failure;
mod revision;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    sync::Arc,
    time::Duration,
};

use aws_sdk_servicediscovery::types::{HealthStatus, HealthStatusFilter, HttpInstanceSummary};
use tokio::time::Instant;
use tracing::debug;

use self::revision::RevisionWatch;
pub use self::{
    client::{ClientError, CloudMapClient},
    revision::{Look, RevisionStats},
};
use super::{Discover, DiscoverError, FailureReason, Found, FoundEndpoint};

/// Instances asked for: the API's limit, and Cloud Map's quota for a service.
///
/// The API's own default is 100, and there is no second page: without this a
/// larger service would be seen as a random part of itself.
const MAX_RESULTS: i32 = 1000;

/// Attributes carried of one instance: AWS allows 30 of the user's, and ECS
/// and Cloud Map add some of their own.
const MAX_ATTRIBUTES: usize = 48;

/// Bytes of one attribute's value; Cloud Map's own bound.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// Attributes that say where an instance is, and have fields of their own.
const PLACE: [&str; 4] = [
    "AWS_INSTANCE_IPV4",
    "AWS_INSTANCE_IPV6",
    "AWS_INSTANCE_PORT",
    "AVAILABILITY_ZONE",
];

/// Time between two looks at the revision unless configured otherwise.
pub const DEFAULT_REVISION_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Time between two looks at the revision, ±10 %; as long as the interval
    /// of the questions means never.
    pub revision_interval: Duration,
}

impl CloudMapService {
    /// All instances of a service, at the ports that they register.
    #[must_use]
    pub fn new(namespace: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service: service.into(),
            port: None,
            attributes: BTreeMap::new(),
            revision_interval: DEFAULT_REVISION_INTERVAL,
        }
    }
}

/// The instances of one Cloud Map service.
#[derive(Clone, Debug)]
pub struct CloudMap {
    client: CloudMapClient,
    service: CloudMapService,
    revision: Arc<RevisionWatch>,
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
        let answer = question.send().await.map_err(|error| {
            let error = failure::classify(&error, &self.service);
            if error.reason() == FailureReason::Throttled {
                self.client.shared.budgets.instances.drain(Instant::now());
            }
            error
        })?;
        self.revision.answered(answer.instances_revision());
        found(answer.instances(), self.service.port)
    }

    async fn turn(&self) {
        let wait = self.client.shared.budgets.instances.reserve(Instant::now());
        tokio::time::sleep(wait).await;
    }

    async fn changed(&self) {
        self.revision.changed(&self.client, &self.service).await;
    }

    fn revisions(&self) -> Option<Arc<RevisionStats>> {
        Some(self.revision.stats())
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
    let mut addresses = ["AWS_INSTANCE_IPV4", "AWS_INSTANCE_IPV6"]
        .into_iter()
        .filter_map(|key| attributes.get(key)?.parse().ok())
        .filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast());
    let ip = addresses.next().ok_or(Skip::Address)?;
    let port = port
        .or_else(|| attributes.get("AWS_INSTANCE_PORT")?.parse().ok())
        .ok_or(Skip::Port)?;
    Ok(FoundEndpoint {
        second_address: addresses.next().map(|ip| SocketAddr::new(ip, port.get())),
        zone: attributes
            .get("AVAILABILITY_ZONE")
            .filter(|zone| !zone.is_empty())
            .map(|zone| Arc::from(zone.as_str())),
        // UNKNOWN is what an instance without a health check has.
        healthy: instance.health_status() != Some(&HealthStatus::Unhealthy),
        id: instance.instance_id().map(Arc::from),
        attributes: Arc::new(carried(attributes)),
        ..FoundEndpoint::new(SocketAddr::new(ip, port.get()))
    })
}

/// What is kept of an instance's attributes; beyond the bound the first by name.
fn carried(attributes: &HashMap<String, String>) -> BTreeMap<String, String> {
    let others: BTreeMap<_, _> = attributes
        .iter()
        .filter(|(key, value)| !PLACE.contains(&key.as_str()) && value.len() <= MAX_ATTRIBUTE_BYTES)
        .collect();
    let kept = others.into_iter().take(MAX_ATTRIBUTES);
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
