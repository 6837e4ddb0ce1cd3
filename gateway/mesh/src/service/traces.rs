//! The service's part of a trace: a span for the request, and one for each read of the database
//! that it leads to. Where no collector is configured, or the request is not sampled, there is
//! nothing of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::MatchedPath;
use bytes::Bytes;
use clap::Args;
use fastrand::Rng;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};

use super::database_args::path_parser;
use super::observe::Observer;
use crate::client::Client;
use crate::otlp::{
    self, Exporter, Https, Kind, PlainHttp, PostError, Protocol, Queue, Resource, Span, Stats,
    TRACES_PATH, Transport, Value, is_sampled, ratio_threshold,
};
use crate::trace::{SAMPLED, TraceContext};

/// Spans that may wait.
const QUEUE_MAX: usize = 2048;
/// Spans of one export.
const BATCH_MAX: usize = 512;
/// The longest time that a span waits for others.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time for one export.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What names root certificates.
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// The variables are OpenTelemetry's own.
#[derive(Args)]
#[expect(
    clippy::struct_field_names,
    reason = "the names are those of the options"
)]
pub(super) struct TraceArgs {
    /// Collector of spans that speaks OTLP over HTTP, as http://HOST:PORT, or with https;
    /// /v1/traces is added. Without it there are none
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// PEM file with root certificates beside the system's, for an https collector
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "PATH", value_parser = path_parser())]
    otlp_certificate: Option<PathBuf>,
    /// How spans are written: http/protobuf or http/json
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_name = "PROTOCOL", default_value = "http/protobuf", value_parser = parse_protocol)]
    otlp_protocol: Protocol,
    /// Headers of each export, as name=value, comma-separated
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        value_name = "HEADERS",
        hide_env_values = true
    )]
    otlp_headers: Option<String>,
    /// The service's name in traces [default: the service's name]
    #[arg(long, env = "OTEL_SERVICE_NAME", value_name = "NAME")]
    otlp_service_name: Option<String>,
    /// Further attributes of the service, as name=value, comma-separated
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "ATTRIBUTES")]
    otlp_resource: Option<String>,
    /// The share of requests without a trace that begin one, 0 to 1; with one, its sender has
    /// decided
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "SHARE", default_value = "0.01", value_parser = parse_ratio)]
    otlp_root_ratio: f64,
}

/// Where spans go, and of which requests.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// What the exporter goes by.
    pub export: otlp::Settings,
    /// Where it sends them.
    pub collector: Collector,
    /// The share of traces that begin here, 0 to 1.
    pub root_ratio: f64,
}

/// Carries spans to whoever collects them.
#[derive(Clone, Debug)]
pub enum Collector {
    /// Over plain HTTP, nearby.
    Plain(PlainHttp),
    /// Over TLS.
    Tls(Https),
}

impl Transport for Collector {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, PostError> {
        match self {
            Self::Plain(plain) => plain.post(headers, body).await,
            Self::Tls(tls) => tls.post(headers, body).await,
        }
    }
}

impl Collector {
    fn new(endpoint: &str, ca: Option<&Path>) -> Result<Self, String> {
        let url = format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/'));
        let parsed = url.parse::<Uri>().unwrap_or_default();
        let authority = parsed.authority().map_or("", Authority::as_str);
        let client = Client::new(TIMEOUT);
        if endpoint.contains('@') {
            // Not repeated: it may be a password.
            let remedy = "put credentials into --otlp-headers";
            return Err(format!("--otlp-endpoint has a user in it; {remedy}"));
        }
        match parsed.scheme_str().filter(|_| !authority.is_empty()) {
            Some("http") => Ok(Self::Plain(PlainHttp { client, url })),
            Some("https") => {
                let https = Https::new(client, url, ca, CERTIFICATE);
                https.map(Self::Tls).map_err(|error| {
                    format!("--otlp-endpoint `{endpoint}` cannot be trusted: {error}")
                })
            }
            _ => Err(format!(
                "--otlp-endpoint `{endpoint}` cannot be asked; write http://HOST:PORT or https://HOST of a collector"
            )),
        }
    }
}

