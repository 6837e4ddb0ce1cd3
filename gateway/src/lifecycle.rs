//! How far the process is on its way in and out, and how many connections are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use gateway_core::words::reason::Reason;
use mesh::shutdown::{Phase, Shutdown};
use tokio::sync::{Notify, watch};

/// Time that idle connections have at least for one more request after a hand-over: their
/// clients could not know.
const LAST_REQUEST_MIN: Duration = Duration::from_secs(1);

/// Shared by everything that accepts or serves.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    shutdown: Shutdown,
    is_leaving: AtomicBool,
    is_cutting: AtomicBool,
    doors: watch::Sender<Doors>,
    /// What must end before the process: an accept loop may hold a connection that is not
    /// counted yet.
    errands: AtomicUsize,
    connections: AtomicUsize,
    connections_refused: AtomicU64,
    all_closed: Notify,
    /// What readiness still waits for; empty when ready.
    waiting_for: watch::Sender<Vec<Awaited>>,
    pub(crate) upgrades: Upgrades,
}

/// What is told of upgrades.
#[derive(Debug, Default)]
pub(crate) struct Upgrades {
    /// Processes that served these listeners before this one.
    pub(crate) generation: AtomicU64,
    /// New processes that were to take over from this one and did not.
    pub(crate) failed: AtomicU64,
}

/// Whether new connections are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doors {
    /// Not yet: another process still takes them.
    Held,
    #[default]
    Open,
    /// No more: this process leaves.
    Closed,
    /// No more: a new process takes them.
    HandedOver,
    /// Never: the process that was to hand over goes on.
    GivenUp,
}

/// Why a process leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// SIGTERM: an orchestrator, which has yet to take us out of its lists.
    Terminated,
    /// SIGINT: a person at a terminal, who waits.
    Interrupted,
    /// A new process serves in our place.
    HandedOver,
}

/// Something that readiness waits for.
#[derive(Clone, Debug)]
struct Awaited {
    name: String,
    /// Why it is not there yet, where that is known.
    cause: Option<String>,
}

impl Awaited {
    fn words(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Tells when a gateway is ready: every upstream has answered once, every provider's keys
/// and deny lists are there.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Lifecycle>);

impl Readiness {
    pub(crate) fn of(lifecycle: &Arc<Lifecycle>) -> Self {
        Self(Arc::clone(lifecycle))
    }

    /// Waits until nothing is waited for any more.
    pub async fn reached(&self) {
        self.0.ready().await;
    }

    /// What is still waited for, in words; empty when ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let waiting = self.0.waiting_for.borrow();
        waiting.iter().map(Awaited::words).collect()
    }
}

/// Something that the process does not leave without; dropped when it is done.
pub(crate) struct Errand(Arc<Lifecycle>);

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.errands.fetch_sub(1, Ordering::Release);
        self.0.all_closed.notify_waiters();
    }
}

impl Lifecycle {
    /// Whether clients should be told to go elsewhere.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Why a request that is dropped now without its whole answer ended so.
    pub(crate) fn reason_of_break(&self) -> Reason {
        if self.is_cutting.load(Ordering::Relaxed) {
            Reason::GatewayLeaving
        } else {
            Reason::ClientClosed
        }
    }

