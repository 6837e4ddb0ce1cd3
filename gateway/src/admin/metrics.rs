//! The counters of all workers, summed and written as `OpenMetrics` text.

mod discovery;
mod health;
mod keys;
mod overload;
mod picks;
mod usage;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwap;
use gateway_core::plan::{Action, Plan};
use gateway_core::words::reason::Reason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::clock::Clock;
use crate::discovery::watch::Discovery;
use crate::documents::DocumentStats;
use crate::jwks::KeyStats;
use crate::lifecycle::Lifecycle;
use crate::proxy::Live;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::cells::{
    BUCKETS_MICROS, Counter, DurationsSum, STATUS_CLASSES, UpstreamCells, WorkerCells,
};

/// Everything that a scrape or a probe looks at.
pub(crate) struct Observed {
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) workers: Vec<Arc<WorkerCells>>,
    /// By the cluster's index; static upstreams have none.
    pub(crate) discovery: Vec<Option<Discovery>>,
    /// By the provider's index.
    pub(crate) keys: Vec<Arc<KeyStats>>,
    pub(crate) documents: Vec<Arc<DocumentStats>>,
    pub(crate) access_log: Option<Arc<AccessLog>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) clock: Clock,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Scrape(Arc<Observed>);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.encode(&mut encoder)
    }
}

type Labels<'a> = [(&'a str, &'a str)];

impl Observed {
    /// All metrics as text.
    pub(crate) fn render(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let live = self.live.load();
        encode_routes(&live, encoder)?;
        self.encode_upstreams(&live, encoder)?;
        keys::encode(&live, &self.keys, encoder)?;
        self.encode_documents(encoder)?;
        self.encode_process(encoder)
    }

    fn encode_upstreams(&self, live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Pick = fn(&UpstreamCells) -> &Counter;
        let counters: [(&str, &str, Pick); 5] = [
            ("gateway_upstream_tries", "Tries, by upstream", |cells| {
                &cells.tries
            }),
            (
                "gateway_upstream_retries",
                "Tries after the first, by upstream",
                |cells| &cells.retries,
            ),
            (
                "gateway_upstream_retries_denied",
                "Retries that the upstream's budget did not have, by upstream",
                |cells| &cells.retries_denied,
            ),
            (
                "gateway_upstream_connections_opened",
                "Connections opened, by upstream",
                |cells| &cells.connections_opened,
            ),
            (
                "gateway_upstream_connect_failures",
                "Connections that failed, by upstream",
                |cells| &cells.connect_failures,
            ),
        ];
        let clusters = || live.plan.clusters.iter().enumerate();
        for (name, help, pick) in counters {
            let mut family = Family::counter(encoder, name, help)?;
            for (index, cluster) in clusters() {
                let count = sum(live.cells.iter().map(|cells| pick(&cells.upstreams[index])));
                family.count(&[("upstream", &cluster.name)], count)?;
            }
        }
        let mut family = Family::new(
            encoder,
            "gateway_upstream_duration_seconds",
            "From the start of the last try to its answer's head, by upstream",
            MetricType::Histogram,
        )?;
        for (index, cluster) in clusters() {
            let mut total = DurationsSum::default();
            for cells in &live.cells {
                cells.upstreams[index].duration.sum_into(&mut total);
            }
            family.histogram(&[("upstream", &cluster.name)], &total)?;
        }
        picks::encode(live, encoder)?;
        health::encode(live, encoder)?;
        usage::encode(live, encoder)?;
        overload::encode(live, encoder)?;
        discovery::encode(live, &self.discovery, encoder)
    }

