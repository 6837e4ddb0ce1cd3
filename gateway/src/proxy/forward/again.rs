//! Between a failed try and the next: whether there is one, and when.

use std::time::{Duration, Instant};

use gateway_core::cluster::retry::{Attempt, Failure, may_retry, retry_after};
use gateway_core::words::rejection::Rejection;
use gateway_core::words::time::UnixSeconds;
use http::header::RETRY_AFTER;

use super::Forwarding;
use crate::proxy::record::Record;
use crate::upstream::{Replay, Reply, RequestBody};

/// A try that failed.
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// What the client gets if there is no other try.
    pub(super) ending: Ending,
    /// The body, where it was not sent.
    pub(super) body: Option<RequestBody>,
}

/// What a request ends with when its last try has failed.
pub(super) enum Ending {
    /// The gateway's own answer.
    Reject(Rejection),
    /// The upstream's, as it is.
    Pass(Box<Reply>),
}

impl From<Rejection> for Ending {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl Failed {
    /// The gateway itself would not send it, and will not a moment later.
    pub(super) fn refused(rejection: Rejection) -> Self {
        Self {
            failure: Failure::Refused,
            ending: rejection.into(),
            body: None,
        }
    }
}

impl Ending {
    fn retry_after(&self, now: UnixSeconds) -> Option<Duration> {
        let Self::Pass(answer) = self else {
            return None;
        };
        let value = answer.head.get(RETRY_AFTER.as_str())?;
        retry_after(str::from_utf8(value).ok()?, now)
    }
}

impl Forwarding<'_> {
    /// Waits until the next try may begin, and gives its body; or how the request ends.
    pub(super) async fn again(
        &mut self,
        record: &mut Record,
        failed: Failed,
    ) -> Result<RequestBody, Ending> {
        let Failed {
            failure,
            ending,
            body,
        } = failed;
        let attempt = Attempt {
            tries: record.tries,
            is_body_lost: body.is_none() && self.is_body_lost(),
        };
        let policy = &self.route.retries;
        if !may_retry(policy, &record.parts.method, failure, attempt) {
            return Err(ending);
        }
        let Some(body) = body.or_else(|| self.body_again()) else {
            return Err(ending);
        };
        let Some(pause) = self.pause(record, failure, &ending) else {
            return Err(ending);
        };
        self.cells.retries.add(1);
        self.let_go(record, ending);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok(body)
    }

    /// The time until the next try; `None` if there is no time or no budget for one.
    fn pause(&mut self, record: &Record, failure: Failure, ending: &Ending) -> Option<Duration> {
        let policy = &self.route.retries;
        let clock = &record.worker.clock;
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now);
        self.now = clock.to_ms(now);
        if !failure.is_load() {
            return (!left.is_zero()).then_some(Duration::ZERO);
        }
        let random = fastrand::u64(..);
        let retry_after = ending.retry_after(clock.to_unix_seconds(now));
        let pause = policy
            .backoff
            .pause(record.tries, random, retry_after, left)?;
        if !self.cells.budget.withdraw(policy.budget_reserve, self.now) {
            self.cells.retries_denied.add(1);
            return None;
        }
        self.now = clock.to_ms(now + pause);
        Some(pause)
    }

    pub(super) fn is_body_lost(&self) -> bool {
        self.has_body && !self.replay.as_ref().is_some_and(Replay::is_whole)
    }

    /// The body from its beginning, where there is one or none was sent.
    fn body_again(&self) -> Option<RequestBody> {
        if self.has_body {
            return self.replay.as_ref().and_then(Replay::body);
        }
        Some(RequestBody::Empty)
    }

    /// The endpoint is not busy with this request any more.
    fn let_go(&self, record: &mut Record, ending: Ending) {
        let Some(lease) = record.lease.take() else {
            return;
        };
        // A connection on which the body may still be going out must end, for the body is needed.
        if let Ending::Pass(answer) = ending
            && !self.has_body
            && let Some(link) = answer.discard()
        {
            let address = lease.endpoint().address();
            let bounds = &self.cluster.connections;
            record.worker.pool.give(address, link, bounds, self.now);
        }
    }
}
