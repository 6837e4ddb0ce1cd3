//! A constant load: an open loop, so that a gateway that stalls gets no rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::support::{eventually, runtime};

/// Requests that are sent when they are due, however the last ones fare; dropping it ends them.
pub(crate) struct Pacer {
    rate: u32,
    counts: Arc<Counts>,
    pacing: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    answered: AtomicU64,
}

/// The moment for one request.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// From 0.
    pub(crate) number: u64,
    /// When it was to be sent: later than that counts as latency.
    pub(crate) due: Instant,
    /// Whether too many are under way, so that it is not to be sent.
    pub(crate) is_one_too_many: bool,
}

impl Pacer {
    /// Has `send` make a request so many times a second; at most `in_flight_max` are under way.
    pub(crate) fn start<F>(
        rate: u32,
        in_flight_max: usize,
        send: impl FnMut(Turn) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let counts = Arc::new(Counts::default());
        let period = Duration::from_secs(1) / rate;
        let pacing = pace(period, in_flight_max, send, Arc::clone(&counts));
        Self {
            rate,
            counts,
            pacing: runtime().spawn(pacing),
        }
    }

    /// Waits until as many more requests were sent as fit into this time.
    pub(crate) fn goes_on_for(&self, time: Duration) {
        let sent = || u128::from(self.counts.sent.load(Ordering::SeqCst));
        let wanted = sent() + u128::from(self.rate) * time.as_millis() / 1000;
        eventually("the load goes on", || (sent() >= wanted).then_some(()));
    }

    /// Ends, and waits for all answers.
    pub(crate) fn finish(self) {
        self.pacing.abort();
        eventually("all requests are answered", || {
            let answered = self.counts.answered.load(Ordering::SeqCst);
            // The pacing task may have been in the middle of a request when it was told to end.
            let is_over = self.pacing.is_finished();
            (is_over && answered == self.counts.sent.load(Ordering::SeqCst)).then_some(())
        });
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.pacing.abort();
    }
}

async fn pace<F>(
    period: Duration,
    in_flight_max: usize,
    mut send: impl FnMut(Turn) -> F,
    counts: Arc<Counts>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(in_flight_max));
    // Ticks that were missed come at once: the load does not thin out when the machine is busy.
    let mut ticks = interval(period);
    for number in 0.. {
        let due = ticks.tick().await;
        let slot = Arc::clone(&slots).try_acquire_owned();
        let request = send(Turn {
            number,
            due,
            is_one_too_many: slot.is_err(),
        });
        counts.sent.fetch_add(1, Ordering::SeqCst);
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            request.await;
            drop(slot);
            counts.answered.fetch_add(1, Ordering::SeqCst);
        });
    }
}

/// Times from when requests were due to the end of their answers.
#[derive(Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    pub(crate) fn add(&mut self, turn: Turn) {
        self.0.push(turn.due.elapsed());
    }

    /// Puts them in order, once all are there.
    pub(crate) fn sort(&mut self) {
        self.0.sort_unstable();
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency that this share of the requests does not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        let latency = self.0.get(rank.saturating_sub(1));
        latency.copied().unwrap_or_default()
    }
}
