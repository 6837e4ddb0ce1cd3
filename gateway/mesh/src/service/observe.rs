//! The outermost layer: who asks, how it ended, and the one place where the body
//! of an error is written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use fastrand::Rng;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tracing::Instrument;

use super::fault::Fault;
use super::traces::{ServerSpan, Traces};
use crate::headers::{TRACEPARENT, X_REQUEST_ID};
use crate::problem;
use crate::request_id::{self, RequestId};
use crate::trace::TraceContext;

/// What requests share: the source of new ids.
#[derive(Debug, Default)]
pub(super) struct Observer {
    rng: Mutex<Rng>,
    /// There where spans are exported.
    pub(super) traces: Option<Traces>,
}

/// Which request this is: the gateway's ids where it sent them, else new ones.
struct Identity {
    request_id: HeaderValue,
    trace: TraceContext,
    parent: Option<TraceContext>,
}

impl Observer {
    pub(super) fn new(traces: Option<Traces>) -> Self {
        Self {
            rng: Mutex::default(),
            traces,
        }
    }

    /// An id for one more span.
    pub(super) fn span_id(&self) -> u64 {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.u64(1..)
    }

    fn identify(&self, headers: &HeaderMap) -> Identity {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let request_id = headers.get(X_REQUEST_ID);
        let request_id = request_id.filter(|id| request_id::is_acceptable(id.as_bytes()));
        // More than one `traceparent` counts as none (W3C Trace Context, section 3.2).
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(value), None) => TraceContext::parse(value.as_bytes()),
            _ => None,
        };
        Identity {
            request_id: request_id.map_or_else(
                || RequestId::random(&mut rng).to_header_value(),
                Clone::clone,
            ),
            trace: match (parent, &self.traces) {
                (Some(parent), _) => parent.child(&mut rng),
                (None, Some(traces)) => traces.root(&mut rng),
                (None, None) => TraceContext::root(&mut rng),
            },
            parent,
        }
    }
}

impl Identity {
    fn request_id(&self) -> &str {
        self.request_id.to_str().expect("an acceptable id is ASCII")
    }
}

/// Gives the request its identity, and the answer its access line.
pub(super) async fn observe(
    State(observer): State<Arc<Observer>>,
    request: Request,
    next: Next,
) -> Response {
    let identity = observer.identify(request.headers());
    let parent_id = identity.parent.map(|parent| parent.parent_id);
    let path = request.uri().path();
    let mut line = AccessLine {
        span: ServerSpan::begin(&observer, identity.trace, parent_id, path),
        identity,
        method: request.method().clone(),
        route: request.extensions().get::<MatchedPath>().cloned(),
        started: Instant::now(),
        outcome: None,
    };
    let span = tracing::info_span!(
        "request",
        request_id = line.identity.request_id(),
        trace_id = format_args!("{:032x}", line.identity.trace.trace_id),
        span_id = format_args!("{:016x}", line.identity.trace.parent_id),
    );
    let answer = next.run(request).instrument(span);
    let mut response = match &line.span {
        Some(span) => span.scope(answer).await,
        None => answer.await,
    };
    let fault = write_problem(&mut response, line.identity.request_id());
    response
        .headers_mut()
        .insert(X_REQUEST_ID, line.identity.request_id.clone());
    line.outcome = Some((response.status(), fault));
    response
}

/// Turns an error of whatever layer into problem+json; hands back what it was.
fn write_problem(response: &mut Response, request_id: &str) -> Option<Fault> {
    let status = response.status();
    let fault = response.extensions_mut().remove::<Fault>();
    let is_error = status.is_client_error() || status.is_server_error();
    let fault = fault.or_else(|| is_error.then_some(Fault::Other(status)))?;
    *response.body_mut() = Body::from(fault.problem(request_id).to_json());
    response.headers_mut().remove(CONTENT_LENGTH);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, problem::CONTENT_TYPE);
    Some(fault)
}

/// One line in the log for each request, written when this is dropped: also when
/// the client went away before its answer.
struct AccessLine {
    /// There where the request is sampled.
    span: Option<ServerSpan>,
    identity: Identity,
    method: Method,
    /// The template, never the path itself: `/users/{id}`.
    route: Option<MatchedPath>,
    started: Instant,
    outcome: Option<(StatusCode, Option<Fault>)>,
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        let (status, fault) = self.outcome.take().unzip();
        let fault = fault.flatten();
        let Identity { trace, parent, .. } = self.identity;
        if let Some(span) = self.span.take() {
            let reason = fault.as_ref().map(Fault::code);
            span.end(&self.method, self.route.as_ref(), status, reason);
        }
        tracing::info!(
            target: "access",
            method = self.method.as_str(),
            route = self.route.as_ref().map_or("none", MatchedPath::as_str),
            status = status.map(|status| status.as_u16()),
            client_gone = status.is_none().then_some(true),
            reason = fault.as_ref().map(Fault::code),
            cause = fault.as_ref().and_then(Fault::cause),
            duration_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            request_id = self.identity.request_id(),
            trace_id = format_args!("{:032x}", trace.trace_id),
            span_id = format_args!("{:016x}", trace.parent_id),
            parent_id = parent.map(|parent| tracing::field::display(format!("{:016x}", parent.parent_id))),
            "request",
        );
    }
}
