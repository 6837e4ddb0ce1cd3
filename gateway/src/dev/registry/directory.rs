//! What the registry knows: one namespace, its services, their instances. No I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Most instances of one service; Cloud Map's own quota.
pub const MAX_INSTANCES: usize = 1_000;
/// Most attributes of one instance; Cloud Map's own quota.
const MAX_ATTRIBUTES: usize = 30;
/// Longest attribute name, in bytes.
const MAX_ATTRIBUTE_NAME_BYTES: usize = 255;
/// Longest attribute value, in bytes.
const MAX_ATTRIBUTE_VALUE_BYTES: usize = 1_024;
/// Longest instance id, in bytes.
const MAX_INSTANCE_ID_BYTES: usize = 64;
/// Most instances in one answer, and how many when nothing is said.
const MAX_RESULTS: u32 = 1_000;
const DEFAULT_RESULTS: u32 = 100;

/// Attributes of an instance, as the service registered them.
pub type Attributes = BTreeMap<String, String>;

/// The registry's state; clones share it.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    namespace: String,
    state: Mutex<State>,
    /// Says that something was registered or deregistered.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    services: Vec<Service>,
    random: fastrand::Rng,
}

#[derive(Debug)]
struct Service {
    id: String,
    name: String,
    /// Grows on register and deregister only, not on a change of health.
    revision: i64,
    instances: BTreeMap<String, Instance>,
}

#[derive(Debug)]
struct Instance {
    health: Health,
    attributes: Attributes,
}

/// Health of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Health {
    /// May be used.
    Healthy,
    /// Registered, but not to be used.
    Unhealthy,
}

/// Which instances an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthFilter {
    /// Healthy ones; Cloud Map's default.
    #[default]
    Healthy,
    /// Unhealthy ones.
    Unhealthy,
    /// All.
    All,
    /// Healthy ones; all when none is healthy.
    HealthyOrElseAll,
}

/// A question for instances.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Query {
    /// Namespace, by name.
    pub namespace_name: String,
    /// Service, by name.
    pub service_name: String,
    /// 1 to 1,000; default 100.
    pub max_results: Option<u32>,
    /// Attributes that an instance must have.
    pub query_parameters: Option<Attributes>,
    /// Attributes that narrow the answer unless nothing would be left.
    pub optional_parameters: Option<Attributes>,
    /// Default `HEALTHY`.
    pub health_status: Option<HealthFilter>,
}

/// One instance in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Found {
    /// The instance's id.
    pub instance_id: String,
    /// Its namespace's name.
    pub namespace_name: String,
    /// Its service's name.
    pub service_name: String,
    /// Its health.
    pub health_status: Health,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Why the directory refused, by Cloud Map's own names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A parameter is missing or out of bounds.
    #[error("{0}")]
    InvalidInput(String),
    /// Another namespace than the one that is served.
    #[error("namespace `{0}` is not known here")]
    NamespaceNotFound(String),
    /// No such service.
    #[error("service `{0}` is not known here")]
    ServiceNotFound(String),
    /// No such instance.
    #[error("instance `{0}` is not registered")]
    InstanceNotFound(String),
    /// The service is full.
    #[error("service `{0}` has {MAX_INSTANCES} instances already")]
    ResourceLimitExceeded(String),
}

impl Refusal {
    /// Cloud Map's name of the error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "InvalidInput",
            Self::NamespaceNotFound(_) => "NamespaceNotFound",
            Self::ServiceNotFound(_) => "ServiceNotFound",
            Self::InstanceNotFound(_) => "InstanceNotFound",
            Self::ResourceLimitExceeded(_) => "ResourceLimitExceeded",
        }
    }
}

impl Directory {
    /// A namespace with `services`, each an id and a name.
    ///
    /// `random` orders the answers.
    #[must_use]
    pub fn new(namespace: &str, services: &[(&str, &str)], random: fastrand::Rng) -> Self {
        let services = services
            .iter()
            .map(|(id, name)| Service {
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                revision: 1,
                instances: BTreeMap::new(),
            })
            .collect();
        Self(Arc::new(Shared {
            namespace: namespace.to_owned(),
            state: Mutex::new(State { services, random }),
            changed: watch::Sender::new(()),
        }))
    }

