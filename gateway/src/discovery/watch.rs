//! The one loop that asks a source again and again.
//!
//! It owns everything that is the same for all sources:
//!
//! - **When.** At once, then every interval ±10 %, so that the tasks of a
//!   deployment do not ask in step. An answer may hold for another time than
//!   the interval, and a source may have reason to be asked sooner.
//! - **How long.** Each question has a limit; running out is a failure.
//! - **Failures** back off exponentially with full jitter, within
//!   [`MAX_BACKOFF`]; a throttled source is left alone for longer.
//! - **Keep the last good set.** Neither a failure nor an empty answer empties
//!   a set that worked. An empty answer is believed only as the first one.
//! - **Readiness.** The first answer, an empty one included, is an answer.
//! - **Ending.** At once, on shutdown or when nobody holds a [`Discovery`].

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use super::{
    Discover, DiscoverError, FailureReason, Found, FoundEndpoint, cloud_map::RevisionStats,
};

/// Time between two questions unless configured otherwise.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);

/// Time for one question unless configured otherwise.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest wait after a failure, unless the interval is longer still.
pub const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The shortest wait between two questions, whatever chance says.
pub const MIN_DELAY: Duration = Duration::from_millis(100);

/// Before the first answer somebody waits for readiness: the backoff starts
/// here instead of at the interval.
const FIRST_ANSWER_BACKOFF: Duration = Duration::from_millis(500);

/// Share of the interval by which a regular wait may differ from it.
const JITTER: f64 = 0.1;

/// How many intervals the backoff from a throttled source starts with.
const THROTTLED_FACTOR: u32 = 4;

/// Bounds the shift of the exponential backoff; 2^16 intervals are beyond any cap.
const MAX_DOUBLINGS: u32 = 16;

/// When to ask, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Time between two questions, ±10 %; default [`DEFAULT_INTERVAL`], at
    /// least [`MIN_DELAY`].
    pub interval: Duration,
    /// Time for one question; default [`DEFAULT_CALL_TIMEOUT`].
    pub call_timeout: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            interval: DEFAULT_INTERVAL,
            call_timeout: DEFAULT_CALL_TIMEOUT,
        }
    }
}

/// What is known about an upstream's endpoints.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryState {
    /// The last good set; empty before the first answer.
    pub found: Arc<Found>,
    /// Grows by one with each change of the set; 0 before the first answer.
    pub generation: u64,
    /// When the source last confirmed `found`.
    pub last_success: Option<Instant>,
    /// Present while the source fails or lists nothing.
    pub failing: Option<Failing>,
}

impl DiscoveryState {
    /// Whether the source has answered once: this upstream's part of readiness.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.generation > 0
    }
}

/// A run of failures.
#[derive(Clone, Debug)]
pub struct Failing {
    /// When the first of them happened.
    pub since: Instant,
    /// How many there are so far, from 1.
    pub consecutive: u32,
    /// The latest of them.
    pub error: DiscoverError,
}

/// Counts of outcomes since the start, for metrics.
#[derive(Debug, Default)]
pub struct DiscoveryStats {
    successes: AtomicU64,
    failures: [AtomicU64; FailureReason::ALL.len()],
}

impl DiscoveryStats {
    /// Questions that were answered.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Questions that failed for this reason.
    #[must_use]
    pub fn failures(&self, reason: FailureReason) -> u64 {
        self.failures[reason as usize].load(Ordering::Relaxed)
    }
}

/// The reading end: current state, changes, counts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Discovery {
    upstream: Arc<str>,
    state: watch::Receiver<DiscoveryState>,
    stats: Arc<DiscoveryStats>,
    revisions: Option<Arc<RevisionStats>>,
}

impl Discovery {
    /// The name of the upstream, or the names of those that share the source.
    #[must_use]
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// What became of the looks at the source's revision, where it has one.
    #[must_use]
    pub fn revisions(&self) -> Option<&RevisionStats> {
        self.revisions.as_deref()
    }

