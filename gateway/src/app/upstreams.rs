//! The sets of endpoints of a plan's upstreams, from one plan to the next.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_core::cluster::balance::Balancer;
use gateway_core::cluster::health::OutlierRules;
use gateway_core::cluster::{EndpointSet, Instance};
use gateway_core::file::{EndpointSource, HealthCheck, Settings};
use gateway_core::plan::{Cluster, Plan};

use super::endpoints::{Feed, FileFound, instance};
use super::parts::{Context, Parts, upstream_waiting_name};
use super::task::Task;
use crate::clock::Clock;
use crate::discovery::watch::Discovery;
use crate::health_check::{Checks, HealthWatch};
use crate::lifecycle::Lifecycle;

/// One upstream: its set of endpoints, and what keeps it current.
pub(super) struct Upstream {
    name: Box<str>,
    source: EndpointSource,
    rules: OutlierRules,
    balancer: Balancer,
    pub(super) endpoints: Arc<ArcSwap<EndpointSet>>,
    /// There where the source may say something else one day.
    publishing: Option<Arc<Task>>,
    checking: Option<(HealthCheck, Arc<Task>)>,
}

/// The upstreams of a plan. An upstream that is the same in `before` goes on as it is; of another
/// one of the same name those endpoints stay, with load and health, that are the same.
pub(super) fn succeed(
    before: &[Upstream],
    plan: &Plan,
    settings: &Settings,
    parts: &Parts,
    context: &Context,
) -> Vec<Upstream> {
    let specs = settings
        .endpoint_sources
        .iter()
        .zip(&settings.health_checks);
    let clusters = plan.clusters.iter().zip(&parts.feeds).zip(specs);
    let upstreams = clusters.map(|((cluster, feed), (source, check))| {
        let earlier = before.iter().find(|it| *it.name == *cluster.name);
        let mut upstream = Upstream::succeed(earlier, cluster, source, feed, context);
        upstream.checking = check.as_ref().map(|check| upstream.check(check, earlier));
        upstream
    });
    upstreams.collect()
}

impl Upstream {
    fn succeed(
        earlier: Option<&Self>,
        cluster: &Cluster,
        source: &EndpointSource,
        feed: &Feed,
        context: &Context,
    ) -> Self {
        let is_same = |earlier: &&Self| {
            earlier.source == *source
                && earlier.rules == cluster.outliers
                && earlier.balancer == cluster.balancer
        };
        let kept = earlier.filter(is_same);
        let endpoints = kept.map(|earlier| Arc::clone(&earlier.endpoints));
        let endpoints = endpoints.unwrap_or_else(|| {
            let set = set(earlier, cluster, feed, context);
            Arc::new(ArcSwap::from_pointee(set))
        });
        let publishing = match kept {
            Some(earlier) => earlier.publishing.clone(),
            None => Publisher::of(cluster, &endpoints, context).task(feed),
        };
        Self {
            name: cluster.name.clone(),
            source: source.clone(),
            rules: cluster.outliers,
            balancer: cluster.balancer.clone(),
            endpoints,
            publishing,
            checking: None,
        }
    }

    fn check(&self, check: &HealthCheck, earlier: Option<&Self>) -> (HealthCheck, Arc<Task>) {
        let kept = earlier
            .filter(|earlier| Arc::ptr_eq(&earlier.endpoints, &self.endpoints))
            .and_then(|earlier| earlier.checking.clone())
            .filter(|(earlier, _)| earlier == check);
        kept.unwrap_or_else(|| {
            let random = fastrand::Rng::new();
            let checks = Checks::new(check.clone(), &self.endpoints, random);
            (check.clone(), Arc::new(Task::new(checks.run())))
        })
    }

    /// Begins what has not begun.
    pub(super) fn start(&self) {
        self.publishing.iter().for_each(|task| task.start());
        self.checking.iter().for_each(|(_, task)| task.start());
    }
}

