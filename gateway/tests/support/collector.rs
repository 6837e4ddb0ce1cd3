//! A collector of spans: an HTTP server that decodes OTLP.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::backend::{Backend, full};
use super::eventually;

/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`.
pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;

/// A running collector.
pub(crate) struct Collector {
    backend: Backend,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    spans: Vec<Collected>,
    exports: Vec<(String, HeaderMap)>,
    status: StatusCode,
}

/// A span, and who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) service: String,
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) span: Span,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let taken = Arc::<Mutex<Taken>>::default();
        let shared = Arc::clone(&taken);
        let backend = Backend::answering(move |request| {
            let taken = Arc::clone(&shared);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.expect("a whole body").to_bytes();
                let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                let mut answer = Response::new(full(""));
                *answer.status_mut() = taken.status;
                if taken.status == StatusCode::OK {
                    let kind = head.headers[CONTENT_TYPE].clone();
                    let request = match kind.as_bytes() {
                        b"application/json" => serde_json::from_slice(&body).expect("OTLP's JSON"),
                        _ => ExportTraceServiceRequest::decode(body).expect("OTLP's protobuf"),
                    };
                    taken.add(request);
                    let path = head.uri.path().to_owned();
                    taken.exports.push((path, head.headers));
                }
                answer
            }
        });
        Self { backend, taken }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// From now on exports are answered so.
    pub(crate) fn answer(&self, status: StatusCode) {
        self.lock().status = status;
    }

    /// Path and head of each export that was taken.
    pub(crate) fn exports(&self) -> Vec<(String, HeaderMap)> {
        self.lock().exports.clone()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Collected> {
        self.lock().spans.clone()
    }

    /// Waits until so many spans have come.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Collected> {
        eventually(&format!("{count} spans"), || {
            let spans = self.spans();
            (spans.len() >= count).then_some(spans)
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn add(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap_or_default().attributes;
            let service = text(&resource, "service.name").unwrap_or_default();
            let spans = of_resource.scope_spans.into_iter();
            let spans = spans.flat_map(|of_scope| of_scope.spans);
            self.spans.extend(spans.map(|span| Collected {
                service: service.clone(),
                resource: resource.clone(),
                span,
            }));
        }
    }
}

impl Collected {
    /// An attribute, as text.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    /// Whether the other one caused it.
    pub(crate) fn is_child_of(&self, parent: &Self) -> bool {
        self.span.trace_id == parent.span.trace_id
            && self.span.parent_span_id == parent.span.span_id
    }

    pub(crate) fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }
}

/// The value of an attribute, as text.
pub(crate) fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == name)?;
    match &found.value {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text.clone()),
        Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }) => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}

/// The digits of an id.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut digits, byte| {
        let _infallible = write!(digits, "{byte:02x}");
        digits
    })
}