    /// The state as of now.
    #[must_use]
    pub fn state(&self) -> DiscoveryState {
        self.state.borrow().clone()
    }

    /// Wakes when the set changes, and when failures begin, end or change
    /// their reason.
    ///
    /// Holding it keeps the loop alive.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<DiscoveryState> {
        self.state.clone()
    }

    /// Counts of outcomes.
    #[must_use]
    pub fn stats(&self) -> &DiscoveryStats {
        &self.stats
    }

    /// Waits for the source's first answer.
    ///
    /// Returns false when the loop ended without one.
    pub async fn answered(&self) -> bool {
        self.subscribe()
            .wait_for(DiscoveryState::answered)
            .await
            .is_ok()
    }
}

/// The asking end: a loop to be run on a task.
#[derive(Debug)]
pub struct Watcher<S> {
    upstream: Arc<str>,
    source: S,
    options: WatchOptions,
    rng: fastrand::Rng,
    state: watch::Sender<DiscoveryState>,
    stats: Arc<DiscoveryStats>,
}

impl<S: Discover> Watcher<S> {
    /// Prepares to watch `upstream`; nothing happens before [`run`](Self::run).
    #[must_use]
    pub fn new(
        upstream: Arc<str>,
        source: S,
        options: WatchOptions,
        rng: fastrand::Rng,
    ) -> (Self, Discovery) {
        let (sender, receiver) = watch::channel(DiscoveryState::default());
        let discovery = Discovery {
            upstream: Arc::clone(&upstream),
            state: receiver,
            stats: Arc::default(),
            revisions: source.revisions(),
        };
        let watcher = Self {
            upstream,
            source,
            options,
            rng,
            state: sender,
            stats: Arc::clone(&discovery.stats),
        };
        (watcher, discovery)
    }

    /// Asks until `shutdown` completes or the last [`Discovery`] is dropped.
    ///
    /// A question under way is dropped with it.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let readers = self.state.clone();
        tokio::select! {
            () = shutdown => {}
            () = readers.closed() => {}
            never = self.ask_forever() => match never {},
        }
    }

    async fn ask_forever(&mut self) -> Infallible {
        loop {
            self.source.turn().await;
            let outcome = self.ask().await;
            // A source that fails is left alone for the whole wait.
            let works = !matches!(&outcome, Err(error) if error.reason() != FailureReason::Empty);
            let delay = match outcome {
                Ok(found) => self.accept(found),
                Err(error) => self.keep(error),
            };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.source.changed(), if works => {}
            }
        }
    }

    async fn ask(&self) -> Result<Found, DiscoverError> {
        let limit = self.options.call_timeout;
        let found = tokio::time::timeout(limit, self.source.discover())
            .await
            .map_err(|_| DiscoverError::Timeout { limit })??;
        if found.endpoints().is_empty() && !self.state.borrow().found.endpoints().is_empty() {
            return Err(DiscoverError::Empty);
        }
        Ok(found)
    }

    /// Publishes a good answer.
    fn accept(&mut self, found: Found) -> Duration {
        self.stats.successes.fetch_add(1, Ordering::Relaxed);
        let previous = self.state.borrow().clone();
        let lifetime = found.lifetime().unwrap_or(self.options.interval);
        let changed = !previous.answered() || previous.found.endpoints() != found.endpoints();
        if let Some(failing) = &previous.failing {
            info!(
                upstream = &*self.upstream,
                failures = failing.consecutive,
                seconds = failing.since.elapsed().as_secs(),
                "discovery recovered"
            );
        }
        let next = DiscoveryState {
            generation: previous.generation + u64::from(changed),
            last_success: Some(Instant::now()),
            failing: None,
            found: if changed {
                Arc::new(found)
            } else {
                previous.found.clone()
            },
        };
        if changed {
            let change = Change::between(previous.found.endpoints(), next.found.endpoints());
            info!(
                upstream = &*self.upstream,
                added = change.added,
                removed = change.removed,
                updated = change.updated,
                endpoints = next.found.endpoints().len(),
                skipped = next.found.skipped(),
                "endpoints changed"
            );
        }
        self.publish(next, changed || previous.failing.is_some());
        regular_delay(lifetime, &mut self.rng)
    }

    /// Keeps the last good set over a failure.
    fn keep(&mut self, error: DiscoverError) -> Duration {
        let reason = error.reason();
        self.stats.failures[reason as usize].fetch_add(1, Ordering::Relaxed);
        let previous = self.state.borrow().clone();
        let (since, consecutive) = match &previous.failing {
            Some(failing) => (failing.since, failing.consecutive.saturating_add(1)),
            None => (Instant::now(), 1),
        };
        let delay = failure_delay(
            reason,
            self.options.interval,
            previous.answered(),
            consecutive,
            &mut self.rng,
        );
        // Said once when a run begins: an outage of an hour is not 200 warnings.
        if consecutive == 1 {
            warn!(
                upstream = &*self.upstream,
                %reason,
                %error,
                endpoints = previous.found.endpoints().len(),
                "discovery failing, last good endpoints kept"
            );
        } else {
            debug!(
                upstream = &*self.upstream,
                %reason,
                %error,
                consecutive,
                retry_in_ms = delay.as_millis(),
                "discovery still failing"
            );
        }
        let known = previous.failing.as_ref();
        let wake = known.is_none_or(|failing| failing.error.reason() != reason);
        let next = DiscoveryState {
            failing: Some(Failing {
                since,
                consecutive,
                error,
            }),
            ..previous
        };
        self.publish(next, wake);
        delay
    }

    /// Readers see every state, but are woken only for those worth it.
    fn publish(&self, next: DiscoveryState, wake: bool) {
        self.state.send_if_modified(|state| {
            *state = next;
            wake
        });
    }
}