    /// Adds an instance, or replaces the one of the same id.
    ///
    /// # Errors
    /// `ServiceNotFound`, `InvalidInput`, `ResourceLimitExceeded`.
    pub fn register(
        &self,
        service_id: &str,
        instance_id: &str,
        attributes: Attributes,
    ) -> Result<(), Refusal> {
        check_instance(instance_id, &attributes)?;
        let health = initial_health(&attributes)?;
        let mut state = self.state();
        let service = by_id(&mut state.services, service_id)?;
        if service.instances.len() >= MAX_INSTANCES && !service.instances.contains_key(instance_id)
        {
            return Err(Refusal::ResourceLimitExceeded(service_id.to_owned()));
        }
        let instance = Instance { health, attributes };
        service.instances.insert(instance_id.to_owned(), instance);
        service.revision += 1;
        drop(state);
        self.0.changed.send_replace(());
        Ok(())
    }

    /// Removes an instance.
    ///
    /// # Errors
    /// `ServiceNotFound`, `InstanceNotFound`.
    pub fn deregister(&self, service_id: &str, instance_id: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let service = by_id(&mut state.services, service_id)?;
        service
            .instances
            .remove(instance_id)
            .ok_or_else(|| Refusal::InstanceNotFound(instance_id.to_owned()))?;
        service.revision += 1;
        drop(state);
        self.0.changed.send_replace(());
        Ok(())
    }

    /// Sets the health of an instance; the revision stays.
    ///
    /// # Errors
    /// `ServiceNotFound`, `InstanceNotFound`.
    pub fn set_health(
        &self,
        service_id: &str,
        instance_id: &str,
        health: Health,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        by_id(&mut state.services, service_id)?
            .instances
            .get_mut(instance_id)
            .ok_or_else(|| Refusal::InstanceNotFound(instance_id.to_owned()))?
            .health = health;
        Ok(())
    }

    /// The instances that `query` asks for, in random order, and the revision.
    ///
    /// # Errors
    /// `NamespaceNotFound`, `ServiceNotFound`, `InvalidInput`.
    pub fn discover(&self, query: &Query) -> Result<(Vec<Found>, i64), Refusal> {
        let limit = query.max_results.unwrap_or(DEFAULT_RESULTS);
        if !(1..=MAX_RESULTS).contains(&limit) {
            return Err(Refusal::InvalidInput(format!(
                "MaxResults is {limit}; it must be between 1 and {MAX_RESULTS}"
            )));
        }
        let mut state = self.state();
        let State { services, random } = &mut *state;
        let service = self.by_name(services, &query.namespace_name, &query.service_name)?;
        let mut found = select(&service.instances, query);
        random.shuffle(&mut found);
        found.truncate(limit as usize);
        let found = found
            .into_iter()
            .map(|(id, instance)| Found {
                instance_id: id.clone(),
                namespace_name: self.0.namespace.clone(),
                service_name: service.name.clone(),
                health_status: instance.health,
                attributes: instance.attributes.clone(),
            })
            .collect();
        Ok((found, service.revision))
    }

    /// The revision of a service's instances.
    ///
    /// # Errors
    /// `NamespaceNotFound`, `ServiceNotFound`.
    pub fn revision(&self, namespace: &str, service: &str) -> Result<i64, Refusal> {
        let state = self.state();
        Ok(self.by_name(&state.services, namespace, service)?.revision)
    }

    /// Waits until each of `instances`, a service's id and an instance's id, is registered.
    ///
    /// Has no limit of its own: the caller sets one.
    pub async fn registered(&self, instances: &[(String, String)]) {
        let mut changed = self.0.changed.subscribe();
        while !self.missing(instances).is_empty() {
            // The sender lives in `self`, so this cannot fail.
            let _ = changed.changed().await;
        }
    }

    /// Those of `instances` that are not registered.
    #[must_use]
    pub fn missing<'a>(&self, instances: &'a [(String, String)]) -> Vec<&'a str> {
        let state = self.state();
        let is_missing = |service_id: &str, id: &str| {
            !state
                .services
                .iter()
                .any(|service| service.id == service_id && service.instances.contains_key(id))
        };
        instances
            .iter()
            .filter(|(service_id, id)| is_missing(service_id, id))
            .map(|(_, id)| id.as_str())
            .collect()
    }

    fn by_name<'s>(
        &self,
        services: &'s [Service],
        namespace: &str,
        name: &str,
    ) -> Result<&'s Service, Refusal> {
        if namespace != self.0.namespace {
            return Err(Refusal::NamespaceNotFound(quoted(namespace)));
        }
        services
            .iter()
            .find(|service| service.name == name)
            .ok_or_else(|| Refusal::ServiceNotFound(quoted(name)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything in it can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_id<'s>(services: &'s mut [Service], id: &str) -> Result<&'s mut Service, Refusal> {
    services
        .iter_mut()
        .find(|service| service.id == id)
        .ok_or_else(|| Refusal::ServiceNotFound(quoted(id)))
}

