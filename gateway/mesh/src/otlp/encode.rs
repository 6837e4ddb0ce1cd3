//! The wire format, by the types that OpenTelemetry generates from its own definitions.

use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as ProtoValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan, Status};
use prost::Message as _;

use super::{Kind, Resource, Span, Value};

/// How spans are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Protocol Buffers: OTLP's default, and the smallest.
    #[default]
    HttpProtobuf,
    /// JSON: for collectors that take no other, and for people who look.
    HttpJson,
}

impl Protocol {
    /// What OpenTelemetry calls it, as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::HttpProtobuf => "application/x-protobuf",
            Self::HttpJson => "application/json",
        })
    }

    /// One request's body.
    pub(super) fn encode(self, request: &ExportTraceServiceRequest) -> Vec<u8> {
        match self {
            Self::HttpProtobuf => request.encode_to_vec(),
            Self::HttpJson => {
                serde_json::to_vec(request).expect("plain data with text keys is JSON")
            }
        }
    }

    /// Spans that the collector says it did not take though it answered with 200; none where the
    /// answer's body cannot be read, which says nothing of the spans.
    pub(super) fn rejected(self, body: &[u8]) -> u64 {
        let response = match self {
            Self::HttpProtobuf => ExportTraceServiceResponse::decode(body).ok(),
            Self::HttpJson => serde_json::from_slice(body).ok(),
        };
        let partial = response.and_then(|response| response.partial_success);
        let rejected = partial.map_or(0, |partial| partial.rejected_spans);
        u64::try_from(rejected).unwrap_or(0)
    }
}

/// The message of a batch.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> ExportTraceServiceRequest {
    let attributes = resource.iter();
    let attributes = attributes.map(|(name, value)| text_pair(name, value.to_owned()));
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(ProtoResource {
                attributes: attributes.collect(),
                ..ProtoResource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "mesh".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.iter().map(proto).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn proto(span: &Span) -> ProtoSpan {
    let kind = match span.kind {
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
    };
    let parent = span.parent_id.map(u64::to_be_bytes);
    let attributes = span.attributes.iter();
    ProtoSpan {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, Vec::from),
        flags: u32::from(crate::trace::SAMPLED),
        name: span.name.clone().into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.started_micros.saturating_mul(1_000),
        end_time_unix_nano: span.ended_micros.saturating_mul(1_000),
        attributes: attributes.map(|(name, value)| pair(name, value)).collect(),
        status: span.is_error.then(|| Status {
            code: StatusCode::Error.into(),
            ..Status::default()
        }),
        ..ProtoSpan::default()
    }
}

fn pair(name: &str, value: &Value) -> KeyValue {
    match value {
        Value::Text(text) => text_pair(name, text.clone().into_owned()),
        Value::Number(number) => any_pair(name, ProtoValue::IntValue(*number)),
    }
}

fn text_pair(name: &str, text: String) -> KeyValue {
    any_pair(name, ProtoValue::StringValue(text))
}

fn any_pair(name: &str, value: ProtoValue) -> KeyValue {
    KeyValue {
        key: name.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span {
            trace_id: 0xabc,
            span_id: 0xdef,
            parent_id: Some(7),
            name: "GET /users/{id}".into(),
            kind: Kind::Server,
            started_micros: 1_700_000_000_000_001,
            ended_micros: 1_700_000_000_000_002,
            attributes: vec![
                ("http.request.method", "GET".into()),
                ("http.response.status_code", 200_u64.into()),
            ],
            is_error: true,
        }
    }

    #[test]
    fn json_is_what_the_specification_shows() {
        let spans = [span()];
        let body = Protocol::HttpJson.encode(&request(&Resource::new("a", "1"), &spans));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let span = &body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "00000000000000000000000000000abc");
        assert_eq!(span["spanId"], "0000000000000def");
        assert_eq!(span["parentSpanId"], "0000000000000007");
        assert_eq!(span["kind"], 2);
        assert_eq!(span["startTimeUnixNano"], "1700000000000001000");
        assert_eq!(span["status"]["code"], 2);
        assert_eq!(span["attributes"][1]["value"]["intValue"], "200");
    }

    #[test]
    fn both_protocols_say_the_same() {
        let sent = request(&Resource::new("a", "1"), &[span()]);
        let read = ExportTraceServiceRequest::decode(&*Protocol::HttpProtobuf.encode(&sent));
        assert_eq!(read.unwrap(), sent);
        let read = serde_json::from_slice(&Protocol::HttpJson.encode(&sent));
        assert_eq!(
            read.map_err(|error| error.to_string()),
            Ok::<ExportTraceServiceRequest, _>(sent)
        );
    }

    #[test]
    fn a_partial_success_says_how_many_were_refused() {
        let json = br#"{"partialSuccess": {"rejectedSpans": 3, "errorMessage": "too old"}}"#;
        assert_eq!(Protocol::HttpJson.rejected(json), 3);
        assert_eq!(Protocol::HttpJson.rejected(b"{}"), 0);
        assert_eq!(Protocol::HttpJson.rejected(b"ok"), 0);
        assert_eq!(Protocol::HttpProtobuf.rejected(b"\x0a\x02\x08\x03"), 3);
        assert_eq!(Protocol::HttpProtobuf.rejected(b""), 0);
    }
}
