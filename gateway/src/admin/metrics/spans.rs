//! What became of spans.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh::otlp::Stats;
use prometheus_client::encoding::DescriptorEncoder;

use super::Family;

pub(super) fn encode(stats: Option<&Stats>, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Some(stats) = stats else {
        return Ok(());
    };
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut family = Family::counter(
        encoder,
        "gateway_trace_spans",
        "Spans, by what became of them: exported, dropped because the queue was full, failed \
         because the collector did not take them",
    )?;
    for (outcome, counter) in [
        ("exported", &stats.exported),
        ("dropped", &stats.dropped),
        ("failed", &stats.failed),
    ] {
        family.count(&[("outcome", outcome)], count(counter))?;
    }
    let mut family = Family::counter(
        encoder,
        "gateway_trace_export_retries",
        "Batches of spans that were sent another time",
    )?;
    family.count(&[], count(&stats.retries))
}
