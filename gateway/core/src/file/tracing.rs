//! `tracing:` spans of requests, for an OpenTelemetry collector; see `docs/tracing.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Uri};
use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::key_sources::is_private_way;
use super::secrets::{SecretPlace, SecretSpec, Wanted};
use crate::config::join;
use crate::plan::{Parents, SendB3, Tracing};
use crate::words::rate::Rate;
use crate::words::units::HumanDuration;

/// Spans of requests, sent to a collector by OTLP over HTTP. Without this section there are none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TracingSpec {
    /// The collector's URL, such as `http://127.0.0.1:4318`; `/v1/traces` is added where there is
    /// no path. Default the variable `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/traces` after it.
    pub endpoint: Option<String>,
    /// How spans are written: `http/protobuf` (default) or `http/json`.
    pub protocol: TraceProtocol,
    /// Headers of each export, such as a credential, by name; each value is a secret.
    pub headers: BTreeMap<String, SecretSpec>,
    /// Which requests are traced.
    pub sampling: SamplingSpec,
    /// The headers of Zipkin, beside `traceparent`.
    pub b3: B3Spec,
    /// The gateway's name in traces; default the variable `OTEL_SERVICE_NAME`, or `gateway`.
    pub service_name: Option<String>,
    /// Further attributes of the gateway, such as `deployment.environment.name`, at most 64; they
    /// come before those of the variable `OTEL_RESOURCE_ATTRIBUTES`.
    pub resource: BTreeMap<String, String>,
    /// Spans that may wait to be exported, 64 to 1,000,000; default 8192. What comes when it is
    /// full is dropped and counted.
    pub queue_size: Option<u32>,
    /// Spans of one export, 1 to 10,000; default 512.
    pub batch_size: Option<u32>,
    /// The longest time that a span waits for others of its batch, 10 ms to 1 m; default 1 s.
    pub interval: Option<HumanDuration>,
    /// Time for one export, 10 ms to 1 m; default 10 s.
    pub timeout: Option<HumanDuration>,
}

/// Which requests are traced: those whose caller traces them, and a share of the others.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSpec {
    /// The share of traces that begin here, chosen by their ids; default 1%.
    pub rate: Option<Rate>,
    /// Whose decision is followed: that of `all` (default), of `trusted` proxies
    /// (`forwarded.trusted_proxies`), or of `none`, so that the share decides of every request.
    pub parent: ParentName,
}

/// Whose decision to trace a request is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParentName {
    /// Anybody's.
    #[default]
    All,
    /// That of trusted proxies.
    Trusted,
    /// Nobody's.
    None,
}

/// The headers of Zipkin.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct B3Spec {
    /// Whether `b3` and `X-B3-…` are read where there is no valid `traceparent`; default true.
    pub read: bool,
    /// What goes upstream beside `traceparent`: `none` (default), `single` for `b3`, `multi` for
    /// `X-B3-…`.
    pub send: B3Form,
}

impl Default for B3Spec {
    fn default() -> Self {
        Self {
            read: true,
            send: B3Form::None,
        }
    }
}

/// B3 headers that go upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum B3Form {
    /// None.
    #[default]
    None,
    /// `b3`.
    Single,
    /// `X-B3-TraceId` and its like.
    Multi,
}

/// How spans are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TraceProtocol {
    /// Protocol Buffers.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// JSON.
    #[serde(rename = "http/json")]
    HttpJson,
}

/// Where spans go, and within which bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceExport {
    /// The URL to which each batch is posted.
    pub url: String,
    /// How spans are written.
    pub protocol: TraceProtocol,
    /// Headers of each export, read at the start.
    pub headers: Vec<(HeaderName, SecretPlace)>,
    /// The gateway's name in traces.
    pub service_name: String,
    /// Attributes of the environment, as `OTEL_RESOURCE_ATTRIBUTES` writes them.
    pub resource_of_environment: String,
    /// Further attributes; they come before those.
    pub resource: Vec<(String, String)>,
    /// Spans that may wait.
    pub queue_max: usize,
    /// Spans of one export.
    pub batch_max: usize,
    /// The longest time that a span waits for others.
    pub interval: Duration,
    /// Time for one export.
    pub timeout: Duration,
}

const SECTION: &str = "tracing";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const BASE_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_PATH: &str = "/v1/traces";
/// Attributes of the gateway: they are in every export.
const RESOURCE_MAX: usize = 64;
/// What an export says of its own body and way.
const OWN_HEADERS: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    HOST,
    TRANSFER_ENCODING,
];

impl TracingSpec {
    /// What the proxy goes by.
    pub(super) fn plan(&self) -> Tracing {
        Tracing {
            roots: self.sampling.rate.unwrap_or(Rate::ONE_PERCENT).threshold(),
            parents: match self.sampling.parent {
                ParentName::All => Parents::All,
                ParentName::Trusted => Parents::Trusted,
                ParentName::None => Parents::None,
            },
            reads_b3: self.b3.read,
            sends_b3: match self.b3.send {
                B3Form::None => SendB3::None,
                B3Form::Single => SendB3::Single,
                B3Form::Multi => SendB3::Multi,
            },
        }
    }