/// The first set of an upstream that is new or has changed.
fn set(
    earlier: Option<&Upstream>,
    cluster: &Cluster,
    feed: &Feed,
    context: &Context,
) -> EndpointSet {
    let before = earlier.map(|earlier| earlier.endpoints.load_full());
    // Until another source has answered, the endpoints that worked go on working.
    let found = feed.current();
    let found = found.or_else(|| before.as_ref().map(|set| set.instances().collect()));
    // Health goes by rules; with others it begins anew.
    let base = before
        .filter(|set| *set.health().rules() == cluster.outliers)
        .unwrap_or_else(|| Arc::new(EndpointSet::with_rules(cluster.outliers)));
    let Some(found) = found else {
        return EndpointSet::with_rules(cluster.outliers);
    };
    let (zone, now) = (context.zone.as_deref(), context.clock.now_ms());
    EndpointSet::succeeding(&base, found, &cluster.balancer, zone, now)
}

/// Swaps in each new set of one upstream's endpoints; those that stay keep their load and health.
struct Publisher {
    upstream: Box<str>,
    endpoints: Arc<ArcSwap<EndpointSet>>,
    balancer: Balancer,
    zone: Option<Arc<str>>,
    clock: Clock,
    lifecycle: Arc<Lifecycle>,
}

impl Publisher {
    fn of(cluster: &Cluster, endpoints: &Arc<ArcSwap<EndpointSet>>, context: &Context) -> Self {
        Self {
            upstream: cluster.name.clone(),
            endpoints: Arc::clone(endpoints),
            balancer: cluster.balancer.clone(),
            zone: context.zone.clone(),
            clock: context.clock.clone(),
            lifecycle: Arc::clone(&context.lifecycle),
        }
    }

    fn task(self, feed: &Feed) -> Option<Arc<Task>> {
        let task = match feed {
            Feed::Fixed(_) => return None,
            Feed::Asked(asked) => Task::new(self.follow(asked.discovery.clone())),
            Feed::File(file) => Task::new(self.follow_file(file.found.clone())),
        };
        Some(Arc::new(task))
    }

    async fn follow(self, discovery: Discovery) {
        let waiting = upstream_waiting_name(&self.upstream);
        let mut states = discovery.subscribe();
        loop {
            let state = states.borrow_and_update().clone();
            if state.answered() {
                self.publish(state.found.endpoints().iter().map(instance));
                self.lifecycle.arrived(&waiting);
            } else if let Some(failing) = &state.failing {
                self.lifecycle.delayed(&waiting, failing.error.to_string());
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    async fn follow_file(self, mut found: FileFound) {
        loop {
            let instances = found.borrow_and_update().clone();
            if let Some(instances) = instances {
                self.publish(instances.iter().cloned());
            }
            if found.changed().await.is_err() {
                return;
            }
        }
    }

    /// All that changes a set runs on one thread, and nothing is awaited here.
    fn publish(&self, found: impl IntoIterator<Item = Instance>) {
        let (zone, now) = (self.zone.as_deref(), self.clock.now_ms());
        let before = self.endpoints.load();
        let set = EndpointSet::succeeding(&before, found, &self.balancer, zone, now);
        self.endpoints.store(Arc::new(set));
    }
}

/// What looks at the health of all upstreams once a second; of an upstream that stays it knows
/// what it has written down.
pub(super) fn health(before: Vec<HealthWatch>, upstreams: &[Upstream]) -> Vec<HealthWatch> {
    let mut before: std::collections::HashMap<Box<str>, HealthWatch> = before
        .into_iter()
        .map(|watch| (watch.upstream().into(), watch))
        .collect();
    let watches = upstreams
        .iter()
        .map(|upstream| match before.remove(&upstream.name) {
            Some(watch) => watch.following(&upstream.endpoints),
            None => HealthWatch::new(&upstream.name, &upstream.endpoints),
        });
    watches.collect()
}
