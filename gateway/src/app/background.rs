//! What runs beside the workers: discovery, health, keys of others and our own, the clock's
//! correction.

use std::num::NonZeroU16;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use gateway_core::cluster::{EndpointSet, Instance};
use gateway_core::file::{EndpointSource, Settings};
use gateway_core::words::time::Millis;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;

use super::Cause;
use crate::clock::Clock;
use crate::discovery::Source;
use crate::discovery::cloud_map::{ClientError, CloudMapClient, CloudMapService};
use crate::discovery::dns::{DnsError, DnsResolver};
use crate::discovery::watch::{Discovery, WatchOptions, Watcher};
use crate::documents::DocumentWatch;
use crate::health_check::{Checks, HealthWatch};
use crate::identity::Rotator;
use crate::jwks::{KeyWatch, waiting_name};
use crate::lifecycle::Lifecycle;
use crate::proxy::Live;

/// Where this gateway runs: not known yet.
const OWN_ZONE: Option<&str> = None;

pub(super) type Watched = (Watcher<Source>, Discovery);

/// Prepares discovery; static upstreams get their endpoints here and now.
pub(super) fn watchers(
    live: &Live,
    settings: &Settings,
    now: Millis,
) -> Result<Vec<Option<Watched>>, Cause> {
    let mut sources = Sources::default();
    live.plan
        .clusters
        .iter()
        .zip(&live.endpoints)
        .zip(&settings.endpoint_sources)
        .map(|((cluster, endpoints), source)| {
            let (source, interval) = match source {
                EndpointSource::Static(addresses) => {
                    let found = addresses.iter().copied().map(Instance::at);
                    let (previous, balancer) = (endpoints.load(), &cluster.balancer);
                    let set = EndpointSet::succeeding(&previous, found, balancer, OWN_ZONE, now);
                    endpoints.store(Arc::new(set));
                    return Ok(None);
                }
                EndpointSource::CloudMap { spec, interval } => {
                    let client = sources
                        .cloud_map(spec.endpoint.as_deref())
                        .map_err(|source| Cause::CloudMap {
                            upstream: cluster.name.to_string(),
                            source,
                        })?;
                    let service = client.service(CloudMapService {
                        namespace: spec.namespace.clone(),
                        service: spec.service.clone(),
                        port: spec.port.and_then(NonZeroU16::new),
                        attributes: std::collections::BTreeMap::new(),
                    });
                    (Source::CloudMap(service), *interval)
                }
                EndpointSource::Dns { spec, interval } => {
                    let port = NonZeroU16::new(spec.port).unwrap_or(NonZeroU16::MIN);
                    let name = sources
                        .dns()
                        .and_then(|resolver| resolver.name(&spec.name, port))
                        .map_err(|source| Cause::Dns {
                            upstream: cluster.name.to_string(),
                            source,
                        })?;
                    (Source::Dns(name), *interval)
                }
            };
            let options = WatchOptions {
                interval,
                ..WatchOptions::default()
            };
            let name: Arc<str> = Arc::from(&*cluster.name);
            Ok(Some(Watcher::new(
                name,
                source,
                options,
                fastrand::Rng::new(),
            )))
        })
        .collect()
}

/// Prepares the active checks, of upstreams that have them, and what looks at the health of all.
pub(super) fn health(live: &Live, settings: &Settings) -> (Vec<Checks>, Vec<HealthWatch>) {
    let upstreams = live.plan.clusters.iter().zip(&live.endpoints);
    let watches = upstreams
        .clone()
        .map(|(cluster, endpoints)| HealthWatch::new(&cluster.name, endpoints));
    let checks = upstreams.zip(&settings.health_checks);
    let checks = checks.filter_map(|((_, endpoints), check)| {
        let check = check.clone()?;
        Some(Checks::new(check, endpoints, fastrand::Rng::new()))
    });
    (checks.collect(), watches.collect())
}

/// Clients that several upstreams share; each is made when the first upstream wants it.
#[derive(Default)]
struct Sources {
    cloud_map: Vec<(Option<String>, CloudMapClient)>,
    dns: Option<DnsResolver>,
}

