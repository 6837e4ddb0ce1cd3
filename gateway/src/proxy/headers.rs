//! Headers on their way through: what ends here, what is rewritten, what goes on.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use gateway_core::auth::{Caller, credential};
use gateway_core::cluster::deadline;
use gateway_core::plan::{Plan, SendB3};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, FORWARDED, GetAll, HOST, TRANSFER_ENCODING,
    VIA,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use mesh::headers::{TRACEPARENT, X_REQUEST_DEADLINE, X_REQUEST_ID};
use mesh::trace::{TraceContext, b3};

use super::propagation;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What `Via` says of this hop, by the version in which the request came (RFC 9110 section 7.6.3).
const VIA_HTTP_10: &str = "1.0 gateway";
const VIA_HTTP_11: &str = "1.1 gateway";
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
    /// Whole milliseconds that the upstream has for this try.
    pub(super) left_millis: u64,
    pub(super) is_trusted: bool,
    pub(super) request_id: &'a HeaderValue,
    pub(super) trace: &'a TraceContext,
    /// What the upstream is called where the client names no host.
    pub(super) label: &'a str,
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
        Fate::Keep if name.contains('_') => match fate_as_written(&name.replace('_', "-")) {
            Fate::Keep => Fate::Keep,
            Fate::Drop | Fate::FromTrusted | Fate::WithTrace => Fate::Drop,
        },
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
        | "content-length"
        | "upgrade"
        | "http2-settings"
        | "proxy-authorization"
        | "proxy-authenticate"
        | "expect"
        | "host"
        | "via"
        | "x-request-id"
        | "x-request-deadline"
        | "traceparent"
        | "x-forwarded-for" => Fate::Drop,
        "forwarded" | "x-forwarded-proto" | "x-forwarded-host" | "x-forwarded-port"
        | "x-real-ip" => Fate::FromTrusted,
        "tracestate" => Fate::WithTrace,
        _ => Fate::Keep,
    }
}

