//! Headers on their way through: what ends here, what is rewritten, what goes on.

use std::net::IpAddr;

use gateway_core::auth::Caller;
use gateway_core::cluster::deadline;
use gateway_core::plan::Plan;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HOST, TRANSFER_ENCODING, VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use mesh::headers::{TRACEPARENT, X_REQUEST_DEADLINE, X_REQUEST_ID};
use mesh::trace::TraceContext;

use super::propagation;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What `Via` says of this hop, by the version in which the request came (RFC 9110 section 7.6.3).
const VIA_HTTP_10: &str = "1.0 gateway";
const VIA_HTTP_11: &str = "1.1 gateway";
/// Headers that the gateway adds to a request.
const ADDED: usize = 10;

/// What a request's upstream headers are made from.
pub(super) struct Outgoing<'a> {
    pub(super) plan: &'a Plan,
    pub(super) parts: &'a Parts,
    /// The other end of the client's connection, as text too.
    pub(super) peer: IpAddr,
    pub(super) peer_header: &'a HeaderValue,
    pub(super) caller: Option<&'a Caller>,
    /// The gateway's own token, where the upstream gets one.
    pub(super) token: Option<(&'a HeaderName, &'a HeaderValue)>,
    pub(super) deadline: Deadline,
    pub(super) is_trusted: bool,
    pub(super) request_id: &'a HeaderValue,
    pub(super) trace: &'a TraceContext,
}

/// How long the upstream may take for this try.
pub(super) struct Deadline {
    pub(super) left_millis: u64,
    /// The same as text.
    pub(super) value: HeaderValue,
}

/// What becomes of a client's header.
#[derive(PartialEq)]
enum Fate {
    /// It goes on.
    Keep,
    /// It concerns this connection alone (RFC 9110 section 7.6.1), or we write our own.
    Drop,
    /// It tells of earlier hops: kept only from a trusted one.
    FromTrusted,
    /// It belongs to `traceparent`: without a valid one it is worth nothing (W3C Trace Context,
    /// section 3.3).
    WithTrace,
}

/// An underscore counts as a dash, because CGI and its heirs make no difference (RFC 3875
/// section 4.1.18): `x_forwarded_for` must not come in beside ours, nor a second length.
fn fate(name: &str) -> Fate {
    match fate_as_written(name) {
        Fate::Keep if name.contains('_') => {
            let dashed = name.replace('_', "-");
            let is_length = dashed == "content-length";
            if is_length
                || dashed == X_REQUEST_DEADLINE.as_str()
                || fate_as_written(&dashed) != Fate::Keep
            {
                Fate::Drop
            } else {
                Fate::Keep
            }
        }
        fate => fate,
    }
}

fn fate_as_written(name: &str) -> Fate {
    match name {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "http2-settings"
        | "proxy-authorization"
        | "proxy-authenticate"
        | "expect"
        | "host"
        | "via"
        | "x-request-id"
        | "traceparent"
        | "x-forwarded-for" => Fate::Drop,
        "forwarded" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
        | "x-real-ip" => Fate::FromTrusted,
        "tracestate" => Fate::WithTrace,
        _ => Fate::Keep,
    }
}

