//! A second try at another endpoint while the first is slow (Dean and Barroso, "The Tail at Scale",
//! CACM 2013): whichever answers first is taken, the other is given up.
//!
//! It is a retry in all that it costs: of the same budget, at another endpoint, only for
//! idempotent methods. Routes without `hedge` never come here.

use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gateway_core::cluster::{Lease, Usage};
use http::Method;

use super::again::Failed;
use super::{Ended, Forwarding, Way};
use crate::proxy::record::Record;
use crate::telemetry::cells::HedgeOutcome;
use crate::upstream::{Replay, Reply, RequestBody};

/// A second try that may begin.
struct Second<'a> {
    to: Try,
    way: Way,
    body: RequestBody,
    room: Room<'a>,
}

/// Where a try goes, and since when.
struct Try {
    lease: Lease,
    began: Instant,
}

/// Room for one more try within the limits, until dropped.
struct Room<'a>(&'a Usage);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// Which of two tries ended the race, and whether the other was still under way.
#[derive(Clone, Copy)]
enum By {
    First { is_outrun: bool },
    Second { is_outrun: bool },
}

impl Forwarding<'_> {
    /// Whether a second try may begin beside the next one.
    pub(super) fn may_hedge(&self, method: &Method) -> bool {
        self.hedge.is_some() && method.is_idempotent()
    }

    /// A try that has its endpoint, and another beside it if that is slow.
    pub(super) async fn hedged(
        &mut self,
        record: &mut Record,
        way: Way,
        body: RequestBody,
    ) -> Result<Box<Reply>, Failed> {
        let after = self.hedge.map_or(Duration::MAX, |hedge| hedge.after);
        let began = Instant::now();
        let mut other = None;
        let (ended, by) = {
            let (this, record) = (&*self, &*record);
            let lease = record.lease.as_ref().expect("leased before");
            let mut first = pin!(this.carry_out(record, lease, way, body, this.now));
            match tokio::time::timeout(after, first.as_mut()).await {
                Ok(ended) => (ended, By::First { is_outrun: false }),
                Err(_slow) => match this.second(record, lease) {
                    None => {
                        this.cells.hedges[HedgeOutcome::Denied as usize].add(1);
                        (first.await, By::First { is_outrun: false })
                    }
                    Some(second) => {
                        record.hedges.fetch_add(1, Ordering::Relaxed);
                        let _room = second.room;
                        let to = other.insert(second.to);
                        let now = record.worker.clock.to_ms(to.began);
                        let second =
                            this.carry_out(record, &to.lease, second.way, second.body, now);
                        race(first, second).await
                    }
                },
            }
        };
        if let Some(second) = other {
            self.end_race(record, began, second, by, ended.result.is_ok());
        }
        self.settle(record, ended)
    }

    /// The one that was given up has taken longer than so far; the other's endpoint answers.
    fn end_race(
        &mut self,
        record: &mut Record,
        began: Instant,
        second: Try,
        by: By,
        is_good: bool,
    ) {
        self.hedge = None;
        self.tried.add(second.lease.endpoint());
        let now = Instant::now();
        let now_ms = record.worker.clock.to_ms(now);
        let outcome = match by {
            _ if !is_good => HedgeOutcome::Failed,
            By::First { is_outrun } => {
                if is_outrun {
                    second.lease.report_outrun(now - second.began, now_ms);
                }
                HedgeOutcome::Lost
            }
            By::Second { is_outrun } => {
                if is_outrun && let Some(first) = &record.lease {
                    first.report_outrun(now - began, now_ms);
                }
                HedgeOutcome::Won
            }
        };
        self.cells.hedges[outcome as usize].add(1);
        if matches!(by, By::Second { .. }) {
            record.lease = Some(second.lease);
        }
    }

    /// What a second try needs: the whole body, room, another endpoint, budget.
    fn second(&self, record: &Record, first: &Lease) -> Option<Second<'_>> {
        let body = if self.has_body {
            self.replay.as_ref().and_then(Replay::body_beside)?
        } else {
            RequestBody::Empty
        };
        let usage = &self.cells.usage;
        let room = usage.begin_extra().then(|| Room(usage))?;
        let began = Instant::now();
        let now = record.worker.clock.to_ms(began);
        let lease = self.pick(record, now)?;
        if lease.endpoint().address() == first.endpoint().address() {
            return None;
        }
        let reserve = self.route.retries.budget_reserve;
        if !self.cells.budget.withdraw(reserve, now) {
            return None;
        }
        let way = self.reserve(record, &lease, now).ok()?;
        Some(Second {
            to: Try { lease, began },
            way,
            body,
            room,
        })
    }
}

/// Waits for the first good answer of two tries, or for the failure of both.
async fn race(
    mut first: Pin<&mut impl Future<Output = Ended>>,
    second: impl Future<Output = Ended>,
) -> (Ended, By) {
    let mut second = pin!(second);
    tokio::select! {
        biased;
        ended = first.as_mut() => {
            if ended.result.is_ok() {
                return (ended, By::First { is_outrun: true });
            }
            (second.await, By::Second { is_outrun: false })
        }
        ended = second.as_mut() => {
            if ended.result.is_ok() {
                return (ended, By::Second { is_outrun: true });
            }
            (first.await, By::First { is_outrun: false })
        }
    }
}