impl Outgoing<'_> {
    /// Tells the header lines of one try one after the other, but for those that delimit its body.
    pub(super) fn lines(&self, mut line: impl FnMut(&HeaderName, &[u8])) {
        let host = self.host();
        line(&HOST, host.unwrap_or(self.label.as_bytes()));
        self.received(&mut line);
        self.forwarding(host, &mut line);
        self.deadline(&mut line);
        line(&X_REQUEST_ID, self.request_id.as_bytes());
        line(&TRACEPARENT, &self.trace.encode());
        if let Some(tracing) = &self.plan.tracing
            && self.sends_b3()
        {
            for (name, value) in &propagation::b3(tracing, self.trace) {
                line(name, value.as_bytes());
            }
        }
        if let Some(caller) = self.caller {
            for (name, value) in &caller.headers {
                line(name, value.as_bytes());
            }
        }
        if let Some((name, token)) = self.token {
            line(name, token.as_bytes());
        }
    }

    /// The target's authority replaces `Host` (RFC 9112 section 3.2.2).
    fn host(&self) -> Option<&[u8]> {
        match self.parts.uri.authority() {
            Some(authority) => Some(authority.as_str().as_bytes()),
            None => self.parts.headers.get(HOST).map(HeaderValue::as_bytes),
        }
    }

    /// What goes on as it came.
    fn received(&self, line: &mut impl FnMut(&HeaderName, &[u8])) {
        let received = &self.parts.headers;
        let named = Named::of(received);
        let withheld = self.caller.map_or(&[][..], |caller| &*caller.withheld);
        for (name, value) in received {
            let goes_on = match fate(name.as_str()) {
                Fate::Keep => {
                    !named.contains(name)
                        && !self.plan.identity_headers.covers(name)
                        && !withheld.iter().any(|place| place.is_in(name))
                        && !self.is_written_anew(name)
                }
                Fate::Drop => false,
                Fate::FromTrusted => self.is_trusted && !self.is_written_anew(name),
                Fate::WithTrace => propagation::traceparent(received).is_some(),
            };
            if goes_on {
                line(name, value.as_bytes());
            }
        }
        if let Some(cookies) = credential::cookies_without(withheld, received) {
            line(&COOKIE, cookies.as_bytes());
        }
    }

    /// Whether our own value goes in the place of a received one.
    fn is_written_anew(&self, name: &HeaderName) -> bool {
        match name.as_str() {
            "forwarded" => self.plan.forwarded.is_standard_sent,
            "grpc-timeout" => self.is_grpc(),
            _ => self.sends_b3() && b3::is_b3(name),
        }
    }

    fn sends_b3(&self) -> bool {
        let tracing = self.plan.tracing.as_ref();
        tracing.is_some_and(|tracing| tracing.sends_b3 != SendB3::None)
    }

    fn forwarding(&self, host: Option<&[u8]>, line: &mut impl FnMut(&HeaderName, &[u8])) {
        let received = &self.parts.headers;
        let ours = match self.parts.version {
            Version::HTTP_10 => VIA_HTTP_10,
            _ => VIA_HTTP_11,
        };
        line(&VIA, &joined(received.get_all(VIA), ours.as_bytes()));
        let peer = self.peer_header.as_bytes();
        if self.is_trusted {
            let chain = joined(received.get_all(X_FORWARDED_FOR), peer);
            line(&X_FORWARDED_FOR, &chain);
        } else {
            line(&X_FORWARDED_FOR, peer);
        }
        // Only from a trusted hop is there one to keep.
        if !self.is_trusted || !received.contains_key(X_FORWARDED_PROTO) {
            line(&X_FORWARDED_PROTO, b"http");
        }
        if let Some(host) = host
            && (!self.is_trusted || !received.contains_key(X_FORWARDED_HOST))
        {
            line(&X_FORWARDED_HOST, host);
        }
        if self.plan.forwarded.is_standard_sent {
            line(&FORWARDED, &self.standard(host));
        }
    }

    /// `Forwarded` (RFC 7239 section 4).
    fn standard(&self, host: Option<&[u8]>) -> Vec<u8> {
        let mut element = match self.peer.to_canonical() {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        let host = host.unwrap_or(self.label.as_bytes());
        if let Ok(host) = str::from_utf8(host) {
            let _infallible = write!(element, ";host=\"{host}\"");
        }
        element.push_str(";proto=http");
        let received = &self.parts.headers;
        if !self.is_trusted {
            return element.into_bytes();
        }
        joined(received.get_all(FORWARDED), element.as_bytes()).into_owned()
    }

    /// A shorter time that the client asked for stays; a longer one would be untrue.
    fn deadline(&self, line: &mut impl FnMut(&HeaderName, &[u8])) {
        let received = self.parts.headers.get(X_REQUEST_DEADLINE);
        let shorter = received.map(HeaderValue::as_bytes).filter(|value| {
            deadline::parse_millis(value).is_some_and(|millis| millis < self.left_millis)
        });
        let mut digits = itoa::Buffer::new();
        let ours = digits.format(self.left_millis).as_bytes();
        line(&X_REQUEST_DEADLINE, shorter.unwrap_or(ours));
        if self.is_grpc() {
            self.grpc_deadline(line);
        }
    }

    fn grpc_deadline(&self, line: &mut impl FnMut(&HeaderName, &[u8])) {
        let received = self.parts.headers.get(GRPC_TIMEOUT);
        let shorter = received.map(HeaderValue::as_bytes).filter(|value| {
            deadline::parse_grpc(value).is_some_and(|millis| millis <= self.left_millis)
        });
        if let Some(value) = shorter {
            line(&GRPC_TIMEOUT, value);
        } else {
            let ours = deadline::grpc(self.left_millis).to_string();
            line(&GRPC_TIMEOUT, ours.as_bytes());
        }
    }

    /// gRPC is always POST.
    fn is_grpc(&self) -> bool {
        self.parts.method == Method::POST && is_grpc(&self.parts.headers)
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Earlier values, comma-separated, and one more.
fn joined<'l>(earlier: GetAll<'_, HeaderValue>, last: &'l [u8]) -> Cow<'l, [u8]> {
    let mut earlier = earlier.into_iter().peekable();
    if earlier.peek().is_none() {
        return Cow::Borrowed(last);
    }
    let mut bytes = Vec::with_capacity(64);
    for value in earlier {
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b", ");
    }
    bytes.extend_from_slice(last);
    Cow::Owned(bytes)
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
