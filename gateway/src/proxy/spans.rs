//! The spans of a sampled request: one for the request, one a try. Of a request that is not
//! sampled there is nothing: no allocation, no look at the clock.

use std::borrow::Cow;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use gateway_core::cluster::Lease;
use gateway_core::words::reason::Reason;
use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use mesh::otlp::{Kind, Span, Value};
use mesh::trace::TraceContext;

use super::propagation::Position;
use super::record::Record;
use crate::clock::Moment;

type Attributes = Vec<(&'static str, Value)>;

/// What a sampled request remembers until it has ended.
#[derive(Debug)]
pub(super) struct Spans {
    /// The caller's span.
    parent_id: Option<u64>,
    /// Those of tries that have ended. Two tries at a time may add theirs, but only this
    /// request's task: never waited for.
    tries: Mutex<Vec<Span>>,
}

impl Spans {
    /// Begins to remember, where the request is sampled and somebody wants spans.
    pub(super) fn begin(at: &Position, is_wanted: bool) -> Option<Box<Self>> {
        let is_kept = is_wanted && at.trace.is_sampled();
        is_kept.then(|| {
            Box::new(Self {
                parent_id: at.parent_id,
                tries: Mutex::default(),
            })
        })
    }

    /// The spans of a request that has ended.
    #[cold]
    pub(super) fn finish(
        self,
        record: &Record,
        ended: Moment,
        status: StatusCode,
        reason: Option<Reason>,
    ) -> impl Iterator<Item = Span> {
        let clock = &record.worker.clock;
        let mut attributes = request_attributes(record);
        attributes.push((
            "http.response.status_code",
            u64::from(status.as_u16()).into(),
        ));
        attributes.push(("http.response.body.size", record.bytes_sent.into()));
        let is_error = status.is_server_error();
        match reason {
            Some(reason) => attributes.push(("error.type", reason.code().into())),
            None if is_error => attributes.push(("error.type", status_text(status))),
            None => {}
        }
        let request = Span {
            trace_id: record.trace.trace_id,
            span_id: record.trace.parent_id,
            parent_id: self.parent_id,
            name: name(record),
            kind: Kind::Server,
            started_micros: clock.unix_micros(record.began),
            ended_micros: clock.unix_micros(ended),
            attributes,
            is_error,
        };
        let tries = self.tries.into_inner();
        let tries = tries.unwrap_or_else(PoisonError::into_inner);
        [request].into_iter().chain(tries)
    }
}

/// Method and route: of few values, whatever clients send.
fn name(record: &Record) -> Cow<'static, str> {
    let method = match known_method(&record.parts.method) {
        Some(method) if !record.is_unread => method,
        _ => "HTTP",
    };
    match record.route {
        Some(route) => {
            let template = &record.pinned.live.plan.routes[route].template;
            format!("{method} {template}").into()
        }
        None => method.to_owned().into(),
    }
}

fn request_attributes(record: &Record) -> Attributes {
    let plan = &record.pinned.live.plan;
    let peer = record.connection.peer;
    let client = plan.forwarded.client(peer.ip(), &record.parts.headers);
    let mut attributes: Attributes = Vec::with_capacity(24);
    attributes.extend([
        ("url.scheme", "http".into()),
        ("client.address", client.to_string().into()),
        (
            "network.peer.address",
            record.connection.peer_text.clone().into_string().into(),
        ),
        ("network.peer.port", u64::from(peer.port()).into()),
    ]);
    if let Ok(id) = record.request_id.to_str() {
        attributes.push(("gateway.request_id", Value::foreign(id)));
    }
    if let Some(route) = record.route {
        let route = &plan.routes[route];
        attributes.push(("http.route", route.template.clone().into_string().into()));
        attributes.push(("gateway.route", route.name.clone().into_string().into()));
    }
    if let Some((_, cluster)) = record.backend {
        let name = plan.clusters[cluster].name.clone();
        attributes.push(("gateway.upstream", name.into_string().into()));
    }
    if !record.is_unread {
        add_head(record, &mut attributes);
    }
    attributes
}

