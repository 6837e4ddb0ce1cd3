//! The head of an answer, from the wire.

use bytes::Bytes;
use gateway_core::framing::HeaderLines;
use http::StatusCode;

use crate::io::ConnectionOptions;

/// Why an answer is not valid HTTP/1.1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidAnswer {
    #[error("the answer is not framed as RFC 9112 has it")]
    Framing,
    #[error("the answer's head is malformed: it has no valid status")]
    Status,
    #[error("too many interim answers")]
    Interim,
}

/// A whole head. Its header lines stay as they came: most go on untouched, and hardly any is asked
/// for.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    bytes: Bytes,
    options: ConnectionOptions,
    is_http_10: bool,
}

impl AnswerHead {
    /// Reads a head that the framer has let pass, the empty line at its end included.
    ///
    /// # Errors
    /// Its status is none.
    pub(super) fn parse(bytes: Bytes) -> Result<Self, InvalidAnswer> {
        let (line, lines) = HeaderLines::behind_first(&bytes);
        let status = line.get(9..12).map(StatusCode::from_bytes);
        let Some(Ok(status)) = status else {
            return Err(InvalidAnswer::Status);
        };
        let is_http_10 = line.starts_with(b"HTTP/1.0");
        let mut options = ConnectionOptions::default();
        for value in lines.values(b"connection") {
            options.add(value);
        }
        Ok(Self {
            status,
            bytes,
            options,
            is_http_10,
        })
    }

    /// Whether the answer proper is still to come (RFC 9110 section 15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Whether another answer may follow on this connection (RFC 9112 section 9.3).
    pub(super) fn keeps_connection(&self) -> bool {
        self.options.keep_connection(self.is_http_10)
            && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// The header lines as they came.
    pub(crate) fn lines(&self) -> HeaderLines<'_> {
        HeaderLines::behind_first(&self.bytes).1
    }

    /// The first value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.lines().values(name.as_bytes()).next()
    }

    /// Whether `Connection` names this header, which ends here then (RFC 9110 section 7.6.1).
    pub(crate) fn is_named(&self, name: &[u8]) -> bool {
        if !self.options.names_more {
            return false;
        }
        let mut values = self.lines().values(b"connection");
        values.any(|value| {
            ConnectionOptions::list(value).any(|option| option.eq_ignore_ascii_case(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &'static str) -> AnswerHead {
        AnswerHead::parse(Bytes::from_static(text.as_bytes())).unwrap()
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
            assert_eq!(head(text).keeps_connection(), expected, "{text}");
        }
    }

    #[test]
    fn a_status_is_one_that_exists() {
        for text in ["HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1\r\n\r\n"] {
            let parsed = AnswerHead::parse(Bytes::from_static(text.as_bytes()));
            assert!(parsed.is_err(), "{text:?}");
        }
    }

    #[test]
    fn lines_are_as_they_came_and_found_by_name() {
        let head = head(
            "HTTP/1.1 404 Not Here\r\nSet-Cookie: a\r\nX:  b c\t\r\nset-cookie: d\r\ny:\r\n\
             connection: x, Y\r\n\r\n",
        );
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        let lines: Vec<_> = head.lines().collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"Set-Cookie", b"a"),
            (b"X", b"b c"),
            (b"set-cookie", b"d"),
            (b"y", b""),
            (b"connection", b"x, Y"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(head.get("SET-COOKIE"), Some(&b"a"[..]));
        assert_eq!(head.get("z"), None);
        assert!(head.is_named(b"X") && head.is_named(b"y") && !head.is_named(b"set-cookie"));
        assert!(!head.is_interim());
    }
}
