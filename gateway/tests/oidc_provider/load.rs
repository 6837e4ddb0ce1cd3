//! A constant load of valid requests: an open loop, so that a gateway that stalls gets no rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::support::http_client::{client, fetch};
use crate::support::{eventually, runtime};

/// Requests a second.
const RATE: u64 = 300;
/// Time between two.
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / RATE);
/// Requests under way at a time: 20 s of them.
const IN_FLIGHT_MAX: usize = 6_000;

/// Tokens that become invalid together.
pub(crate) struct Batch {
    authorization: Vec<HeaderValue>,
    retired: AtomicBool,
}

impl Batch {
    pub(crate) fn new(authorization: Vec<HeaderValue>) -> Self {
        Self {
            authorization,
            retired: AtomicBool::new(false),
        }
    }

    /// From now on it counts for nothing whether they are accepted: their key is about to go.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Values of `Authorization`.
    pub(crate) fn authorization(&self) -> &[HeaderValue] {
        &self.authorization
    }
}

/// A load that runs; dropping it ends it.
pub(crate) struct Load {
    batches: Arc<ArcSwap<Vec<Arc<Batch>>>>,
    tally: Arc<Tally>,
    pacing: JoinHandle<()>,
}

#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    answered: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What became of the requests whose tokens were valid to the end.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Time from when a request was due to the end of its answer; ascending.
    pub(crate) latencies: Vec<Duration>,
    /// How many were not answered 200, by status and reason.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Outcome {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that this share of the requests does not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.latencies.len() * percent).div_ceil(100);
        let latency = self.latencies.get(rank.saturating_sub(1));
        latency.copied().unwrap_or_default()
    }
}

impl Load {
    /// Sends requests to `url` with the tokens of these batches in turn.
    pub(crate) fn start(url: String, batches: Vec<Arc<Batch>>) -> Self {
        let batches = Arc::new(ArcSwap::from_pointee(batches));
        let tally = Arc::new(Tally::default());
        let pacing = runtime().spawn(pace(url, Arc::clone(&batches), Arc::clone(&tally)));
        Self {
            batches,
            tally,
            pacing,
        }
    }

    /// Goes on with the tokens of these batches.
    pub(crate) fn uses(&self, batches: &[&Arc<Batch>]) {
        let batches = batches.iter().map(|batch| Arc::clone(batch)).collect();
        self.batches.store(Arc::new(batches));
    }

    /// Waits until as many more requests were sent as fit into this time.
    pub(crate) fn goes_on_for(&self, time: Duration) {
        let sent = || u128::from(self.tally.sent.load(Ordering::SeqCst));
        let wanted = sent() + time.as_nanos() / PERIOD.as_nanos();
        eventually("the load goes on", || (sent() >= wanted).then_some(()));
    }

    /// Ends, and waits for all answers.
    pub(crate) fn finish(self) -> Outcome {
        self.pacing.abort();
        eventually("all requests are answered", || {
            let answered = self.tally.answered.load(Ordering::SeqCst);
            // The pacing task may have been in the middle of a request when it was told to end.
            let is_over = self.pacing.is_finished();
            (is_over && answered == self.tally.sent.load(Ordering::SeqCst)).then_some(())
        });
        let mut outcome = self.tally.outcome.lock();
        let outcome = outcome.as_deref_mut().expect("no request panics");
        outcome.latencies.sort_unstable();
        std::mem::take(outcome)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pacing.abort();
    }
}

async fn pace(url: String, batches: Arc<ArcSwap<Vec<Arc<Batch>>>>, tally: Arc<Tally>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    // Ticks that were missed come at once: the load does not thin out when the machine is busy.
    let mut ticks = interval(PERIOD);
    for number in 0_usize.. {
        let due = ticks.tick().await;
        let batches = batches.load();
        let batch = Arc::clone(&batches[number % batches.len()]);
        let tokens = batch.authorization();
        let token = tokens[number / batches.len() % tokens.len()].clone();
        let request = client().get(&url).header(AUTHORIZATION, token);
        tally.sent.fetch_add(1, Ordering::SeqCst);
        let slot = Arc::clone(&slots).try_acquire_owned();
        let tally = Arc::clone(&tally);
        tokio::spawn(async move {
            let refusal = match slot {
                Err(_) => Some(format!("not sent: {IN_FLIGHT_MAX} are under way")),
                Ok(_slot) => refusal(request).await,
            };
            tally.count(due, &batch, refusal);
        });
    }
}

/// Sends it; `None` if it was answered 200.
pub(crate) async fn refusal(request: reqwest::RequestBuilder) -> Option<String> {
    match fetch(request).await {
        Ok(reply) if reply.status() == 200 => None,
        Ok(reply) => Some(reply.verdict()),
        Err(error) => Some(format!("no answer: {error:?}")),
    }
}

impl Tally {
    fn count(&self, due: Instant, batch: &Batch, refusal: Option<String>) {
        if !batch.retired.load(Ordering::SeqCst) {
            let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.latencies.push(due.elapsed());
            if let Some(refusal) = refusal {
                *outcome.refused.entry(refusal).or_default() += 1;
            }
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}
