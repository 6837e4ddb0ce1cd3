//! What is known of one request, and what is written down when it has ended.

use std::sync::Arc;
use std::time::Instant;

use gateway_core::auth::Caller;
use gateway_core::cluster::Lease;
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use mesh::trace::TraceContext;

use super::intake;
use super::worker::{Connection, Pinned, Worker};
use crate::telemetry::access_log::{Line, Timestamp};
use crate::telemetry::cells::UpstreamCells;
use crate::upstream::Link;

/// One request. Travels with the answer's body; dropping it writes the access line, counts
/// the request and releases its lease, whichever way it ended.
pub(crate) struct Record {
    pub(super) worker: Arc<Worker>,
    pub(super) connection: Arc<Connection>,
    pub(super) pinned: Arc<Pinned>,
    pub(super) parts: Parts,
    pub(super) started: Instant,
    pub(super) is_trusted: bool,
    pub(super) request_id: HeaderValue,
    pub(super) trace: TraceContext,
    pub(super) route: Option<usize>,
    pub(super) caller: Option<Arc<Caller>>,
    pub(super) rewritten_path: Option<Box<str>>,
    /// Position among the route's backends, and the cluster's index.
    pub(super) backend: Option<(usize, usize)>,
    pub(super) lease: Option<Lease>,
    pub(super) tries: u32,
    /// From the last try's start to its answer's head, or to its failure.
    pub(super) upstream_micros: Option<u64>,
    pub(super) status: Option<StatusCode>,
    pub(super) rejection: Option<Rejection>,
    pub(super) bytes_sent: u64,
    pub(super) is_complete: bool,
}

impl Record {
    /// Counts body bytes on their way to the client.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.bytes_sent += bytes as u64;
    }

    /// The answer has come to its end: its connection may serve another request.
    pub(super) fn give_back(&mut self, link: Link) {
        self.is_complete = true;
        let Some(lease) = self.lease.take() else {
            return;
        };
        let now = self.worker.clock.to_ms(self.started);
        self.worker.pool.give(lease.endpoint().address, link, now);
        self.lease = Some(lease);
    }

    /// The answer broke off.
    pub(super) fn abort(&mut self, reason: Reason) {
        self.rejection = Some(reason.into());
    }

    /// The counters of the upstream that was chosen.
    pub(super) fn upstream_cells(&self) -> &UpstreamCells {
        let (_, cluster) = self.backend.expect("an upstream has been chosen");
        &self.pinned.cells.upstreams[cluster]
    }

    fn count(&self, status: StatusCode, reason: Option<Reason>, elapsed: std::time::Duration) {
        let cells = self.pinned.cells.route(self.route);
        let own_slot = cells.requests.len() - 1;
        // What the gateway answers by itself is not the upstream's doing.
        let slot = match self.backend {
            Some((position, _)) if self.route.is_some() => position,
            _ => own_slot,
        };
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        cells.requests[slot][class].add(1);
        cells.duration.observe(elapsed);
        if let Some(reason) = reason {
            cells.reasons[reason as usize].add(1);
        }
        if let (Some(micros), Some(_)) = (self.upstream_micros, self.backend) {
            let duration = std::time::Duration::from_micros(micros);
            self.upstream_cells().duration.observe(duration);
        }
        self.worker.cells.requests_in_flight.subtract(1);
    }

    fn line(&self, ended: Instant, status: StatusCode, reason: Option<Reason>) -> Line<'_> {
        let plan = &self.pinned.live.plan;
        let route = self.route.map(|index| &plan.routes[index]);
        Line {
            time: Timestamp(self.worker.clock.to_unix_micros(ended)),
            level: "info",
            message: "request",
            method: self.parts.method.as_str(),
            path: self.parts.uri.path(),
            host: self.parts.headers.get(HOST).and_then(|host| host.to_str().ok()),
            status: status.as_u16(),
            reason: reason.map(Reason::code),
            detail: self
                .rejection
                .as_ref()
                .and_then(|rejection| rejection.detail.as_deref()),
            route: route.map(|route| &*route.name),
            upstream: self.backend.map(|(_, cluster)| &*plan.clusters[cluster].name),
            endpoint: self.lease.as_ref().map(|lease| &*lease.endpoint().label),
            tries: self.tries,
            duration_us: crate::clock::micros(ended.saturating_duration_since(self.started)),
            upstream_us: self.upstream_micros,
            bytes_sent: self.bytes_sent,
            client: intake::client(
                &plan.forwarded,
                self.connection.peer.ip(),
                &self.parts.headers,
            ),
            request_id: self.request_id.to_str().unwrap_or_default(),
            trace_id: crate::telemetry::access_log::TraceId(self.trace.trace_id),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let ended = Instant::now();
        // Dropped without an answer, or before its end: the client went away.
        let is_over = self.is_complete || self.backend.is_none() || self.rejection.is_some();
        let (status, reason) = match (self.status, &self.rejection) {
            (Some(status), Some(rejection)) => (status, Some(rejection.reason)),
            (Some(status), None) if is_over => (status, None),
            (Some(status), None) => (status, Some(Reason::ClientClosed)),
            (None, _) => (Reason::ClientClosed.status(), Some(Reason::ClientClosed)),
        };
        self.count(status, reason, ended.saturating_duration_since(self.started));
        self.worker.log.write(|| self.line(ended, status, reason));
        self.connection.state.end_answer(self.worker.clock.to_ms(ended));
    }
}