impl TraceArgs {
    pub(super) fn tracing(self, service: &str, version: &str) -> Result<Option<Tracing>, String> {
        // Empty is as good as not set.
        let Some(endpoint) = self.otlp_endpoint.filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let ca = self.otlp_certificate.as_deref();
        let ca = ca.filter(|path| !path.as_os_str().is_empty());
        let collector = Collector::new(&endpoint, ca)?;
        let mut resource = Resource::new(service, version);
        resource.set_all(self.otlp_resource.as_deref().unwrap_or_default());
        if let Some(name) = self.otlp_service_name.filter(|name| !name.is_empty()) {
            resource.set("service.name", &name);
        }
        Ok(Some(Tracing {
            export: otlp::Settings {
                protocol: self.otlp_protocol,
                headers: headers(self.otlp_headers.as_deref().unwrap_or_default())?,
                resource,
                queue_max: QUEUE_MAX,
                batch_max: BATCH_MAX,
                interval: INTERVAL,
            },
            collector,
            root_ratio: self.otlp_root_ratio,
        }))
    }
}

/// The error shows nothing of what was written: it may be a credential.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = name.trim().parse::<HeaderName>();
        // The variable's values are escaped as in a URL.
        let value = percent_encoding::percent_decode_str(value.trim());
        let value = HeaderValue::from_bytes(&value.collect::<Vec<_>>());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err("--otlp-headers are not headers; write name=value,name=value".into());
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn parse_protocol(text: &str) -> Result<Protocol, String> {
    let mut known = [Protocol::HttpProtobuf, Protocol::HttpJson].into_iter();
    let found = known.find(|protocol| protocol.as_str() == text);
    found.ok_or_else(|| "write http/protobuf or http/json; gRPC is not spoken".into())
}

fn parse_ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    ratio.ok_or_else(|| "write a share from 0 to 1, such as 0.01".into())
}

/// What the requests of a service share of tracing.
#[derive(Clone, Debug)]
pub(super) struct Traces {
    queue: Queue,
    threshold: u128,
}

impl Traces {
    /// And what sends the spans away.
    pub(super) fn start(tracing: Tracing) -> (Self, Exporter, Collector) {
        let (queue, exporter) = otlp::channel(tracing.export);
        let traces = Self {
            queue,
            threshold: ratio_threshold(tracing.root_ratio),
        };
        (traces, exporter, tracing.collector)
    }

    /// What became of all spans.
    pub(super) fn stats(&self) -> Arc<Stats> {
        self.queue.stats()
    }

    /// The first position of a new trace.
    pub(super) fn root(&self, rng: &mut Rng) -> TraceContext {
        let root = TraceContext::root(rng);
        let flags = if is_sampled(root.trace_id, self.threshold) {
            SAMPLED
        } else {
            0
        };
        TraceContext { flags, ..root }
    }
}

tokio::task_local! {
    /// The request that this task works for, where it is sampled: stores know nothing of requests.
    static CURRENT: Current;
}

#[derive(Clone, Debug)]
struct Current {
    observer: Arc<Observer>,
    queue: Queue,
    trace: TraceContext,
}

/// The span of a request under way.
#[derive(Debug)]
pub(super) struct ServerSpan {
    current: Current,
    parent_id: Option<u64>,
    started_micros: u64,
    path: String,
}

impl ServerSpan {
    /// Begins one, where the request is sampled and spans are wanted.
    pub(super) fn begin(
        observer: &Arc<Observer>,
        trace: TraceContext,
        parent_id: Option<u64>,
        path: &str,
    ) -> Option<Self> {
        let traces = observer.traces.as_ref()?;
        trace.is_sampled().then(|| Self {
            current: Current {
                observer: Arc::clone(observer),
                queue: traces.queue.clone(),
                trace,
            },
            parent_id,
            started_micros: now_micros(),
            path: path.to_owned(),
        })
    }

