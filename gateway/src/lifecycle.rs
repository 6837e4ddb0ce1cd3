//! How far the process is on its way out, and how many connections are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use mesh::shutdown::{Phase, Shutdown, Signal};
use tokio::sync::{Notify, watch};

/// Shared by everything that accepts or serves.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    shutdown: Shutdown,
    is_leaving: AtomicBool,
    connections: AtomicUsize,
    connections_refused: AtomicU64,
    all_closed: Notify,
    /// What readiness still waits for; empty when ready.
    waiting_for: watch::Sender<Vec<Awaited>>,
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
        self.0
            .waiting_for
            .subscribe()
            .wait_for(Vec::is_empty)
            .await
            .expect("this very value holds a sender");
    }

    /// What is still waited for, in words; empty when ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let waiting = self.0.waiting_for.borrow();
        waiting.iter().map(Awaited::words).collect()
    }
}

impl Lifecycle {
    /// Whether clients should be told to go elsewhere.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
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

    /// Connections that found as many open as allowed.
    pub(crate) fn connections_refused(&self) -> u64 {
        self.connections_refused.load(Ordering::Relaxed)
    }

    pub(crate) fn close_connection(&self) {
        if self.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.all_closed.notify_waiters();
        }
    }

    /// Waits until no new connections are to be taken.
    pub(crate) async fn stopping(&self) {
        self.shutdown.reached(Phase::Stopping).await;
    }

    /// Sets what readiness waits for, by name; an empty list means ready.
    pub(crate) fn wait_for(&self, names: impl IntoIterator<Item = String>) {
        let waiting = names.into_iter().map(|name| Awaited { name, cause: None });
        self.waiting_for.send_replace(waiting.collect());
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
    /// On SIGINT the lame-duck time is left out: a person waits.
    pub(crate) async fn leave(&self, signal: Signal, lame_duck: Duration, drain: Duration) {
        let lame_duck = match signal {
            Signal::Terminate => lame_duck,
            Signal::Interrupt => Duration::ZERO,
        };
        self.is_leaving.store(true, Ordering::Relaxed);
        self.shutdown.advance(Phase::LameDuck);
        tracing::info!(
            ?signal,
            ?lame_duck,
            "leaving: readiness fails, requests are still served"
        );
        tokio::time::sleep(lame_duck).await;
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
        }
    }

    async fn drained(&self) {
        loop {
            let closed = self.all_closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if self.connections.load(Ordering::Relaxed) == 0 {
                return;
            }
            closed.await;
        }
    }
}
