//! Looks at a service's revision, which tell of a registration early.
//!
//! The revision changes with the instances, and not with their health. So it
//! says when to ask before the interval has passed, and never that asking can
//! be left out. It is only ever compared with an earlier look at itself: an
//! answer with filters may carry another one.

use std::{
    future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_sdk_servicediscovery::error::ProvideErrorMetadata as _;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{CloudMapClient, CloudMapService, DiscoverError, FailureReason, failure};

/// Time for one look. Late news are of no use.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest pause after looks that failed.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The shortest pause after a look that was throttled.
const THROTTLED_PAUSE_MIN: Duration = Duration::from_secs(5);

/// Bounds the shift of the growing pause.
const DOUBLINGS_MAX: u32 = 10;

/// Share of the interval by which a wait may differ from it.
const JITTER: f64 = 0.1;

/// What became of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The revision is the one that was seen before.
    Same,
    /// It is another one, so the instances were asked for.
    Changed,
    /// The account is throttled.
    Throttled,
    /// No revision came, for any other reason.
    Failed,
    /// The gateway's own budget of calls was spent, so nothing was sent.
    OverBudget,
}

impl Look {
    /// All outcomes, in the order of their discriminants.
    pub const ALL: [Self; 5] = [
        Self::Same,
        Self::Changed,
        Self::Throttled,
        Self::Failed,
        Self::OverBudget,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Changed => "changed",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
            Self::OverBudget => "over_budget",
        }
    }
}

/// Counts of looks since the start, for metrics.
#[derive(Debug, Default)]
pub struct RevisionStats([AtomicU64; Look::ALL.len()]);

impl RevisionStats {
    /// Looks with this outcome.
    #[must_use]
    pub fn count(&self, look: Look) -> u64 {
        self.0[look as usize].load(Ordering::Relaxed)
    }

    fn add(&self, look: Look) {
        self.0[look as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches the revision of one service.
#[derive(Debug)]
pub(super) struct RevisionWatch {
    interval: Duration,
    stats: Arc<RevisionStats>,
    seen: Mutex<Seen>,
}

/// What outlives the single wait between two questions.
#[derive(Debug, Default)]
struct Seen {
    revision: Option<i64>,
    /// Failed looks in a row.
    failures: u32,
    not_before: Option<Instant>,
}

impl RevisionWatch {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            stats: Arc::default(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn stats(&self) -> Arc<RevisionStats> {
        Arc::clone(&self.stats)
    }

    /// Completes when the revision is another one than before.
    pub(super) async fn changed(&self, client: &CloudMapClient, service: &CloudMapService) {
        loop {
            if client.shared.is_revision_off() {
                return future::pending().await;
            }
            tokio::time::sleep_until(self.next_look()).await;
            let look = self.look(client, service).await;
            self.stats.add(look);
            if look == Look::Changed {
                return;
            }
        }
    }

    /// Takes the revision of a full answer as the first one to compare with.
    pub(super) fn answered(&self, revision: Option<i64>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.revision = seen.revision.or(revision);
    }

    fn next_look(&self) -> Instant {
        let factor = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
        let regular = Instant::now() + self.interval.mul_f64(factor);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.not_before.map_or(regular, |it| it.max(regular))
    }

    async fn look(&self, client: &CloudMapClient, service: &CloudMapService) -> Look {
        let budget = &client.shared.budgets.revisions;
        if !budget.try_take(Instant::now()) {
            return Look::OverBudget;
        }
        let question = client
            .client
            .discover_instances_revision()
            .namespace_name(&service.namespace)
            .service_name(&service.service);
        let limit = LOOK_TIMEOUT;
        let error = match tokio::time::timeout(limit, question.send()).await {
            Ok(Ok(answer)) => return self.compare(answer.instances_revision()),
            Ok(Err(error)) => {
                if failure::is_operation_refused(&error) && client.shared.turn_revision_off() {
                    warn!(
                        service = service.service,
                        code = error.code(),
                        remedy =
                            "allow servicediscovery:DiscoverInstancesRevision in the task role",
                        "revisions cannot be read; a registration is seen when the interval has passed"
                    );
                }
                failure::classify(&error, service)
            }
            Err(_) => DiscoverError::Timeout { limit },
        };
        let reason = error.reason();
        debug!(service = service.service, %reason, %error, "no revision");
        if reason == FailureReason::Throttled {
            budget.drain(Instant::now());
        }
        self.pause(reason)
    }

    fn compare(&self, revision: Option<i64>) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut seen.revision, revision);
        seen.failures = 0;
        seen.not_before = None;
        match before {
            Some(_) if before != revision => Look::Changed,
            _ => Look::Same,
        }
    }

    /// Leaves the source alone for a time that doubles, with jitter over its upper half.
    fn pause(&self, reason: FailureReason) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (look, first) = match reason {
            FailureReason::Throttled => (Look::Throttled, self.interval.max(THROTTLED_PAUSE_MIN)),
            _ => (Look::Failed, self.interval),
        };
        let doublings = seen.failures.min(DOUBLINGS_MAX);
        let pause = (first * (1 << doublings)).min(PAUSE_MAX.max(self.interval)) / 2;
        seen.failures = seen.failures.saturating_add(1);
        seen.not_before = Some(Instant::now() + pause + pause.mul_f64(fastrand::f64()));
        look
    }
}
