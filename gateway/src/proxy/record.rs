//! What is known of one request, and what is written down when it has ended.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use gateway_core::auth::Caller;
use gateway_core::cluster::{HashKey, Lease, Outcome};
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use mesh::trace::TraceContext;

use super::access_line::{Asked, Ending};
use super::connection::Connection;
use super::live::Pinned;
use super::spans::Spans;
use super::worker::Worker;
use crate::clock::{Moment, micros};
use crate::telemetry::cells::UpstreamCells;
use crate::telemetry::exemplars::Exemplar;
use crate::telemetry::refusals::{Refused, shortened};
use crate::upstream::Link;

/// One request. Travels with the answer's body; dropping it writes the access line, counts
/// the request and releases its lease, whichever way it ended.
pub(crate) struct Record {
    pub(super) worker: Arc<Worker>,
    pub(super) connection: Arc<Connection>,
    pub(super) pinned: Arc<Pinned>,
    pub(super) parts: Parts,
    pub(super) started: Instant,
    /// The same.
    pub(super) began: Moment,
    pub(super) is_trusted: bool,
    pub(super) request_id: HeaderValue,
    pub(super) trace: TraceContext,
    /// There where the trace is sampled.
    pub(super) spans: Option<Box<Spans>>,
    pub(super) route: Option<usize>,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) rewritten_path: Option<Box<str>>,
    /// Position among the route's backends, and the cluster's index.
    pub(super) backend: Option<(usize, usize)>,
    pub(super) lease: Option<Lease>,
    /// The cluster against whose limit on requests this one counts.
    pub(super) counted_at: Option<usize>,
    pub(super) tries: u32,
    /// Second tries while the first was slow. Counted as they begin, while others look at this
    /// record: a client may go away before they end.
    pub(super) hedges: AtomicU32,
    /// From the last try's start to its answer's head, or to its failure.
    pub(super) upstream_micros: Option<u64>,
    pub(super) status: Option<StatusCode>,
    pub(super) rejection: Option<Rejection>,
    pub(super) bytes_sent: u64,
    pub(super) is_complete: bool,
    /// There where access lines say more than is known anyway.
    pub(super) asked: Option<Box<Asked>>,
    /// The head could not be read: `parts` say nothing.
    pub(super) is_unread: bool,
}

impl Record {
    /// Counts body bytes on their way to the client.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
    }

    /// The answer has come to its end: its connection may serve another request.
    pub(super) fn give_back(&mut self, link: Box<Link>) {
        self.is_complete = true;
        if let Some(lease) = &self.lease {
            let now = self.began.to_ms();
            let (_, cluster) = self.backend.expect("an upstream has answered");
            let bounds = &self.pinned.live.plan.clusters[cluster].connections;
            let address = lease.endpoint().address();
            self.worker.pool.give(address, link, bounds, now);
        }
    }

    /// The answer broke off: a failure of its endpoint, though the head was good.
    pub(super) fn abort(&mut self, reason: Reason) {
        if let Some(lease) = &self.lease {
            let outcome = match reason {
                Reason::UpstreamTimeout => Outcome::TimedOut,
                _ => Outcome::Broken,
            };
            let now = self.worker.clock.now();
            lease.report(outcome, now.since(self.began), now.to_ms());
        }
        self.rejection = Some(reason.into());
    }

    /// The hash of the request's key, where it has one.
    pub(super) fn key_hash(&self, key: &HashKey) -> Option<u64> {
        let caller = self.caller.as_deref();
        let subject = caller.and_then(|caller| caller.subject.as_deref());
        key.hash(&self.parts.headers, subject)
    }

    /// The counters of the upstream that was chosen.
    pub(super) fn upstream_cells(&self) -> &UpstreamCells {
        let (_, cluster) = self.backend.expect("an upstream has been chosen");
        &self.pinned.cells.upstreams[cluster]
    }

    fn count(&self, status: StatusCode, reason: Option<Reason>, elapsed: Duration) {
        let cells = self.pinned.cells.route(self.route);
        // The last slot is for requests that were never meant for an upstream.
        let slot = self
            .backend
            .map_or(cells.requests.len() - 1, |(position, _)| position);
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        cells.requests[slot].classes[class].add(1);
        cells.counts.duration.observe(elapsed);
        if let Some(reason) = reason {
            cells.counts.reasons[reason as usize].add(1);
        }
        if let Some(micros) = self.upstream_micros {
            self.upstream_cells()
                .duration
                .observe(Duration::from_micros(micros));
        }
        if let Some(cluster) = self.counted_at {
            self.pinned.cells.upstreams[cluster].usage.end_request();
        }
        self.worker.cells.requests_in_flight.subtract(1);
    }

    /// A sampled request is an example of the buckets that count it.
    #[cold]
    fn note_exemplars(&self, elapsed: Duration, unix_micros: u64) {
        let exemplar = |micros| Exemplar {
            trace_id: self.trace.trace_id,
            micros,
            unix_micros,
        };
        let cells = self.pinned.cells.route(self.route);
        let exemplars = &cells.counts.duration.exemplars;
        exemplars.note(exemplar(micros(elapsed)));
        if let Some(micros) = self.upstream_micros {
            let exemplars = &self.upstream_cells().duration.exemplars;
            exemplars.note(exemplar(micros));
        }
    }

    /// For people who ask why requests are refused just now.
    fn note_refusal(&self, reason: Reason, unix_micros: u64) {
        self.worker.cells.refusals.note(unix_micros, || {
            let plan = &self.pinned.live.plan;
            let detail = self.rejection.as_ref().and_then(|it| it.detail.as_deref());
            let request = (!self.is_unread).then_some(&self.parts);
            let peer = self.connection.peer.ip();
            Refused {
                unix_micros,
                reason,
                detail: detail.map(shortened),
                route: self.route.map(|index| plan.routes[index].name.clone()),
                method: request.map(|parts| shortened(parts.method.as_str())),
                path: request.map(|parts| shortened(parts.uri.path())),
                client: plan.forwarded.client(peer, &self.parts.headers),
            }
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = self.worker.clock.now();
        // Dropped without an answer, or before its end: the client went away, or we leave.
        let is_over = self.is_complete || self.backend.is_none() || self.rejection.is_some();
        let (status, reason) = match (self.status, &self.rejection) {
            (Some(status), Some(rejection)) => (status, Some(rejection.reason)),
            (Some(status), None) if is_over => (status, None),
            (Some(status), None) => (status, Some(self.worker.lifecycle.reason_of_break())),
            (None, _) => {
                let reason = self.worker.lifecycle.reason_of_break();
                (reason.status(), Some(reason))
            }
        };
        let elapsed = ended.since(self.began);
        self.count(status, reason, elapsed);
        let unix_micros = self.worker.clock.unix_micros(ended);
        if let Some(reason) = reason {
            self.note_refusal(reason, unix_micros);
        }
        self.write_access_line(&Ending {
            unix_micros,
            elapsed,
            status,
            reason,
        });
        if let Some(spans) = self.spans.take() {
            self.note_exemplars(elapsed, unix_micros);
            let spans = spans.finish(self, ended, status, reason);
            self.worker.spans.add(spans);
        }
        self.connection.note_end(ended.to_ms());
    }
}
