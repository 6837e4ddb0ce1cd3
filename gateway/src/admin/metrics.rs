//! The counters of all workers, summed and written as `OpenMetrics` text.

mod aperture;
mod discovery;
mod exemplars;
mod health;
mod keys;
mod logs;
mod overload;
mod picks;
mod process;
mod spans;
mod usage;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwap;
use gateway_core::words::reason::Reason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::reload::Reloads;
use crate::clock::Clock;
use crate::documents::DocumentStats;
use crate::lifecycle::Lifecycle;
use crate::proxy::Live;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::cells::{
    BUCKETS_MICROS, Counter, DurationsSum, STATUS_CLASSES, UpstreamCells, WorkerCells,
};
use crate::telemetry::ledger::Ledger;
use crate::telemetry::log_level::LogLevel;

/// Everything that a scrape or a probe looks at.
pub(crate) struct Observed {
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) workers: Vec<Arc<WorkerCells>>,
    pub(crate) access_log: Arc<AccessLog>,
    /// What is logged besides requests, where that is this process's own to say.
    pub(crate) log_level: Option<Arc<LogLevel>>,
    /// There where spans are exported.
    pub(crate) spans: Option<Arc<mesh::otlp::Stats>>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    pub(crate) reloads: Arc<Reloads>,
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

pub(super) type Labels<'a> = [(&'a str, &'a str)];

impl Observed {
    /// All metrics as text.
    pub(crate) fn render(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(self))));
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &registry)?;
        exemplars::add(text, &self.live.load().ledger)
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let live = self.live.load();
        encode_routes(&live.ledger, encoder)?;
        Self::encode_upstreams(&live, encoder)?;
        keys::encode(&live, encoder)?;
        self.encode_documents(&live.watched.documents, encoder)?;
        self.reloads.encode(encoder)?;
        process::encode(&self.workers, encoder)?;
        spans::encode(self.spans.as_deref(), encoder)?;
        self.encode_process(encoder)
    }

    fn encode_upstreams(live: &Live, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Pick = fn(&UpstreamCells) -> &Counter;
        let counters: [(&str, &str, Pick); 6] = [
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
                "gateway_upstream_held_answers_lost",
                "Answers that broke off while they were held, by upstream",
                |cells| &cells.held_answers_lost,
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
        for (name, help, pick) in counters {
            let mut family = Family::counter(encoder, name, help)?;
            for (upstream, cells) in live.ledger.upstreams() {
                let count = sum(cells.iter().map(|cells| pick(cells)));
                family.count(&[("upstream", upstream)], count)?;
            }
        }
        let mut family = Family::new(
            encoder,
            "gateway_upstream_duration_seconds",
            "From the start of the last try to its answer's head, by upstream",
            MetricType::Histogram,
        )?;
        for (upstream, cells) in live.ledger.upstreams() {
            let mut total = DurationsSum::default();
            for cells in cells {
                cells.duration.sum_into(&mut total);
            }
            family.histogram(&[("upstream", upstream)], &total)?;
        }
        picks::encode(&live.ledger, encoder)?;
        aperture::encode(live, encoder)?;
        health::encode(live, encoder)?;
        usage::encode(live, encoder)?;
        overload::encode(live, encoder)?;
        discovery::encode(live, encoder)
    }

    fn encode_documents(
        &self,
        documents: &[Arc<DocumentStats>],
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let now = self.clock.to_unix_seconds(Instant::now());
        let mut family = Family::counter(
            encoder,
            "gateway_document_readings",
            "Looks at files of API keys and of endpoints and at deny lists, by outcome",
        )?;
        for stats in documents {
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
        for stats in documents {
            if let Some(confirmed) = stats.confirmed() {
                family.set(&stats.labels(), now.saturating_sub(confirmed))?;
            }
        }
        let mut family = Family::gauge(
            encoder,
            "gateway_document_entries",
            "Entries of the document in use",
        )?;
        for stats in documents {
            family.set(&stats.labels(), stats.entries.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let total =
            |pick: fn(&WorkerCells) -> &Counter| sum(self.workers.iter().map(|it| pick(it)));
        let opened = total(|cells| &cells.connections);
        let closed = total(|cells| &cells.connections_closed);
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
        ];
        for (name, help, count) in counters {
            Family::counter(encoder, name, help)?.count(&[], count)?;
        }
        logs::encode(self, encoder)?;
        let gauges = [
            (
                "gateway_connections",
                "Client connections now",
                opened.saturating_sub(closed),
            ),
            (
                "gateway_connections_resting",
                "Client connections now that hold neither parser nor buffers",
                total(|cells| &cells.connections_resting),
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

fn encode_routes(ledger: &Ledger, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut family = Family::counter(
        encoder,
        "gateway_requests",
        "Requests, by route, upstream and class of status",
    )?;
    for (route, upstream, counts) in ledger.answers() {
        for (class, class_name) in STATUS_CLASSES.iter().enumerate() {
            let count = sum(counts.iter().map(|counts| &counts.classes[class]));
            if count > 0 {
                let labels = [
                    ("route", route),
                    ("upstream", upstream),
                    ("status_class", class_name),
                ];
                family.count(&labels, count)?;
            }
        }
    }
    let mut family = Family::counter(
        encoder,
        "gateway_answers_by_reason",
        "Requests that did not get the upstream's whole answer, by route and reason",
    )?;
    for (route, counts) in ledger.routes() {
        for reason in Reason::ALL {
            let count = sum(counts
                .iter()
                .map(|counts| &counts.reasons[*reason as usize]));
            if count > 0 {
                family.count(&[("route", route), ("reason", reason.code())], count)?;
            }
        }
    }
    let mut family = Family::new(
        encoder,
        "gateway_request_duration_seconds",
        "From a request's head to the end of its answer, by route",
        MetricType::Histogram,
    )?;
    for (route, counts) in ledger.routes() {
        let mut total = DurationsSum::default();
        for counts in counts {
            counts.duration.sum_into(&mut total);
        }
        family.histogram(&[("route", route)], &total)?;
    }
    Ok(())
}

pub(super) fn sum<'a>(counters: impl Iterator<Item = &'a Counter>) -> u64 {
    counters.map(Counter::get).sum()
}

/// One metric with all its label sets.
pub(super) struct Family<'e>(MetricEncoder<'e>);

impl<'e> Family<'e> {
    pub(super) fn new(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
        kind: MetricType,
    ) -> Result<Self, fmt::Error> {
        Ok(Self(encoder.encode_descriptor(name, help, None, kind)?))
    }

    pub(super) fn counter(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        Self::new(encoder, name, help, MetricType::Counter)
    }

    pub(super) fn gauge(
        encoder: &'e mut DescriptorEncoder<'_>,
        name: &'e str,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        Self::new(encoder, name, help, MetricType::Gauge)
    }

    pub(super) fn count(&mut self, labels: &Labels<'_>, count: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, _, u64>(&count, None);
        }
        let labels = LabelSet(labels);
        self.0
            .encode_family(&labels)?
            .encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    pub(super) fn set(&mut self, labels: &Labels<'_>, value: u64) -> fmt::Result {
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