/// What differs between two sets, for the log.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    added: usize,
    removed: usize,
    updated: usize,
}

impl Change {
    /// Both sets are sorted by address, as [`Found`] keeps them.
    fn between(old: &[FoundEndpoint], new: &[FoundEndpoint]) -> Self {
        let mut change = Self {
            added: 0,
            removed: 0,
            updated: 0,
        };
        for endpoint in new {
            match old.binary_search_by_key(&endpoint.address, |known| known.address) {
                Ok(index) => change.updated += usize::from(old[index] != *endpoint),
                Err(_) => change.added += 1,
            }
        }
        change.removed = old.len() + change.added - new.len();
        change
    }
}

/// The interval ±10 %.
fn regular_delay(interval: Duration, rng: &mut fastrand::Rng) -> Duration {
    let factor = 1.0 + JITTER * (2.0 * rng.f64() - 1.0);
    interval.mul_f64(factor).max(MIN_DELAY)
}

/// The wait after the `consecutive`th failure in a row.
///
/// Full jitter, from zero to a cap that doubles, spreads the load of many
/// gateways best when a source comes back (Brooker, "Exponential Backoff And
/// Jitter", AWS Architecture Blog, 2015). A throttled source needs less load
/// for certain, so its wait never falls below half of a cap that starts higher.
fn failure_delay(
    reason: FailureReason,
    interval: Duration,
    answered: bool,
    consecutive: u32,
    rng: &mut fastrand::Rng,
) -> Duration {
    let cap = |base: Duration| {
        let doublings = consecutive.saturating_sub(1).min(MAX_DOUBLINGS);
        base.saturating_mul(1 << doublings)
            .min(MAX_BACKOFF.max(interval))
    };
    let delay = match reason {
        // The source works; only its answer is in doubt.
        FailureReason::Empty => regular_delay(interval, rng),
        FailureReason::Throttled => {
            let half = cap(interval.saturating_mul(THROTTLED_FACTOR)) / 2;
            half + half.mul_f64(rng.f64())
        }
        _ if answered => cap(interval).mul_f64(rng.f64()),
        _ => cap(FIRST_ANSWER_BACKOFF.min(interval)).mul_f64(rng.f64()),
    };
    delay.max(MIN_DELAY)
}

#[cfg(test)]
mod tests;