/// A caller's text for an error: a bounded part of it.
fn quoted(text: &str) -> String {
    text.chars().take(MAX_INSTANCE_ID_BYTES).collect()
}

fn select<'s>(
    instances: &'s BTreeMap<String, Instance>,
    query: &Query,
) -> Vec<(&'s String, &'s Instance)> {
    let mut found: Vec<_> = instances
        .iter()
        .filter(|(_, instance)| has_all(instance, query.query_parameters.as_ref()))
        .collect();
    let is = |health| move |&(_, instance): &(&String, &Instance)| instance.health == health;
    match query.health_status.unwrap_or_default() {
        HealthFilter::All => {}
        HealthFilter::Healthy => found.retain(is(Health::Healthy)),
        HealthFilter::Unhealthy => found.retain(is(Health::Unhealthy)),
        HealthFilter::HealthyOrElseAll => {
            if found.iter().any(is(Health::Healthy)) {
                found.retain(is(Health::Healthy));
            }
        }
    }
    let wished = query.optional_parameters.as_ref();
    if found.iter().any(|(_, instance)| has_all(instance, wished)) {
        found.retain(|(_, instance)| has_all(instance, wished));
    }
    found
}

fn has_all(instance: &Instance, wanted: Option<&Attributes>) -> bool {
    wanted.is_none_or(|wanted| {
        wanted
            .iter()
            .all(|(name, value)| instance.attributes.get(name) == Some(value))
    })
}

fn check_instance(id: &str, attributes: &Attributes) -> Result<(), Refusal> {
    let invalid = |what: fmt::Arguments<'_>| Err(Refusal::InvalidInput(what.to_string()));
    let id_is_clean = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_/:.@-".contains(&byte));
    if id.is_empty() || id.len() > MAX_INSTANCE_ID_BYTES || !id_is_clean {
        return invalid(format_args!(
            "InstanceId must be 1 to {MAX_INSTANCE_ID_BYTES} of the characters a-z A-Z 0-9 _ / : . @ -"
        ));
    }
    if attributes.len() > MAX_ATTRIBUTES {
        return invalid(format_args!("more than {MAX_ATTRIBUTES} attributes"));
    }
    for (name, value) in attributes {
        let name_is_clean = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > MAX_ATTRIBUTE_NAME_BYTES || !name_is_clean {
            return invalid(format_args!(
                "an attribute's name must be 1 to {MAX_ATTRIBUTE_NAME_BYTES} visible ASCII characters"
            ));
        }
        if value.len() > MAX_ATTRIBUTE_VALUE_BYTES || value.chars().any(char::is_control) {
            return invalid(format_args!(
                "attribute `{name}` is longer than {MAX_ATTRIBUTE_VALUE_BYTES} bytes or has control characters"
            ));
        }
    }
    check_address(attributes)
}

/// ECS registers an address and a port; without them nothing could be reached.
fn check_address(attributes: &Attributes) -> Result<(), Refusal> {
    let invalid = |what: &str| Err(Refusal::InvalidInput(what.to_owned()));
    let ipv4 = attributes.get("AWS_INSTANCE_IPV4");
    let ipv6 = attributes.get("AWS_INSTANCE_IPV6");
    if ipv4.is_none() && ipv6.is_none() {
        return invalid("attribute AWS_INSTANCE_IPV4 or AWS_INSTANCE_IPV6 is missing");
    }
    if ipv4.is_some_and(|ip| ip.parse::<Ipv4Addr>().is_err()) {
        return invalid("attribute AWS_INSTANCE_IPV4 is not an IPv4 address");
    }
    if ipv6.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_err()) {
        return invalid("attribute AWS_INSTANCE_IPV6 is not an IPv6 address");
    }
    match attributes
        .get("AWS_INSTANCE_PORT")
        .map(|port| port.parse::<u16>())
    {
        Some(Ok(1..)) => Ok(()),
        _ => invalid("attribute AWS_INSTANCE_PORT must be a port, 1 to 65535"),
    }
}

fn initial_health(attributes: &Attributes) -> Result<Health, Refusal> {
    match attributes.get("AWS_INIT_HEALTH_STATUS").map(String::as_str) {
        None | Some("HEALTHY") => Ok(Health::Healthy),
        Some("UNHEALTHY") => Ok(Health::Unhealthy),
        Some(_) => Err(Refusal::InvalidInput(
            "attribute AWS_INIT_HEALTH_STATUS must be HEALTHY or UNHEALTHY".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests;