    /// Counts a connection, unless there are as many as allowed.
    pub(crate) fn open_connection(&self, connections_max: usize) -> bool {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= connections_max {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            self.connections_refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Connections that found as many open as allowed, or as many waiting for a worker.
    pub(crate) fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }

    /// A counted connection is refused after all.
    pub(crate) fn refuse_connection(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn close_connection(&self) {
        if self.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all_closed.notify_waiters();
        }
    }

    /// Waits until connections are to end after their request.
    pub(crate) async fn stopping(&self) {
        self.shutdown.reached(Phase::Stopping).await;
    }

    /// New connections are not taken before [`Lifecycle::open_doors`].
    pub(crate) fn hold_doors(&self) {
        self.move_doors(&[Doors::Open], Doors::Held);
    }

    /// New connections are taken.
    pub(crate) fn open_doors(&self) {
        self.move_doors(&[Doors::Held], Doors::Open);
    }

    /// A new process takes the new connections: this one leaves.
    pub(crate) fn hand_over(&self) {
        // From the first answer on, clients are told to come again over there.
        self.is_leaving.store(true, Ordering::Relaxed);
        self.move_doors(&[Doors::Held, Doors::Open], Doors::HandedOver);
    }

    /// Taking over has failed: this process leaves, and has never served.
    pub(crate) fn give_up(&self) {
        self.move_doors(&[Doors::Held], Doors::GivenUp);
    }

    fn move_doors(&self, from: &[Doors], to: Doors) {
        self.doors.send_if_modified(|doors| {
            let moves = from.contains(doors);
            if moves {
                *doors = to;
            }
            moves
        });
    }

    async fn doors(&self, are_so: impl FnMut(&Doors) -> bool) {
        let mut doors = self.doors.subscribe();
        let reached = doors.wait_for(are_so).await;
        reached.expect("this very value holds a sender");
    }

    /// Waits until new connections are taken; `false` if they never will be.
    pub(crate) async fn doors_opened(&self) -> bool {
        let mut is_open = false;
        self.doors(|doors| {
            is_open = *doors == Doors::Open;
            *doors != Doors::Held
        })
        .await;
        is_open
    }

    /// Waits until no new connections are to be taken.
    pub(crate) async fn doors_closed(&self) {
        self.doors(|doors| !matches!(doors, Doors::Held | Doors::Open))
            .await;
    }

    /// Waits until a new process has taken over.
    pub(crate) async fn handed_over(&self) {
        self.doors(|doors| *doors == Doors::HandedOver).await;
    }

    /// Waits until taking over has failed.
    pub(crate) async fn given_up(&self) {
        self.doors(|doors| *doors == Doors::GivenUp).await;
    }

    /// Whether another process takes what waits in the kernel's queues.
    pub(crate) fn is_handed_over(&self) -> bool {
        *self.doors.borrow() == Doors::HandedOver
    }

    /// Keeps the process from leaving, within its drain limit, until this is dropped.
    pub(crate) fn begin_errand(self: &Arc<Self>) -> Errand {
        self.errands.fetch_add(1, Ordering::Relaxed);
        Errand(Arc::clone(self))
    }

    /// Sets what readiness waits for, by name; an empty list means ready.
    pub(crate) fn wait_for(&self, names: impl IntoIterator<Item = String>) {
        let waiting = names.into_iter().map(|name| Awaited { name, cause: None });
        self.waiting_for.send_replace(waiting.collect());
    }

    /// Forgets what readiness waits for and nobody wants any more; these are wanted.
    pub(crate) fn wait_only_for(&self, names: &[String]) {
        let was_last = self.waiting_for.send_if_modified(|waiting| {
            let before = waiting.len();
            waiting.retain(|awaited| names.contains(&awaited.name));
            before > 0 && waiting.is_empty()
        });
        if was_last {
            tracing::info!("ready");
        }
    }

    /// One thing that readiness waits for is not there yet, and why.
    pub(crate) fn delayed(&self, name: &str, cause: String) {
        self.waiting_for.send_if_modified(|waiting| {
            if let Some(awaited) = waiting.iter_mut().find(|it| it.name == name) {
                awaited.cause = Some(cause);
            }
            // Nobody is woken: there are as many as before.
            false
        });
    }

    /// One thing that readiness waited for is there.
    pub(crate) fn arrived(&self, name: &str) {
        let was_last = self.waiting_for.send_if_modified(|waiting| {
            let before = waiting.len();
            waiting.retain(|awaited| awaited.name != name);
            before > 0 && waiting.is_empty()
        });
        if was_last {
            tracing::info!("ready");
        }
    }

    /// Waits until nothing is waited for any more.
    pub(crate) async fn ready(&self) {
        let mut waiting = self.waiting_for.subscribe();
        let reached = waiting.wait_for(Vec::is_empty).await;
        reached.expect("this very value holds a sender");
    }

    /// Why the process is not ready, if it is not.
    pub(crate) fn unready(&self) -> Option<Vec<String>> {
        if self.is_leaving() {
            return Some(vec!["leaving".into()]);
        }
        let waiting = self.waiting_for.borrow();
        (!waiting.is_empty()).then(|| waiting.iter().map(Awaited::words).collect())
    }

    /// Leaves: readiness fails, then no new connections, then what is under way ends.
    ///
    /// In the lame-duck time every answer tells its client to close, so that the connections
    /// that are idle when it is over have been silent for as long: a request that crosses their
    /// end on the wire is then unlikely. After a hand-over new connections are another
    /// process's from the start, and nothing is waited for once the last one here is closed.
    /// On SIGINT the lame-duck time is left out: a person waits.
    pub(crate) async fn leave(&self, why: Departure, lame_duck: Duration, drain: Duration) {
        let lame_duck = match why {
            Departure::Terminated => lame_duck,
            Departure::Interrupted => Duration::ZERO,
            Departure::HandedOver => lame_duck.max(LAST_REQUEST_MIN),
        };
        self.is_leaving.store(true, Ordering::Relaxed);
        self.shutdown.advance(Phase::LameDuck);
        tracing::info!(
            ?why,
            ?lame_duck,
            "leaving: readiness fails, requests are still served"
        );
        if why == Departure::HandedOver {
            let _or_all_have_left = tokio::time::timeout(lame_duck, self.drained()).await;
        } else {
            tokio::time::sleep(lame_duck).await;
        }
        self.move_doors(&[Doors::Held, Doors::Open], Doors::Closed);
        self.shutdown.advance(Phase::Stopping);
        let open = self.connections.load(Ordering::Relaxed);
        tracing::info!(connections = open, "draining: no new connections");
        if tokio::time::timeout(drain, self.drained()).await.is_err() {
            let open = self.connections.load(Ordering::Relaxed);
            tracing::warn!(
                connections = open,
                ?drain,
                "the drain limit is reached; connections are cut"
            );
            self.cut();
        }
    }

    /// From now on a request that ends without its answer was ended by us.
    pub(crate) fn cut(&self) {
        self.is_cutting.store(true, Ordering::Relaxed);
    }

    async fn drained(&self) {
        loop {
            let closed = self.all_closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            // In this order: an accept loop counts its connection before it ends.
            let errands = self.errands.load(Ordering::Acquire);
            if errands == 0 && self.connections.load(Ordering::Acquire) == 0 {
                return;
            }
            closed.await;
        }
    }
}