    /// Lets what this work asks of the database be part of the trace.
    pub(super) fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self.current.clone(), work)
    }

    /// Ends it; without a status the client was gone before its answer.
    pub(super) fn end(
        self,
        method: &Method,
        route: Option<&MatchedPath>,
        status: Option<StatusCode>,
        reason: Option<&'static str>,
    ) {
        let Current { queue, trace, .. } = self.current;
        let known = ["GET", "HEAD"].into_iter();
        let method = known.into_iter().find(|known| method.as_str() == *known);
        let mut attributes = vec![
            ("http.request.method", method.unwrap_or("_OTHER").into()),
            ("url.scheme", "http".into()),
            ("url.path", Value::foreign(&self.path)),
        ];
        let method = method.unwrap_or("HTTP");
        let mut name = method.to_owned();
        if let Some(route) = route {
            name = format!("{method} {}", route.as_str());
            attributes.push(("http.route", route.as_str().to_owned().into()));
        }
        if let Some(status) = status {
            let code = u64::from(status.as_u16());
            attributes.push(("http.response.status_code", code.into()));
        }
        if let Some(reason) = reason.or(status.is_none().then_some("client_gone")) {
            attributes.push(("error.type", reason.into()));
        }
        queue.push(Span {
            trace_id: trace.trace_id,
            span_id: trace.parent_id,
            parent_id: self.parent_id,
            name: name.into(),
            kind: Kind::Server,
            started_micros: self.started_micros,
            ended_micros: now_micros(),
            attributes,
            is_error: status.is_some_and(|status| status.is_server_error()),
        });
    }
}

/// The span of one read of the database. Without an outcome it was given up.
#[derive(Debug)]
pub(super) struct QuerySpan {
    current: Current,
    system: &'static str,
    operation: &'static str,
    collection: &'static str,
    started_micros: u64,
    outcome: Option<&'static str>,
}

impl QuerySpan {
    /// Begins one, where the task works for a sampled request.
    pub(super) fn begin(
        system: &'static str,
        operation: &'static str,
        collection: &'static str,
    ) -> Option<Self> {
        let current = CURRENT.try_with(Clone::clone).ok()?;
        Some(Self {
            current,
            system,
            operation,
            collection,
            started_micros: now_micros(),
            outcome: None,
        })
    }

    /// Says how it ended, and ends it.
    pub(super) fn end(mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }
}

impl Drop for QuerySpan {
    fn drop(&mut self) {
        let Current {
            observer,
            queue,
            trace,
        } = &self.current;
        let mut attributes = vec![
            ("db.system.name", self.system.into()),
            ("db.operation.name", self.operation.into()),
            ("db.collection.name", self.collection.into()),
        ];
        let outcome = self.outcome.unwrap_or("given_up");
        if outcome != "ok" {
            attributes.push(("error.type", outcome.into()));
        }
        queue.push(Span {
            trace_id: trace.trace_id,
            span_id: observer.span_id(),
            parent_id: Some(trace.parent_id),
            name: format!("{} {}", self.operation, self.collection).into(),
            kind: Kind::Client,
            started_micros: self.started_micros,
            ended_micros: now_micros(),
            attributes,
            is_error: outcome != "ok",
        });
    }
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_variable_writes_them_and_never_shown() {
        let read = headers("authorization=Bearer%20a%3Db, x-team = t ,").unwrap();
        assert_eq!(read["authorization"], "Bearer a=b");
        assert_eq!(read["x-team"], "t");
        assert!(!format!("{read:?}").contains("Bearer"), "{read:?}");
        for text in ["no value\n=x", "a b=c", "x=\u{1}"] {
            let error = headers(text).unwrap_err();
            assert!(!error.contains(text), "{error}");
        }
    }

    #[test]
    fn protocols_and_shares_out_of_range_are_refused() {
        assert_eq!(parse_protocol("http/json"), Ok(Protocol::HttpJson));
        assert!(parse_protocol("grpc").is_err());
        assert_eq!(parse_ratio("0.5"), Ok(0.5));
        for text in ["-1", "1.1", "nan", "half"] {
            assert!(parse_ratio(text).is_err(), "{text}");
        }
    }
}