/// What the client sent. Without the query, which may hold secrets.
fn add_head(record: &Record, attributes: &mut Attributes) {
    let parts = &record.parts;
    add_method(&parts.method, attributes);
    attributes.push(("url.path", Value::foreign(parts.uri.path())));
    let version = match parts.version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    attributes.push(("network.protocol.version", version.into()));
    let text = |name: HeaderName| parts.headers.get(name).map(HeaderValue::to_str);
    if let Some(Ok(agent)) = text(USER_AGENT) {
        attributes.push(("user_agent.original", Value::foreign(agent)));
    }
    let host = match parts.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => text(HOST).and_then(|host| host.ok()?.parse::<Authority>().ok()),
    };
    if let Some(host) = host {
        attributes.push(("server.address", Value::foreign(host.host())));
        if let Some(port) = host.port_u16() {
            attributes.push(("server.port", u64::from(port).into()));
        }
    }
}

fn add_method(method: &Method, attributes: &mut Attributes) {
    const NAME: &str = "http.request.method";
    if let Some(known) = known_method(method) {
        attributes.push((NAME, known.into()));
    } else {
        attributes.push((NAME, "_OTHER".into()));
        let original = Value::foreign(method.as_str());
        attributes.push(("http.request.method_original", original));
    }
}

/// The methods of RFC 9110 and PATCH: what else clients send would make names without end.
fn known_method(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => return None,
    })
}

fn status_text(status: StatusCode) -> Value {
    status.as_str().to_owned().into()
}

/// How a try ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum TryOutcome {
    /// With an answer's head.
    Answered(StatusCode),
    /// Without one.
    Failed(Reason),
}

/// The span of a try under way. Dropping it writes it down, whichever way the try ended: one
/// without an outcome was given up, for another was faster or the client is gone.
pub(super) struct TrySpan<'r> {
    /// Its place in the trace, as the upstream is told of it.
    pub(super) trace: TraceContext,
    record: &'r Record,
    spans: &'r Spans,
    began: Moment,
    attributes: Attributes,
    outcome: Option<TryOutcome>,
}

impl<'r> TrySpan<'r> {
    /// Begins one, where the request is sampled.
    pub(super) fn begin(record: &'r Record, lease: &Lease) -> Option<Box<Self>> {
        let spans = record.spans.as_deref()?;
        Some(Box::new(Self::of(record, spans, lease)))
    }

    #[cold]
    fn of(record: &'r Record, spans: &'r Spans, lease: &Lease) -> Self {
        let mut attributes: Attributes = Vec::with_capacity(12);
        add_method(&record.parts.method, &mut attributes);
        let endpoint = lease.endpoint().address();
        attributes.extend([
            ("server.address", endpoint.ip().to_string().into()),
            ("server.port", u64::from(endpoint.port()).into()),
        ]);
        if let Some((_, cluster)) = record.backend {
            let name = record.pinned.live.plan.clusters[cluster].name.clone();
            attributes.push(("gateway.upstream", name.into_string().into()));
        }
        let hedges = record.hedges.load(Ordering::Relaxed);
        let resends = (record.tries + hedges).saturating_sub(1);
        if resends > 0 {
            attributes.push(("http.request.resend_count", u64::from(resends).into()));
        }
        Self {
            trace: TraceContext {
                parent_id: fastrand::u64(..).max(1),
                ..record.trace
            },
            record,
            spans,
            began: record.worker.clock.now(),
            attributes,
            outcome: None,
        }
    }

    /// Says how the try ended, and ends it.
    pub(super) fn end(mut self, outcome: TryOutcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for TrySpan<'_> {
    fn drop(&mut self) {
        let mut attributes = std::mem::take(&mut self.attributes);
        let is_error = match self.outcome {
            Some(TryOutcome::Answered(status)) => {
                let code = u64::from(status.as_u16());
                attributes.push(("http.response.status_code", code.into()));
                let is_error = status.is_client_error() || status.is_server_error();
                if is_error {
                    attributes.push(("error.type", status_text(status)));
                }
                is_error
            }
            Some(TryOutcome::Failed(reason)) => {
                attributes.push(("error.type", reason.code().into()));
                true
            }
            None => {
                attributes.push(("error.type", "given_up".into()));
                false
            }
        };
        let clock = &self.record.worker.clock;
        let method = known_method(&self.record.parts.method);
        let span = Span {
            trace_id: self.trace.trace_id,
            span_id: self.trace.parent_id,
            parent_id: Some(self.record.trace.parent_id),
            name: method.unwrap_or("HTTP").into(),
            kind: Kind::Client,
            started_micros: clock.unix_micros(self.began),
            ended_micros: clock.unix_micros(clock.now()),
            attributes,
            is_error,
        };
        let tries = self.spans.tries.lock();
        tries.unwrap_or_else(PoisonError::into_inner).push(span);
    }
}
