//! What runs beside the workers: discovery, health, keys of others and our own, the clock's
//! correction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use gateway_core::file::Settings;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;

use super::endpoints::{Watches, instance};
use crate::clock::Clock;
use crate::discovery::watch::Discovery;
use crate::documents::DocumentWatch;
use crate::health_check::{Checks, HealthWatch};
use crate::identity::Rotator;
use crate::jwks::{KeyWatch, waiting_name};
use crate::lifecycle::Lifecycle;
use crate::proxy::Live;

/// Between two looks at the limits that find themselves.
const ADAPT_PAUSE: Duration = Duration::from_millis(50);
/// The same where there is none: a reload may bring one.
const ADAPT_IDLE_PAUSE: Duration = Duration::from_secs(1);

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

/// Discovery, health, keys of others and our own, documents, and the clock's correction, on one
/// thread beside the workers.
pub(super) struct Background {
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) keys: Vec<KeyWatch>,
    pub(super) documents: Vec<DocumentWatch>,
    pub(super) rotator: Option<Rotator>,
    pub(super) watches: Watches,
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
        for watcher in self.watches.watchers.drain(..) {
            tokio::spawn(watcher.run(std::future::pending()));
        }
        for (index, discovery) in self.watches.discoveries.drain(..).enumerate() {
            let Some(discovery) = discovery else {
                continue;
            };
            tokio::spawn(publish(
                self.live.load_full(),
                index,
                discovery,
                self.clock.clone(),
                Arc::clone(&self.lifecycle),
            ));
        }
        for checks in self.checks.drain(..) {
            tokio::spawn(checks.run());
        }
        tokio::spawn(adapt(Arc::clone(&self.live), self.clock.clone()));
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
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

/// Lets the limits that find themselves move.
async fn adapt(live: Arc<ArcSwap<Live>>, clock: Clock) {
    loop {
        let now = Instant::now();
        let is_any = live
            .load()
            .adapt(clock.to_ms(now), clock.to_unix_seconds(now));
        let pause = if is_any {
            ADAPT_PAUSE
        } else {
            ADAPT_IDLE_PAUSE
        };
        tokio::time::sleep(pause).await;
    }
}

/// Swaps in each new set of endpoints; those that stay keep their load and health.
async fn publish(
    live: Arc<Live>,
    cluster: usize,
    discovery: Discovery,
    clock: Clock,
    lifecycle: Arc<Lifecycle>,
) {
    let waiting = upstream_waiting_name(&live.plan.clusters[cluster].name);
    let mut states = discovery.subscribe();
    loop {
        let state = states.borrow_and_update().clone();
        if state.answered() {
            let found = state.found.endpoints().iter().map(instance);
            live.publish(cluster, found, clock.now_ms());
            lifecycle.arrived(&waiting);
        } else if let Some(failing) = &state.failing {
            lifecycle.delayed(&waiting, failing.error.to_string());
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}
