//! A constant load: an open loop, so that a gateway that stalls gets no rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::client::{Answer, Ask, Client};
use crate::support::{eventually, runtime};

/// Requests under way at a time: several seconds of them.
const IN_FLIGHT_MAX: usize = 4_000;
/// Every so many requests one is a POST.
const POST_EVERY: u64 = 4;
/// Every so many requests one has a connection of its own; POSTs and GETs in turn.
const ALONE_EVERY: u64 = 7;

/// A load that runs; dropping it ends it.
pub(crate) struct Load {
    /// Where new requests go, in turn.
    gateways: Arc<ArcSwap<Vec<SocketAddr>>>,
    rate: u32,
    tally: Arc<Tally>,
    pacing: JoinHandle<()>,
}

#[derive(Default)]
struct Tally {
    sent: AtomicU64,
    answered: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What became of all requests.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Time from when a request was due to the end of its answer; ascending.
    latencies: Vec<Duration>,
    /// How many GETs did not come to a good end, and to what end.
    pub(crate) failed_gets: BTreeMap<Answer, u64>,
    /// The same for POSTs.
    pub(crate) failed_posts: BTreeMap<Answer, u64>,
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
    /// Sends so many requests a second to these gateways in turn.
    pub(crate) fn start(gateways: Vec<SocketAddr>, rate: u32) -> Self {
        let gateways = Arc::new(ArcSwap::from_pointee(gateways));
        let tally = Arc::new(Tally::default());
        let period = Duration::from_secs(1) / rate;
        let pacing = pace(Arc::clone(&gateways), period, Arc::clone(&tally));
        Self {
            gateways,
            rate,
            tally,
            pacing: runtime().spawn(pacing),
        }
    }

    /// Sends new requests to these, as a load balancer does that has found out.
    pub(crate) fn goes_to(&self, gateways: Vec<SocketAddr>) {
        self.gateways.store(Arc::new(gateways));
    }

    /// Waits until as many more requests were sent as fit into this time.
    pub(crate) fn goes_on_for(&self, time: Duration) {
        let sent = || self.tally.sent.load(Ordering::SeqCst);
        let more = u128::from(self.rate) * time.as_millis() / 1000;
        let wanted = u128::from(sent()) + more;
        eventually("the load goes on", || {
            (u128::from(sent()) >= wanted).then_some(())
        });
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

async fn pace(gateways: Arc<ArcSwap<Vec<SocketAddr>>>, period: Duration, tally: Arc<Tally>) {
    let client = Arc::new(Client::default());
    let slots = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    // Ticks that were missed come at once: the load does not thin out when the machine is busy.
    let mut ticks = interval(period);
    for (turn, number) in (0_usize..).zip(0_u64..) {
        let due = ticks.tick().await;
        let gateways = gateways.load();
        let ask = Ask {
            to: gateways[turn % gateways.len()],
            number,
            is_post: number.is_multiple_of(POST_EVERY),
            is_alone: number.is_multiple_of(ALONE_EVERY),
        };
        tally.sent.fetch_add(1, Ordering::SeqCst);
        let slot = Arc::clone(&slots).try_acquire_owned();
        let (client, tally) = (Arc::clone(&client), Arc::clone(&tally));
        tokio::spawn(async move {
            let answer = match slot {
                Err(_) => Answer::Broken("not sent: too many are under way"),
                Ok(_slot) => client.ask(ask).await,
            };
            tally.count(due, ask, answer);
        });
    }
}

impl Tally {
    fn count(&self, due: Instant, ask: Ask, answer: Answer) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.latencies.push(due.elapsed());
        if answer != Answer::Good {
            let failed = if ask.is_post {
                &mut outcome.failed_posts
            } else {
                &mut outcome.failed_gets
            };
            *failed.entry(answer).or_default() += 1;
        }
        drop(outcome);
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}