    fn encode_documents(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.clock.to_unix_seconds(Instant::now());
        let mut family = Family::counter(
            encoder,
            "gateway_document_readings",
            "Looks at files of API keys and of endpoints and at deny lists, by outcome",
        )?;
        for stats in &self.documents {
            for (outcome, count) in [
                ("changed", &stats.changed),
                ("unchanged", &stats.unchanged),
                ("failed", &stats.failed),
            ] {
                let [kind, name] = stats.labels();
                family.count(
                    &[kind, name, ("outcome", outcome)],
                    count.load(Ordering::Relaxed),
                )?;
            }
        }
        let mut family = Family::gauge(
            encoder,
            "gateway_document_age_seconds",
            "Seconds since the document in use was last seen to be the current one",
        )?;
        for stats in &self.documents {
            if let Some(confirmed) = stats.confirmed() {
                family.set(&stats.labels(), now.saturating_sub(confirmed))?;
            }
        }
        let mut family = Family::gauge(
            encoder,
            "gateway_document_entries",
            "Entries of the document in use",
        )?;
        for stats in &self.documents {
            family.set(&stats.labels(), stats.entries.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let total =
            |pick: fn(&WorkerCells) -> &Counter| sum(self.workers.iter().map(|it| pick(it)));
        let opened = total(|cells| &cells.connections);
        let closed = total(|cells| &cells.connections_closed);
        let dropped = self
            .access_log
            .as_ref()
            .map_or(0, |log| log.lines_dropped());
        let counters = [
            (
                "gateway_connections_opened",
                "Client connections so far",
                opened,
            ),
            (
                "gateway_connections_refused",
                "Client connections beyond the limit",
                self.lifecycle.connections_refused(),
            ),
            (
                "gateway_upgrade_failures",
                "New processes that were to take over from this one and did not",
                self.lifecycle.upgrades.failed.load(Ordering::Relaxed),
            ),
            (
                "gateway_access_log_lines_dropped",
                "Access lines lost to a slow output",
                dropped,
            ),
        ];
        for (name, help, count) in counters {
            Family::counter(encoder, name, help)?.count(&[], count)?;
        }
        let gauges = [
            (
                "gateway_connections",
                "Client connections now",
                opened.saturating_sub(closed),
            ),
            (
                "gateway_requests_in_flight",
                "Requests now",
                total(|cells| &cells.requests_in_flight),
            ),
            (
                "gateway_upstream_connections_idle",
                "Idle upstream connections now",
                total(|cells| &cells.connections_idle_upstream),
            ),
            (
                "gateway_tokens_cached",
                "Verified tokens in the workers' caches",
                total(|cells| &cells.tokens_cached),
            ),
            (
                "gateway_generation",
                "Processes that served these listeners before this one",
                self.lifecycle.upgrades.generation.load(Ordering::Relaxed),
            ),
            (
                "gateway_ready",
                "1 when ready",
                u64::from(self.lifecycle.unready().is_none()),
            ),
        ];
        for (name, help, value) in gauges {
            Family::gauge(encoder, name, help)?.set(&[], value)?;
        }
        Ok(())
    }
}

fn encode_routes(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let plan = &live.plan;
    let names = plan.routes.iter().map(|route| &*route.name).chain(["none"]);
    let names: Vec<&str> = names.collect();
    let mut family = Family::counter(
        encoder,
        "gateway_requests",
        "Requests, by route, upstream and class of status",
    )?;
    for (index, name) in names.iter().enumerate() {
        let slots = live
            .cells
            .first()
            .map_or(0, |cells| cells.routes[index].requests.len());
        for slot in 0..slots {
            let upstream = upstream_of_slot(plan, index, slot);
            for (class, class_name) in STATUS_CLASSES.iter().enumerate() {
                let count = sum(live
                    .cells
                    .iter()
                    .map(|cells| &cells.routes[index].requests[slot][class]));
                if count > 0 {
                    let labels = [
                        ("route", *name),
                        ("upstream", upstream),
                        ("status_class", class_name),
                    ];
                    family.count(&labels, count)?;
                }
            }
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_answers_by_reason",
        "Requests that did not get the upstream's whole answer, by route and reason",
    )?;
    for (index, name) in names.iter().enumerate() {
        for reason in Reason::ALL {
            let count = sum(live
                .cells
                .iter()
                .map(|cells| &cells.routes[index].reasons[*reason as usize]));
            if count > 0 {
                family.count(&[("route", name), ("reason", reason.code())], count)?;
            }
        }
    }
    let mut family = Family::new(
        encoder,
        "gateway_request_duration_seconds",
        "From a request's head to the end of its answer, by route",
        MetricType::Histogram,
    )?;
    for (index, name) in names.iter().enumerate() {
        let mut total = DurationsSum::default();
        for cells in &live.cells {
            cells.routes[index].duration.sum_into(&mut total);
        }
        family.histogram(&[("route", name)], &total)?;
    }
    Ok(())
}

/// The upstream of a route's slot; the last slot is for answers of the gateway's own.
fn upstream_of_slot(plan: &Plan, route: usize, slot: usize) -> &str {
    let Some(route) = plan.routes.get(route) else {
        return "none";
    };
    match &route.action {
        Action::Forward(backends) => backends
            .clusters()
            .nth(slot)
            .map_or("none", |cluster| &plan.clusters[cluster].name),
        Action::Respond(_) | Action::RespondKeys => "none",
    }
}

fn sum<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    counters.map(Counter::get).sum()
}

/// One metric with all its label sets.
struct Family<'e>(MetricEncoder<'e>);

impl<'e> Family<'e> {
    fn new(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
        kind: MetricType,
    ) -> Result<Self, fmt::Error> {
        Ok(Self(encoder.encode_descriptor(name, help, None, kind)?))
    }

    fn counter(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        Self::new(encoder, name, help, MetricType::Counter)
    }

    fn gauge(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        Self::new(encoder, name, help, MetricType::Gauge)
    }

    fn count(&mut self, labels: &Labels<'_>, count: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, _, u64>(&count, None);
        }
        let labels = LabelSet(labels);
        self.0
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    fn set(&mut self, labels: &Labels<'_>, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        if labels.is_empty() {
            return self.0.encode_gauge(&value);
        }
        let labels = LabelSet(labels);
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds with microseconds fit 52 bits"
    )]
    fn histogram(&mut self, labels: &Labels<'_>, total: &DurationsSum) -> fmt::Result {
        let bounds = BUCKETS_MICROS
            .iter()
            .map(|&micros| micros as f64 / 1e6)
            .chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(total.buckets).collect();
        let count = total.buckets.iter().sum();
        let labels = LabelSet(labels);
        self.0
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(total.micros as f64 / 1e6, count, &buckets, None)
    }
}

#[derive(Debug)]
struct LabelSet<'a>(&'a Labels<'a>);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        self.0.encode(encoder)
    }
}
