//! What runs beside the workers: discovery, keys of others and our own, the clock's correction.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use gateway_core::cluster::EndpointSet;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;

use super::endpoints::{Watches, instance};
use crate::clock::Clock;
use crate::discovery::watch::Discovery;
use crate::documents::DocumentWatch;
use crate::identity::Rotator;
use crate::jwks::{KeyWatch, waiting_name};
use crate::lifecycle::Lifecycle;
use crate::proxy::Live;

/// What readiness waits for: the first answer about each upstream, each provider's keys, and
/// documents that are not files.
pub(super) fn waiting(live: &Live, watches: &Watches, documents: &[DocumentWatch]) -> Vec<String> {
    let clusters = live.plan.clusters.iter().zip(&watches.discoveries);
    let upstreams = clusters
        .filter(|(_, discovery)| discovery.is_some())
        .map(|(cluster, _)| upstream_waiting_name(&cluster.name));
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

/// Discovery, keys of others and our own, documents, and the clock's correction, on one thread beside the
/// workers.
pub(super) struct Background {
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) keys: Vec<KeyWatch>,
    pub(super) documents: Vec<DocumentWatch>,
    pub(super) rotator: Option<Rotator>,
    pub(super) watches: Watches,
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
        for watcher in self.watches.watchers.drain(..) {
            tokio::spawn(watcher.run(std::future::pending()));
        }
        for (index, discovery) in self.watches.discoveries.drain(..).enumerate() {
            let Some(discovery) = discovery else {
                continue;
            };
            let live = self.live.load();
            let waiting = upstream_waiting_name(&live.plan.clusters[index].name);
            let endpoints = Arc::clone(&live.endpoints[index]);
            let lifecycle = Arc::clone(&self.lifecycle);
            tokio::spawn(publish(discovery, endpoints, waiting, lifecycle));
        }
        let mut seconds = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            seconds.tick().await;
            self.clock.resync();
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
async fn publish(
    discovery: Discovery,
    endpoints: Arc<ArcSwap<EndpointSet>>,
    waiting: String,
    lifecycle: Arc<Lifecycle>,
) {
    let mut states = discovery.subscribe();
    loop {
        let state = states.borrow_and_update().clone();
        if state.answered() {
            let found = state.found.endpoints().iter().map(instance);
            let set = EndpointSet::succeeding(&endpoints.load(), found);
            endpoints.store(Arc::new(set));
            lifecycle.arrived(&waiting);
        } else if let Some(failing) = &state.failing {
            lifecycle.delayed(&waiting, failing.error.to_string());
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}
