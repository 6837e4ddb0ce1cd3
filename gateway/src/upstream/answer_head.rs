//! The head of an answer, from the wire.

use std::mem::MaybeUninit;

use bytes::Bytes;
use gateway_core::framing::HeadLimits;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use httparse::{Header, ParserConfig};

use crate::io::ConnectionOptions;

/// Header lines of an answer; the framer refuses more.
const HEADERS_MAX: usize = 100;
const _: () = assert!(HEADERS_MAX == HeadLimits::DEFAULT.headers_max);

/// Why an answer is not valid HTTP/1.1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidAnswer {
    #[error("the answer is not framed as RFC 9112 has it")]
    Framing,
    #[error("the answer's head is malformed: {0}")]
    Head(#[from] httparse::Error),
    #[error("the answer's head is malformed: invalid header")]
    Header,
    #[error("too many interim answers")]
    Interim,
}

/// A whole head.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether another answer may follow on this connection (RFC 9112 section 9.3).
    pub(super) keeps_connection: bool,
}

impl AnswerHead {
    /// Whether the answer proper is still to come (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Reads a head that is whole, the empty line at its end included.
///
/// # Errors
/// It is malformed in a way that the framer does not look at.
pub(super) fn parse(head: &Bytes) -> Result<AnswerHead, InvalidAnswer> {
    let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut room,
    )?;
    if parsed.is_partial() {
        return Err(InvalidAnswer::Framing);
    }
    let code = response.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| InvalidAnswer::Header)?;
    let mut headers = HeaderMap::with_capacity(response.headers.len() + 2);
    for header in &*response.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        // A part of the head, not a copy.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(header.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(InvalidAnswer::Header);
        };
        headers.append(name, value);
    }
    let is_http_10 = response.version == Some(0);
    let keeps_connection = ConnectionOptions::of(&headers).keep_connection(is_http_10);
    Ok(AnswerHead {
        status,
        headers,
        keeps_connection: keeps_connection && status != StatusCode::SWITCHING_PROTOCOLS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &'static str) -> Result<AnswerHead, InvalidAnswer> {
        parse(&Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_connection_is_kept_as_its_version_and_options_say() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n", false),
            (
                "HTTP/1.1 200 OK\r\nconnection: x\r\nconnection: close\r\n\r\n",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nconnection: closed\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ] {
            assert_eq!(head(text).unwrap().keeps_connection, expected, "{text}");
        }
    }

    #[test]
    fn what_the_framer_does_not_look_at_is_refused_here() {
        for text in [
            "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : z\r\n\r\n",
            "HTTP/1.1 200 OK\r\n x: z\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\u{1}b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: z\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn headers_come_in_order_and_as_they_are() {
        let text =
            "HTTP/1.1 404 Not Here\r\nSet-Cookie: a\r\nX:  b c\t\r\nset-cookie: d\r\ny:\r\n\r\n";
        let head = head(text).unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "d"]);
        assert_eq!(head.headers["x"], "b c");
        assert_eq!(head.headers["y"], "");
        assert!(!head.is_interim());
    }
}
