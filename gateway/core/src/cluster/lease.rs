//! A request counted against an endpoint, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use super::health::Probe;
use super::view::Total;
use crate::words::time::Millis;

/// How a try ended, as far as it says something of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer's head came.
    Answered {
        /// Its status.
        status: u16,
    },
    /// No connection could be opened.
    ConnectFailed,
    /// The connection broke before an answer's head.
    Broken,
    /// No answer's head came in time.
    TimedOut,
    /// What came was no answer.
    Invalid,
}

impl Outcome {
    /// Whether the endpoint did what it is for: it answered, and not with a 5xx.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Answered { status } if status < 500)
    }
}

/// A request counted against an endpoint, until dropped: also when the client goes away.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// There where the load of all endpoints together matters.
    total: Option<Total>,
    /// The request decides whether the endpoint is used again.
    probe: Option<Probe>,
}

impl Lease {
    /// Counts a request before it connects: a slow handshake is load too.
    #[must_use]
    pub fn new(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.load.begin();
        Self {
            endpoint: Arc::clone(endpoint),
            total: None,
            probe: None,
        }
    }

    /// The same, counted against all endpoints together as well.
    pub(super) fn counted(endpoint: &Arc<Endpoint>, total: &Total) -> Self {
        total.begin();
        let mut lease = Self::new(endpoint);
        lease.total = Some(total.clone());
        lease
    }

    pub(super) fn probing(endpoint: &Arc<Endpoint>, probe: Probe) -> Self {
        let mut lease = Self::new(endpoint);
        lease.probe = Some(probe);
        lease
    }

    /// Whether this request decides if the endpoint is used again.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Says how the try ended, and how long it took to its answer's head or its failure. A try
    /// that the client gave up is not reported: it says nothing of the endpoint.
    pub fn report(&self, outcome: Outcome, took: Duration, now: Millis) {
        let load = &self.endpoint.load;
        if self.is_probe() && outcome.is_good() {
            load.begin_anew(took, now);
        } else {
            load.report(outcome, took, now);
        }
        self.endpoint.health.report(outcome, self.probe, now);
    }
}

impl Lease {
    /// Another try's answer came first, after this one had taken so long without one: it would
    /// have taken longer still, and that is all that is known. No failure of the endpoint's.
    pub fn report_outrun(&self, took: Duration, now: Millis) {
        self.endpoint.load.report_at_least(took, now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.load.end();
        if let Some(total) = &self.total {
            total.end();
        }
        if let Some(probe) = self.probe {
            // Does nothing where an outcome was reported.
            self.endpoint.health.abandon(probe);
        }
    }
}
