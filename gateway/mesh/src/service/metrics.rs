//! What is counted, in `OpenMetrics`' text format.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::Resource;
use super::store::Store;
use super::store::measure::Measured;
use crate::otlp::Stats;

/// Everything that a service counts.
#[derive(Clone)]
pub(super) struct Metrics<S> {
    pub(super) store: Measured<S>,
    /// There where spans are exported.
    pub(super) spans: Option<Arc<Stats>>,
}

impl<S> Metrics<S> {
    pub(super) fn to_text<R: Resource>(&self) -> String
    where
        S: Store<R>,
    {
        let mut text = String::new();
        self.encode(&mut text).expect("a string takes everything");
        text
    }

    fn encode<R: Resource>(&self, text: &mut String) -> fmt::Result
    where
        S: Store<R>,
    {
        self.store.encode(text)?;
        if let Some(stats) = &self.spans {
            let mut registry = Registry::with_prefix("service_trace");
            registry.register_collector(Box::new(Spans(Arc::clone(stats))));
            encode_registry(text, &registry)?;
        }
        encode_eof(text)
    }
}

/// What became of spans, as the gateway counts its own.
#[derive(Debug)]
struct Spans(Arc<Stats>);

impl Collector for Spans {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(stats) = self;
        let count = |counter: &AtomicU64| ConstCounter::new(counter.load(Ordering::Relaxed));
        let help = "Spans, by what became of them: exported, dropped because the queue was full, \
                    failed because the collector did not take them";
        let mut spans = encoder.encode_descriptor("spans", help, None, MetricType::Counter)?;
        for (outcome, counter) in [
            ("exported", &stats.exported),
            ("dropped", &stats.dropped),
            ("failed", &stats.failed),
        ] {
            count(counter).encode(spans.encode_family(&[("outcome", outcome)])?)?;
        }
        let help = "Batches of spans that were sent another time";
        let kind = MetricType::Counter;
        let retries = encoder.encode_descriptor("export_retries", help, None, kind)?;
        count(&stats.retries).encode(retries)
    }
}