    /// What the exporter goes by.
    pub(super) fn export(&self, check: &mut Checker<'_>) -> TraceExport {
        let at = |key| join(SECTION, key);
        let (millisecond, minute) = (Duration::from_millis(1), Duration::from_mins(1));
        let times = 10 * millisecond..=minute;
        let queue_max = check.count(at("queue_size"), self.queue_size, 8192, 64..=1_000_000);
        let batch_max = check.count(at("batch_size"), self.batch_size, 512, 1..=10_000);
        let interval = check.duration(
            at("interval"),
            self.interval,
            1_000 * millisecond,
            times.clone(),
        );
        let timeout = check.duration(at("timeout"), self.timeout, 10_000 * millisecond, times);
        let name = self.service_name.clone();
        let name = name.or_else(|| check.variable("OTEL_SERVICE_NAME"));
        let service_name = name.unwrap_or_else(|| "gateway".to_owned());
        let help = "name the gateway as traces should, or leave it out for `gateway`";
        check.not_empty(&at("service_name"), &service_name, help);
        if self.resource.len() > RESOURCE_MAX {
            let message = format!("{} attributes are too many", self.resource.len());
            let help = format!("write at most {RESOURCE_MAX}");
            check.problem(at("resource"), message, Some(help));
        }
        let resource = self.resource.clone().into_iter().collect();
        let of_environment = check.variable("OTEL_RESOURCE_ATTRIBUTES");
        TraceExport {
            url: self.url(check).unwrap_or_default(),
            protocol: self.protocol,
            headers: self.headers(check),
            service_name,
            resource_of_environment: of_environment.unwrap_or_default(),
            resource,
            queue_max,
            batch_max,
            interval,
            timeout,
        }
    }

    fn url(&self, check: &mut Checker<'_>) -> Option<String> {
        const EXAMPLE: &str = "http://127.0.0.1:4318";
        let at = join(SECTION, "endpoint");
        let set = |name| check.variable(name).filter(|text| !text.is_empty());
        let (written, place) = if let Some(written) = &self.endpoint {
            let url = check.url(&at, written, EXAMPLE)?;
            let is_host_alone = matches!(url.path(), "" | "/") && url.query().is_none();
            let path = if is_host_alone { TRACES_PATH } else { "" };
            (format!("{}{path}", written.trim_end_matches('/')), &*at)
        } else if let Some(written) = set(TRACES_ENDPOINT) {
            (written, SECTION)
        } else if let Some(written) = set(BASE_ENDPOINT) {
            let base = written.trim_end_matches('/');
            (format!("{base}{TRACES_PATH}"), SECTION)
        } else {
            check.problem(
                SECTION,
                format!("`endpoint` is not given, and `{BASE_ENDPOINT}` is not set"),
                Some(format!(
                    "say where the collector is, as in `endpoint: {EXAMPLE}`"
                )),
            );
            return None;
        };
        let url = check.url(place, &written, EXAMPLE)?;
        self.check_way(place, &url, check);
        Some(written)
    }

    /// A credential in clear is everybody's.
    fn check_way(&self, place: &str, url: &Uri, check: &mut Checker<'_>) {
        let host = url.host().unwrap_or_default();
        let scheme = url.scheme_str().unwrap_or_default();
        if !self.headers.is_empty() && !is_private_way(scheme, host) {
            check.problem(
                place,
                format!("the secrets of `headers` would go to `{host}` over plain http"),
                Some("use https, or a collector on this machine without `headers`".into()),
            );
        }
    }

    fn headers(&self, check: &mut Checker<'_>) -> Vec<(HeaderName, SecretPlace)> {
        let wanted = Wanted {
            noun: "header's value",
            fault: &|secret| {
                let value = HeaderValue::from_bytes(secret.bytes());
                let fault = "it is not a header value; put a single line of text there";
                value.is_err().then(|| fault.into())
            },
        };
        let mut headers = Vec::new();
        for (written, spec) in &self.headers {
            let at = join("tracing.headers", written);
            let name = written.parse::<HeaderName>().ok();
            let Some(name) = name.filter(|name| !OWN_HEADERS.contains(name)) else {
                check.problem(
                    at,
                    format!("`{written}` is not a header that an export can carry"),
                    Some(
                        "write the name that the collector asks for, such as `authorization`"
                            .into(),
                    ),
                );
                continue;
            };
            let place = spec.place(&at, "{env: OTLP_AUTHORIZATION}", &wanted, check);
            headers.extend(place.map(|place| (name, place)));
        }
        headers
    }
}
