//! The head of a request, from the wire.

use std::mem::MaybeUninit;

use bytes::Bytes;
use gateway_core::words::reason::Reason;
use http::header::{EXPECT, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};
use httparse::{Header, ParserConfig};

use crate::io::ConnectionOptions;

/// Header lines for which there is room on the stack; a head with more needs an allocation.
const HEADERS_USUAL: usize = 100;

/// Reads a head that is whole and that the framer has let pass, the empty line at its end included.
///
/// # Errors
/// It is malformed in a way that the framer does not look at.
pub(super) fn parse(head: &Bytes, headers_max: usize) -> Result<Parts, Reason> {
    if headers_max <= HEADERS_USUAL {
        let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_USUAL];
        return parse_with(head, &mut room);
    }
    let mut room = vec![MaybeUninit::<Header<'_>>::uninit(); headers_max];
    parse_with(head, &mut room)
}

fn parse_with<'h>(head: &'h Bytes, room: &mut [MaybeUninit<Header<'h>>]) -> Result<Parts, Reason> {
    let malformed = Reason::RequestLineMalformed;
    let mut request = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    let parsed = config.parse_request_with_uninit_headers(&mut request, head, room);
    match parsed {
        Ok(status) if status.is_complete() => {}
        Ok(_) => return Err(Reason::HeaderMalformed),
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => {
            return Err(Reason::HeaderMalformed);
        }
        Err(_) => return Err(malformed),
    }
    let target = request.path.unwrap_or_default();
    let target = Uri::from_maybe_shared(head.slice_ref(target.as_bytes()));
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes());
    let (Ok(target), Ok(method)) = (target, method) else {
        return Err(malformed);
    };
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for header in &*request.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        // A part of the head, not a copy.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Reason::HeaderMalformed);
        };
        headers.append(name, value);
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = method;
    parts.uri = target;
    parts.version = match request.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers = headers;
    Ok(parts)
}

/// What a client says of its connection and of the answer that it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// Whether it may send another request (RFC 9112 section 9.3).
    pub(super) keeps_connection: bool,
    /// Whether it waits with its body until it is told to go on (RFC 9110 section 10.1.1).
    pub(super) expects_continue: bool,
}

impl Manner {
    /// Of a request that could not be read.
    pub(super) const REFUSED: Self = Self {
        version: Version::HTTP_11,
        is_head: false,
        keeps_connection: false,
        expects_continue: false,
    };

    /// Whether it knows no more than HTTP/1.0.
    pub(super) fn is_http_10(self) -> bool {
        self.version == Version::HTTP_10
    }

    pub(super) fn of(parts: &Parts) -> Self {
        let is_http_10 = parts.version == Version::HTTP_10;
        let options = ConnectionOptions::of(&parts.headers);
        Self {
            version: parts.version,
            is_head: parts.method == Method::HEAD,
            keeps_connection: options.keep_connection(is_http_10),
            expects_continue: !is_http_10 && parts.headers.contains_key(EXPECT),
        }
    }
}
