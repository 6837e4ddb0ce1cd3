//! Spans of one worker, on their way to the exporter.

use std::sync::{Mutex, PoisonError};

use mesh::otlp::{Queue, Span};

/// Spans of a worker at which they are handed over; what is shared between workers is touched
/// once for so many.
const SPANS_KEPT_MAX: usize = 64;

/// A worker's spans. Only its worker comes here, so the lock is never waited for.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// There where spans are exported.
    queue: Option<Queue>,
    spans: Mutex<Vec<Span>>,
}

impl Buffer {
    /// A buffer in front of a queue; without a queue no request is sampled.
    pub(crate) fn new(queue: Option<Queue>) -> Self {
        Self {
            queue,
            spans: Mutex::default(),
        }
    }

    /// Whether anybody wants spans.
    pub(crate) fn is_wanted(&self) -> bool {
        self.queue.is_some()
    }

    /// Adds the spans of a request.
    pub(crate) fn add(&self, spans: impl IntoIterator<Item = Span>) {
        let mut kept = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(spans);
        if kept.len() >= SPANS_KEPT_MAX {
            self.hand_over(&mut kept);
        }
    }

    /// Hands over what has gathered; called some times a second.
    pub(crate) fn flush(&self) {
        if self.queue.is_some() {
            let mut kept = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
            self.hand_over(&mut kept);
        }
    }

    fn hand_over(&self, spans: &mut Vec<Span>) {
        for span in spans.drain(..) {
            if let Some(queue) = &self.queue {
                queue.push(span);
            }
        }
    }
}
