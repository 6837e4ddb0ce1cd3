//! The load of a scenario, and what became of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::client::{Answer, Ask, Client};
use crate::pacer::{Latencies, Pacer, Turn};

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
    outcome: Arc<Mutex<Outcome>>,
    pacer: Pacer,
}

/// What became of all requests.
#[derive(Default)]
pub(crate) struct Outcome {
    latencies: Latencies,
    /// How many GETs did not come to a good end, and to what end.
    pub(crate) failed_gets: BTreeMap<Answer, u64>,
    /// The same for POSTs.
    pub(crate) failed_posts: BTreeMap<Answer, u64>,
}

impl Outcome {
    pub(crate) fn requests(&self) -> usize {
        self.latencies.count()
    }

    /// The latency that this share of the requests does not exceed.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        self.latencies.quantile(percent)
    }

    fn add(&mut self, turn: Turn, ask: Ask, answer: Answer) {
        self.latencies.add(turn);
        if answer == Answer::Good {
            return;
        }
        let failed = if ask.is_post {
            &mut self.failed_posts
        } else {
            &mut self.failed_gets
        };
        *failed.entry(answer).or_default() += 1;
    }
}

impl Load {
    /// Sends so many requests a second to these gateways in turn.
    pub(crate) fn start(gateways: Vec<SocketAddr>, rate: u32) -> Self {
        let gateways = Arc::new(ArcSwap::from_pointee(gateways));
        let outcome = Arc::<Mutex<Outcome>>::default();
        let client = Arc::new(Client::default());
        let (targets, noted) = (Arc::clone(&gateways), Arc::clone(&outcome));
        let pacer = Pacer::start(rate, IN_FLIGHT_MAX, move |turn| {
            let ask = ask(turn.number, &targets.load());
            let (client, outcome) = (Arc::clone(&client), Arc::clone(&noted));
            async move {
                let answer = if turn.is_one_too_many {
                    Answer::Broken("not sent: too many are under way")
                } else {
                    client.ask(ask).await
                };
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                outcome.add(turn, ask, answer);
            }
        });
        Self {
            gateways,
            outcome,
            pacer,
        }
    }

    /// Sends new requests to these, as a load balancer does that has found out.
    pub(crate) fn goes_to(&self, gateways: Vec<SocketAddr>) {
        self.gateways.store(Arc::new(gateways));
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

fn ask(number: u64, gateways: &[SocketAddr]) -> Ask {
    let turn = usize::try_from(number).expect("64 bits");
    Ask {
        to: gateways[turn % gateways.len()],
        number,
        is_post: number.is_multiple_of(POST_EVERY),
        is_alone: number.is_multiple_of(ALONE_EVERY),
    }
}