impl Outgoing<'_> {
    /// The headers of one try. The received ones stay as they are, for the next.
    pub(super) fn headers(&self) -> HeaderMap {
        let received = &self.parts.headers;
        let named = Named::of(received);
        // Made with room for ours: a clone would have to grow, which costs more than hashing anew.
        let mut headers = HeaderMap::with_capacity(received.len() + ADDED);
        let host = self.host();
        if let Some(host) = &host {
            headers.insert(HOST, host.clone());
        }
        for (name, value) in received {
            let goes_on = match fate(name.as_str()) {
                Fate::Keep => !named.contains(name) && !self.plan.identity_headers.covers(name),
                Fate::Drop => false,
                Fate::FromTrusted => self.is_trusted,
                Fate::WithTrace => propagation::traceparent(received).is_some(),
            };
            if goes_on {
                headers.append(name, value.clone());
            }
        }
        if let Some(caller) = self.caller {
            for place in &*caller.withheld {
                place.withhold(&mut headers);
            }
        }
        self.add_forwarding(&mut headers, host);
        self.deadline.add_to(&mut headers, &self.parts.method);
        headers.insert(X_REQUEST_ID, self.request_id.clone());
        let trace = HeaderValue::from_bytes(&self.trace.encode());
        headers.insert(
            TRACEPARENT,
            trace.expect("a trace context is a header value"),
        );
        if let Some(tracing) = &self.plan.tracing {
            propagation::add_b3(tracing, self.trace, &mut headers);
        }
        if let Some(caller) = self.caller {
            for (name, value) in &caller.headers {
                headers.insert(name, value.clone());
            }
        }
        if let Some((name, token)) = self.token {
            headers.insert(name, token.clone());
        }
        headers
    }

    /// The target's authority replaces `Host` (RFC 9112 section 3.2.2).
    fn host(&self) -> Option<HeaderValue> {
        match self.parts.uri.authority() {
            Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
            None => self.parts.headers.get(HOST).cloned(),
        }
    }

    fn add_forwarding(&self, headers: &mut HeaderMap, host: Option<HeaderValue>) {
        let received = &self.parts.headers;
        let peer = self.peer_header;
        headers.insert(VIA, via(received, self.parts.version));
        let chain = self
            .is_trusted
            .then(|| joined(received.get_all(X_FORWARDED_FOR), peer.as_bytes()))
            .flatten();
        headers.insert(X_FORWARDED_FOR, chain.unwrap_or_else(|| peer.clone()));
        // Only from a trusted hop is there one to keep.
        if !self.is_trusted || !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        }
        if let Some(host) = host
            && (!self.is_trusted || !headers.contains_key(X_FORWARDED_HOST))
        {
            headers.insert(X_FORWARDED_HOST, host);
        }
        if self.plan.forwarded.is_standard_sent {
            self.add_standard(headers);
        }
    }

    /// `Forwarded` (RFC 7239 section 4).
    fn add_standard(&self, headers: &mut HeaderMap) {
        let node = match self.peer.to_canonical() {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        let element = match headers.get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("{node};host=\"{host}\";proto=http"),
            None => format!("{node};proto=http"),
        };
        if let Some(value) = joined(headers.get_all(FORWARDED), element.as_bytes()) {
            headers.insert(FORWARDED, value);
        }
    }
}

impl Deadline {
    /// A shorter time that the client asked for stays; a longer one would be untrue.
    fn add_to(&self, headers: &mut HeaderMap, method: &Method) {
        let received = headers.insert(X_REQUEST_DEADLINE, self.value.clone());
        if let Some(received) = received
            && let Some(millis) = deadline::parse_millis(received.as_bytes())
            && millis < self.left_millis
        {
            headers.insert(X_REQUEST_DEADLINE, received);
        }
        // gRPC is always POST.
        if *method == Method::POST && is_grpc(headers) {
            self.add_grpc(headers);
        }
    }

    fn add_grpc(&self, headers: &mut HeaderMap) {
        let received = headers.get(GRPC_TIMEOUT);
        let received = received.and_then(|value| deadline::parse_grpc(value.as_bytes()));
        if received.is_none_or(|millis| millis > self.left_millis) {
            let value = deadline::grpc(self.left_millis).to_string();
            let value = HeaderValue::try_from(value);
            headers.insert(GRPC_TIMEOUT, value.expect("digits are a header value"));
        }
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Earlier values, comma-separated, and one more.
fn joined(earlier: http::header::GetAll<'_, HeaderValue>, last: &[u8]) -> Option<HeaderValue> {
    let mut bytes = Vec::with_capacity(64);
    for value in earlier {
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b", ");
    }
    bytes.extend_from_slice(last);
    HeaderValue::from_bytes(&bytes).ok()
}

fn via(received: &HeaderMap, version: Version) -> HeaderValue {
    let ours = match version {
        Version::HTTP_10 => VIA_HTTP_10,
        _ => VIA_HTTP_11,
    };
    let ours = HeaderValue::from_static(ours);
    if !received.contains_key(VIA) {
        return ours;
    }
    joined(received.get_all(VIA), ours.as_bytes()).unwrap_or(ours)
}

/// Headers that `Connection` names: they end here too (RFC 9110 section 7.6.1).
struct Named<'a>(Option<&'a HeaderMap>);

impl<'a> Named<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let names_more = headers.get_all(CONNECTION).iter().any(|value| {
            !value.as_bytes().eq_ignore_ascii_case(b"keep-alive")
                && !value.as_bytes().eq_ignore_ascii_case(b"close")
        });
        Self(names_more.then_some(headers))
    }

    fn contains(&self, name: &HeaderName) -> bool {
        self.0.is_some_and(|headers| {
            headers
                .get_all(CONNECTION)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
        })
    }
}

/// Whether a request's head says that a body follows (RFC 9112 section 6.3).
pub(super) fn announces_body(headers: &HeaderMap) -> bool {
    let is_sized = |length: &HeaderValue| length.as_bytes() != b"0";
    headers.contains_key(TRANSFER_ENCODING) || headers.get(CONTENT_LENGTH).is_some_and(is_sized)
}

/// Takes from an answer what concerned the upstream's connection alone.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named = Named::of(headers);
    let ends: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_hop_by_hop(name.as_str()) || named.contains(name))
        .cloned()
        .collect();
    for name in ends {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "proxy-authenticate"
    )
}
