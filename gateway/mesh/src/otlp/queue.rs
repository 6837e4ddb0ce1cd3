//! The way from those who record to the one who exports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use super::Span;
use super::exporter::{Exporter, Settings};

/// What became of spans.
#[derive(Debug, Default)]
pub struct Stats {
    /// Spans that the collector took.
    pub exported: AtomicU64,
    /// Spans that found the queue full.
    pub dropped: AtomicU64,
    /// Spans that the collector refused, or that could not be sent in time.
    pub failed: AtomicU64,
    /// Batches that were sent another time.
    pub retries: AtomicU64,
}

impl Stats {
    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Where spans are left; cheap to clone. The exporter ends when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Queue {
    spans: mpsc::Sender<Span>,
    stats: Arc<Stats>,
    /// Its end tells the exporter that no more will come.
    _open: watch::Sender<()>,
}

impl Queue {
    /// Leaves a span, and never waits: one that finds the queue full is dropped and counted.
    pub fn push(&self, span: Span) {
        if self.spans.try_send(span).is_err() {
            Stats::add(&self.stats.dropped, 1);
        }
    }

    /// What became of all spans.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }
}

/// A queue of as many spans as the settings say, and the exporter at its other end.
#[must_use]
pub fn channel(settings: Settings) -> (Queue, Exporter) {
    let (sender, spans) = mpsc::channel(settings.queue_max.max(1));
    let (open, is_open) = watch::channel(());
    let stats = Arc::<Stats>::default();
    let queue = Queue {
        spans: sender,
        stats: Arc::clone(&stats),
        _open: open,
    };
    (queue, Exporter::new(settings, spans, is_open, stats))
}
