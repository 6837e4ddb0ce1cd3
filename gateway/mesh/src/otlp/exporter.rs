//! Batches, sends, tries again within bounds.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::encode::request;
use super::{Protocol, Resource, Span, Stats};

/// Times that one batch is sent, the first included.
pub const SENDS_MAX: u32 = 5;
/// Pause before a batch is sent a second time; each further one is twice as long.
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// The longest pause, `Retry-After` included.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// Time for what is left when nobody records any more: a process that leaves does not wait
/// longer for its collector.
pub const FLUSH_MAX: Duration = Duration::from_secs(2);

/// What an exporter goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How spans are written.
    pub protocol: Protocol,
    /// Headers of each request; those that are secret are marked so.
    pub headers: HeaderMap,
    /// Who records.
    pub resource: Resource,
    /// Spans that may wait, from 1.
    pub queue_max: usize,
    /// Spans of one request, from 1.
    pub batch_max: usize,
    /// The longest time that a span waits for others.
    pub interval: Duration,
}

/// Why there is no answer.
pub type PostError = Box<dyn Error + Send + Sync>;

/// Carries a batch to the collector, within a bounded time.
pub trait Transport: Send + Sync {
    /// Sends one request; an answer of any status is not an error.
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> impl Future<Output = Result<Response<Bytes>, PostError>> + Send;
}

/// The end of the queue at which spans are sent away.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    spans: mpsc::Receiver<Span>,
    is_open: watch::Receiver<()>,
    stats: Arc<Stats>,
    random: fastrand::Rng,
    /// Of a run of failures the first is logged, and its end.
    is_failing: bool,
}

/// What came of sending a batch once.
enum Sent {
    /// The collector took it, all but so many.
    Taken { rejected: u64 },
    /// It may be sent again, after a pause if the collector names one.
    Again {
        why: String,
        pause: Option<Duration>,
    },
    /// It will never be taken.
    Refused { why: String },
}

impl Exporter {
    pub(super) fn new(
        settings: Settings,
        spans: mpsc::Receiver<Span>,
        is_open: watch::Receiver<()>,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            settings,
            spans,
            is_open,
            stats,
            random: fastrand::Rng::new(),
            is_failing: false,
        }
    }

    /// Sends until the last [`Queue`](super::Queue) is gone and what it held is sent, which is
    /// waited for no longer than [`FLUSH_MAX`].
    pub async fn run(mut self, transport: impl Transport) {
        let stats = Arc::clone(&self.stats);
        let mut is_open = self.is_open.clone();
        let mut batch = Vec::new();
        let is_over = {
            let sending = self.send_all(&transport, &mut batch);
            let closing = async {
                // Nothing is ever sent: this waits for the last sender's end.
                while is_open.changed().await.is_ok() {}
                sleep(FLUSH_MAX).await;
            };
            tokio::select! {
                () = sending => true,
                () = closing => false,
            }
        };
        if !is_over {
            let mut left = batch.len();
            while self.spans.try_recv().is_ok() {
                left += 1;
            }
            Stats::add(&stats.failed, left);
            tracing::warn!(
                spans = left,
                "the collector did not take the last spans in time"
            );
        }
    }

    async fn send_all(&mut self, transport: &impl Transport, batch: &mut Vec<Span>) {
        while self.gather(batch).await {
            self.send(transport, batch).await;
            batch.clear();
        }
    }

    /// Waits for a span, and for others that come within the interval; `false` at the end.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        let batch_max = self.settings.batch_max.max(1);
        if self.spans.recv_many(batch, batch_max).await == 0 {
            return false;
        }
        let deadline = Instant::now() + self.settings.interval;
        while let Some(room @ 1..) = batch_max.checked_sub(batch.len()) {
            let more = self.spans.recv_many(batch, room);
            if !matches!(timeout_at(deadline, more).await, Ok(1..)) {
                break;
            }
        }
        true
    }

    async fn send(&mut self, transport: &impl Transport, batch: &[Span]) {
        let protocol = self.settings.protocol;
        let body = Bytes::from(protocol.encode(&request(&self.settings.resource, batch)));
        let mut pause = BACKOFF_MIN;
        for sends in 1..=SENDS_MAX {
            let why = match self.send_once(transport, body.clone()).await {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(batch.len() as u64);
                    let taken = batch.len() as u64 - rejected;
                    self.stats.failed.fetch_add(rejected, Ordering::Relaxed);
                    self.stats.exported.fetch_add(taken, Ordering::Relaxed);
                    self.note_success();
                    return;
                }
                Sent::Again { why, pause: asked } if sends < SENDS_MAX => {
                    self.note_failure(&why);
                    // By up to a half less, so that processes do not come back in step.
                    let usual = pause.mul_f64(1.0 - self.random.f64() / 2.0);
                    sleep(asked.unwrap_or(usual).min(BACKOFF_MAX)).await;
                    pause = (pause * 2).min(BACKOFF_MAX);
                    Stats::add(&self.stats.retries, 1);
                    continue;
                }
                Sent::Again { why, .. } | Sent::Refused { why } => why,
            };
            self.note_failure(&why);
            Stats::add(&self.stats.failed, batch.len());
            return;
        }
    }

    async fn send_once(&self, transport: &impl Transport, body: Bytes) -> Sent {
        let mut headers = self.settings.headers.clone();
        headers.insert(CONTENT_TYPE, self.settings.protocol.content_type());
        let answer = match transport.post(headers, body).await {
            Ok(answer) => answer,
            Err(error) => {
                return Sent::Again {
                    why: chain(&*error),
                    pause: None,
                };
            }
        };
        let status = answer.status();
        let why = format!("the collector answered with status {}", status.as_u16());
        match status {
            _ if status.is_success() => Sent::Taken {
                rejected: self.settings.protocol.rejected(answer.body()),
            },
            // Those that OTLP names as worth another try.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Sent::Again {
                why,
                pause: retry_after(answer.headers()),
            },
            _ => Sent::Refused { why },
        }
    }

    fn note_failure(&mut self, why: &str) {
        if !self.is_failing {
            self.is_failing = true;
            tracing::warn!(why, "spans cannot be exported; requests go on");
        }
    }

    fn note_success(&mut self) {
        if self.is_failing {
            self.is_failing = false;
            tracing::info!("spans are exported again");
        }
    }
}

/// Seconds; a date is as if nothing was said.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _infallible = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
