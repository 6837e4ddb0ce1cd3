//! The configuration in force and all that runs by it; how another one takes its place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_core::cluster::AdaptiveLimit;
use gateway_core::file::Settings;
use gateway_core::plan::{Cluster, Plan};
use tokio::time::{Instant, sleep};

use super::Cause;
use super::aside::{aside, drop_aside};
use super::endpoints::{Sources, runtime};
use super::parts::{Context, Parts};
use super::upstreams::{Upstream, health, succeed};
use crate::health_check::HealthWatch;
use crate::proxy::Live;
use crate::telemetry::cells::Cells;
use crate::telemetry::ledger::Ledger;

/// How long a new configuration waits for the first answers about what is new in it: endpoints,
/// keys, deny lists. Then it comes into force all the same.
const FIRST_ANSWERS_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks whether they are there.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Earlier plans that are kept here until the last request of each has ended, so that no worker
/// takes the time to take one apart.
const EARLIER_MAX: usize = 32;

/// What looks at the health of upstreams, once a second.
pub(super) type HealthWatches = Arc<Mutex<Vec<HealthWatch>>>;

pub(super) struct Running {
    live: Arc<ArcSwap<Live>>,
    earlier: Vec<Arc<Live>>,
    parts: Parts,
    upstreams: Vec<Upstream>,
    health: HealthWatches,
    sources: Sources,
    pub(super) context: Context,
}

impl Running {
    /// Prepares the first configuration; nothing runs before [`start`](Self::start). Files are
    /// read here and now.
    pub(super) fn begin(
        plan: Plan,
        settings: &Settings,
        workers: usize,
        context: Context,
    ) -> Result<Self, Cause> {
        let mut sources = Sources::default();
        let before = Parts::default();
        let prepare = Parts::prepare(&plan, settings, &before, &mut sources, &context);
        let parts = runtime().block_on(prepare)?;
        parts.install();
        let waiting = parts.unanswered(&plan, &before);
        context.lifecycle.wait_for(waiting);
        let upstreams = succeed(&[], &plan, settings, &parts, &context);
        let health = health(Vec::new(), &upstreams);
        let counted = Ledger::new(workers).succeed(&plan);
        let live = live(plan, counted, Limits(&[]), &parts, &upstreams, &context);
        Ok(Self {
            live: Arc::new(ArcSwap::from_pointee(live)),
            earlier: Vec::new(),
            parts,
            upstreams,
            health: Arc::new(Mutex::new(health)),
            sources,
            context,
        })
    }

    /// Where workers find the plan in force.
    pub(super) fn live(&self) -> &Arc<ArcSwap<Live>> {
        &self.live
    }

    pub(super) fn health(&self) -> HealthWatches {
        Arc::clone(&self.health)
    }

    /// Begins what runs beside the workers.
    pub(super) fn start(&self) {
        self.parts.start();
        self.upstreams.iter().for_each(Upstream::start);
    }

    /// Puts another configuration in force; what it has in common with the one before goes on.
    /// Returns what is new in it and has not been read in time.
    ///
    /// # Errors
    /// What would have ended a start; nothing has changed then.
    pub(super) async fn change(
        &mut self,
        plan: Plan,
        settings: &Settings,
    ) -> Result<Vec<String>, Cause> {
        let context = &self.context;
        let prepare = Parts::prepare(&plan, settings, &self.parts, &mut self.sources, context);
        let parts = prepare.await?;
        parts.fetch();
        let unanswered = first_answers(&plan, &parts, &self.parts).await;
        let live_before = self.live.load_full();
        let trusts = plan.providers.iter().map(|provider| &provider.name);
        let trusts = trusts.filter(|name| parts.is_trust_of(&self.parts, name));
        let trusts = trusts.cloned().collect();
        let (plan, counted) = successor(plan, &live_before, trusts).await;
        // From here to the end nothing is awaited, so that no set and no key changes meanwhile.
        parts.install();
        let upstreams = succeed(&self.upstreams, &plan, settings, &parts, context);
        let limits = live_before.plan.clusters.iter().zip(&live_before.adaptive);
        let limits: Vec<_> = limits
            .filter_map(|(cluster, limit)| Some((&*cluster.name, limit.as_ref()?)))
            .collect();
        let next = live(plan, counted, Limits(&limits), &parts, &upstreams, context);
        let wanted = parts.unanswered(&next.plan, &Parts::default());
        self.live.store(Arc::new(next));
        context.lifecycle.wait_only_for(&wanted);
        {
            let mut health_watches = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            *health_watches = health(std::mem::take(&mut health_watches), &upstreams);
        }
        // What only the old ones had ends here.
        self.parts = parts;
        self.upstreams = upstreams;
        self.start();
        self.earlier.push(live_before);
        self.clear();
        Ok(unanswered)
    }

