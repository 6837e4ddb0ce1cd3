//! A constant load of valid requests, and what became of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::pacer::{Latencies, Pacer, Turn};
use crate::support::http_client::{client, fetch};

/// Requests a second.
const RATE: u32 = 300;
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
    outcome: Arc<Mutex<Outcome>>,
    pacer: Pacer,
}

/// What became of the requests whose tokens were valid to the end.
#[derive(Default)]
pub(crate) struct Outcome {
    latencies: Latencies,
    /// How many were not answered 200, by status and reason.
    pub(crate) refused: BTreeMap<String, u64>,
}

impl Outcome {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.count()
    }

    /// The latency that this share of the requests does not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        self.latencies.quantile(percent)
    }

    fn add(&mut self, turn: Turn, batch: &Batch, refusal: Option<String>) {
        if batch.retired.load(Ordering::SeqCst) {
            return;
        }
        self.latencies.add(turn);
        if let Some(refusal) = refusal {
            *self.refused.entry(refusal).or_default() += 1;
        }
    }
}

impl Load {
    /// Sends requests to `url` with the tokens of these batches in turn.
    pub(crate) fn start(url: String, batches: Vec<Arc<Batch>>) -> Self {
        let batches = Arc::new(ArcSwap::from_pointee(batches));
        let outcome = Arc::<Mutex<Outcome>>::default();
        let (current, noted) = (Arc::clone(&batches), Arc::clone(&outcome));
        let pacer = Pacer::start(RATE, IN_FLIGHT_MAX, move |turn| {
            let (batch, token) = token(turn.number, &current.load());
            let request = client().get(&url).header(AUTHORIZATION, token);
            let outcome = Arc::clone(&noted);
            async move {
                let refusal = if turn.is_one_too_many {
                    Some(format!("not sent: {IN_FLIGHT_MAX} are under way"))
                } else {
                    refusal(request).await
                };
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                outcome.add(turn, &batch, refusal);
            }
        });
        Self {
            batches,
            outcome,
            pacer,
        }
    }

    /// Goes on with the tokens of these batches.
    pub(crate) fn uses(&self, batches: &[&Arc<Batch>]) {
        let batches = batches.iter().map(|batch| Arc::clone(batch)).collect();
        self.batches.store(Arc::new(batches));
    }

    /// Waits until as many more requests were sent as fit into this time.
    pub(crate) fn goes_on_for(&self, time: Duration) {
        self.pacer.goes_on_for(time);
    }

    /// Ends, and waits for all answers.
    pub(crate) fn finish(self) -> Outcome {
        self.pacer.finish();
        let mut outcome = self.outcome.lock();
        let outcome = outcome.as_deref_mut().expect("no request panics");
        outcome.latencies.sort();
        std::mem::take(outcome)
    }
}

fn token(number: u64, batches: &[Arc<Batch>]) -> (Arc<Batch>, HeaderValue) {
    let number = usize::try_from(number).expect("64 bits");
    let batch = &batches[number % batches.len()];
    let tokens = batch.authorization();
    let token = tokens[number / batches.len() % tokens.len()].clone();
    (Arc::clone(batch), token)
}

/// Sends it; `None` if it was answered 200.
pub(crate) async fn refusal(request: reqwest::RequestBuilder) -> Option<String> {
    match fetch(request).await {
        Ok(reply) if reply.status() == 200 => None,
        Ok(reply) => Some(reply.verdict()),
        Err(error) => Some(format!("no answer: {error:?}")),
    }
}