impl Sources {
    fn cloud_map(&mut self, endpoint: Option<&str>) -> Result<&CloudMapClient, ClientError> {
        let known = self
            .cloud_map
            .iter()
            .position(|(known, _)| known.as_deref() == endpoint);
        let index = known.unwrap_or(self.cloud_map.len());
        if known.is_none() {
            // Region and credentials are looked up once, before anything is served.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made at the start");
            let client = runtime.block_on(CloudMapClient::connect(endpoint))?;
            self.cloud_map.push((endpoint.map(str::to_owned), client));
        }
        Ok(&self.cloud_map[index].1)
    }

    fn dns(&mut self) -> Result<&DnsResolver, DnsError> {
        if self.dns.is_none() {
            self.dns = Some(DnsResolver::from_system()?);
        }
        Ok(self.dns.as_ref().expect("made above"))
    }
}

/// What readiness waits for: the first answer about each upstream, each provider's keys, and
/// documents that are not files.
pub(super) fn waiting(
    live: &Live,
    watchers: &[Option<Watched>],
    documents: &[DocumentWatch],
) -> Vec<String> {
    let upstreams = watchers
        .iter()
        .flatten()
        .map(|(_, discovery)| upstream_waiting_name(discovery.upstream()));
    let providers = live
        .plan
        .providers
        .iter()
        .zip(&live.trusts)
        .filter(|(_, trust)| trust.load().keys().is_empty())
        .map(|(provider, _)| waiting_name(&provider.name));
    let documents = documents.iter().filter_map(DocumentWatch::waiting_name);
    upstreams.chain(providers).chain(documents).collect()
}

fn upstream_waiting_name(upstream: &str) -> String {
    format!("endpoints of upstream `{upstream}`")
}

/// Discovery, health, keys of others and our own, documents, and the clock's correction, on one
/// thread beside the workers.
pub(super) struct Background {
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) keys: Vec<KeyWatch>,
    pub(super) documents: Vec<DocumentWatch>,
    pub(super) rotator: Option<Rotator>,
    pub(super) watchers: Vec<Option<Watched>>,
    pub(super) checks: Vec<Checks>,
    pub(super) health: Vec<HealthWatch>,
    pub(super) clock: Clock,
    pub(super) lifecycle: Arc<Lifecycle>,
}

#[async_trait]
impl Service for Background {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        for watch in self.keys.drain(..) {
            tokio::spawn(watch.run(Arc::clone(&self.lifecycle)));
        }
        for watch in self.documents.drain(..) {
            tokio::spawn(watch.run(Arc::clone(&self.lifecycle)));
        }
        if let Some(rotator) = self.rotator.take() {
            tokio::spawn(rotator.run());
        }
        for (index, watched) in self.watchers.drain(..).enumerate() {
            let Some((watcher, discovery)) = watched else {
                continue;
            };
            tokio::spawn(watcher.run(std::future::pending()));
            let publisher = Publisher {
                live: self.live.load_full(),
                cluster: index,
                clock: self.clock.clone(),
                lifecycle: Arc::clone(&self.lifecycle),
            };
            tokio::spawn(publisher.run(discovery));
        }
        for checks in self.checks.drain(..) {
            tokio::spawn(checks.run());
        }
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.clock.resync();
            let now = self.clock.now_ms();
            for health in &mut self.health {
                health.tick(now);
            }
        }
    }

    fn name(&self) -> &'static str {
        "background"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

/// Swaps in each new set of endpoints; those that stay keep their load and health.
struct Publisher {
    live: Arc<Live>,
    cluster: usize,
    clock: Clock,
    lifecycle: Arc<Lifecycle>,
}

impl Publisher {
    async fn run(self, discovery: Discovery) {
        let balancer = &self.live.plan.clusters[self.cluster].balancer;
        let endpoints = &self.live.endpoints[self.cluster];
        let mut states = discovery.subscribe();
        loop {
            let state = states.borrow_and_update().clone();
            if state.answered() {
                let found = state.found.endpoints().iter();
                let found = found.map(|endpoint| Instance {
                    address: endpoint.address,
                    weight: endpoint.weight,
                    zone: endpoint.zone.clone(),
                    attributes: Arc::default(),
                });
                let (previous, now) = (endpoints.load(), self.clock.now_ms());
                let set = EndpointSet::succeeding(&previous, found, balancer, OWN_ZONE, now);
                endpoints.store(Arc::new(set));
                let name = upstream_waiting_name(discovery.upstream());
                self.lifecycle.arrived(&name);
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }
}