    /// Takes apart the earlier plans that no request has any more.
    pub(super) fn clear(&mut self) {
        let is_unused = |live: &mut Arc<Live>| Arc::strong_count(live) == 1;
        let mut gone: Vec<_> = self.earlier.extract_if(.., is_unused).collect();
        let beyond = self.earlier.len().saturating_sub(EARLIER_MAX);
        gone.extend(self.earlier.drain(..beyond));
        if !gone.is_empty() {
            drop_aside(gone);
        }
    }
}

/// The plan with the numbers of the one before, and its counters: what grows with the number of
/// routes. `trusts` names the providers whose keys and deny lists are those of before.
async fn successor(mut plan: Plan, before: &Arc<Live>, trusts: Vec<Box<str>>) -> (Plan, Counted) {
    let before = Arc::clone(before);
    let work = aside(move || {
        plan.succeed(&before.plan, |provider| {
            trusts.iter().any(|name| **name == *provider)
        });
        let counted = before.ledger.succeed(&plan);
        (plan, counted)
    });
    work.await
}

/// Waits for what is new, within the bound; returns what is not there.
async fn first_answers(plan: &Plan, parts: &Parts, before: &Parts) -> Vec<String> {
    let deadline = Instant::now() + FIRST_ANSWERS_MAX;
    loop {
        let unanswered = parts.unanswered(plan, before);
        if unanswered.is_empty() || Instant::now() >= deadline {
            return unanswered;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// The counters of a plan, and each worker's share of them.
type Counted = (Ledger, Vec<Arc<Cells>>);

/// The limits that find themselves, of the plan before, by their upstreams' names.
#[derive(Clone, Copy)]
struct Limits<'a>(&'a [(&'a str, &'a Arc<AdaptiveLimit>)]);

impl Limits<'_> {
    /// The limit of an upstream that has one; what was found out goes on under the same rules.
    fn of(self, cluster: &Cluster, workers: usize) -> Option<Arc<AdaptiveLimit>> {
        let (rules, shares) = (cluster.adaptive?, cluster.priorities);
        let mut known = self.0.iter();
        let known =
            known.find(|(name, limit)| **name == *cluster.name && limit.goes_by(rules, shares));
        Some(match known {
            Some((_, limit)) => Arc::clone(limit),
            None => Arc::new(AdaptiveLimit::new(rules, shares, workers)),
        })
    }
}

fn live(
    plan: Plan,
    (ledger, cells): Counted,
    before: Limits<'_>,
    parts: &Parts,
    upstreams: &[Upstream],
    context: &Context,
) -> Live {
    let limits = plan.clusters.iter();
    let limits = limits.map(|cluster| before.of(cluster, cells.len()));
    let live = Live {
        adaptive: limits.collect(),
        trusts: parts.keys.iter().map(|it| Arc::clone(&it.trust)).collect(),
        wanted: parts.keys.iter().map(|it| Arc::clone(&it.wanted)).collect(),
        api_keys: parts
            .api_keys
            .iter()
            .map(|it| Arc::clone(&it.current))
            .collect(),
        endpoints: upstreams
            .iter()
            .map(|it| Arc::clone(&it.endpoints))
            .collect(),
        signer: parts.signer(),
        zone: context.zone.clone(),
        watched: parts.watched(),
        cells,
        ledger,
        plan,
    };
    for (index, limit) in live.adaptive.iter().enumerate() {
        if let Some(limit) = limit {
            limit.apply(live.usages(index));
        }
    }
    live
}
