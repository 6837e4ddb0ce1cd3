//! The lines of a head that a [`Framer`](super::Framer) has let pass, and what is made of a
//! request's.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, Version};

use crate::words::reason::Reason;

/// Room for header lines to begin with; most requests have fewer.
const HEADERS_USUAL: usize = 16;

/// The header lines of a head: names and values as they came, without the blanks around a value.
#[derive(Clone, Debug)]
pub struct HeaderLines<'h>(&'h [u8]);

impl<'h> HeaderLines<'h> {
    /// Those behind the first line, and that line. An empty line before it is passed over (RFC 9112
    /// section 2.2).
    #[must_use]
    pub fn behind_first(head: &'h [u8]) -> (&'h [u8], Self) {
        let mut lines = Self(head.strip_prefix(b"\r\n").unwrap_or(head));
        let first = lines.line().unwrap_or_default();
        (first, lines)
    }

    /// The values of one header.
    pub fn values(self, name: &[u8]) -> impl Iterator<Item = &'h [u8]> {
        let mut lines = self;
        std::iter::from_fn(move || {
            loop {
                let line = lines.line().filter(|line| !line.is_empty())?;
                if let Some((first, rest)) = line.split_at_checked(name.len())
                    && first.eq_ignore_ascii_case(name)
                    && let Some(value) = rest.strip_prefix(b":")
                {
                    return Some(trim_blanks(value));
                }
            }
        })
    }

    /// The next line without its end.
    fn line(&mut self) -> Option<&'h [u8]> {
        let end = memchr::memchr(b'\n', self.0)?;
        let (line, rest) = (&self.0[..end], &self.0[end + 1..]);
        self.0 = rest;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl<'h> Iterator for HeaderLines<'h> {
    type Item = (&'h [u8], &'h [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line()?;
        let colon = colon(line)?;
        Some((&line[..colon], trim_blanks(&line[colon + 1..])))
    }
}

/// Where a header's name ends: mostly after a few characters, where a plain loop is the fastest.
pub(super) fn colon(line: &[u8]) -> Option<usize> {
    line.iter().position(|&byte| byte == b':')
}

/// Without the blanks at both ends: spaces and tabs (RFC 9110 section 5.6.3).
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Reads a request's head, the empty line at its end included.
///
/// # Errors
/// What the framer does not look at: the name or the value of a header has a character that has no
/// place there (RFC 9110 sections 5.1 and 5.5), or the target is no URI.
pub fn request_head(head: &Bytes) -> Result<Parts, Reason> {
    let line_malformed = Reason::RequestLineMalformed;
    let (line, lines) = HeaderLines::behind_first(head);
    let space = memchr::memchr(b' ', line).ok_or(line_malformed)?;
    let (method, rest) = (&line[..space], &line[space + 1..]);
    let space = memchr::memrchr(b' ', rest).ok_or(line_malformed)?;
    let (target, version) = (&rest[..space], &rest[space + 1..]);
    let mut headers = HeaderMap::with_capacity(HEADERS_USUAL);
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name);
        // A part of the head, not a copy.
        let value = HeaderValue::from_maybe_shared(head.slice_ref(value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Reason::HeaderMalformed);
        };
        headers.append(name, value);
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method).map_err(|_| line_malformed)?;
    let target = Uri::from_maybe_shared(head.slice_ref(target));
    parts.uri = target.map_err(|_| line_malformed)?;
    parts.version = if version == b"HTTP/1.0" {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    parts.headers = headers;
    Ok(parts)
}
