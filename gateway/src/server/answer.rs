//! An answer's head, onto the wire, and how its body is delimited behind it.

use http::StatusCode;

use super::manner::Manner;
use crate::io::{write_length, write_line};
use crate::proxy::Answer;

/// How a client finds the end of an answer's body (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiting {
    /// There is none, whatever the head says.
    Nothing,
    /// By its length.
    Length,
    Chunks,
    /// By the end of the connection: a client of HTTP/1.0 knows no chunks.
    Close,
}

impl Delimiting {
    /// Of an answer with this status and a body of so many bytes, where that is known.
    pub(super) fn of(status: StatusCode, body_bytes: Option<u64>, manner: Manner) -> Self {
        let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if manner.is_head || has_none {
            return Self::Nothing;
        }
        match body_bytes {
            Some(_) => Self::Length,
            None if manner.is_http_10() => Self::Close,
            None => Self::Chunks,
        }
    }
}

/// Writes the head of an answer. `keeps` says whether the connection may carry another request.
/// An answer without a date gets one (RFC 9110 section 6.6.1).
pub(super) fn write_head(
    buffer: &mut Vec<u8>,
    answer: &Answer,
    delimiting: Delimiting,
    body_bytes: Option<u64>,
    manner: Manner,
    keeps: bool,
    write_date: impl FnOnce(&mut Vec<u8>),
) {
    let version = if manner.is_http_10() {
        // Who knows no more than that is spoken to in kind.
        "HTTP/1.0 "
    } else {
        "HTTP/1.1 "
    };
    buffer.extend_from_slice(version.as_bytes());
    buffer.extend_from_slice(answer.status.as_str().as_bytes());
    buffer.push(b' ');
    let phrase = answer.status.canonical_reason().unwrap_or_default();
    buffer.extend_from_slice(phrase.as_bytes());
    buffer.extend_from_slice(b"\r\n");
    let mut is_dated = false;
    let mut has_length = false;
    answer.lines(|name, value| {
        if name.eq_ignore_ascii_case(b"content-length") {
            // Where there is no body, it tells of the one that another request would get.
            if delimiting != Delimiting::Nothing || answer.status == StatusCode::NO_CONTENT {
                return;
            }
            has_length = true;
        }
        is_dated |= name.eq_ignore_ascii_case(b"date");
        write_line(buffer, name, value);
    });
    match (delimiting, body_bytes) {
        (Delimiting::Length, Some(length)) => write_length(buffer, length),
        (Delimiting::Nothing, Some(length)) if manner.is_head && !has_length && length > 0 => {
            write_length(buffer, length);
        }
        (Delimiting::Chunks, _) => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        (Delimiting::Length | Delimiting::Nothing | Delimiting::Close, _) => {}
    }
    match (keeps, manner.is_http_10()) {
        (false, false) => buffer.extend_from_slice(b"connection: close\r\n"),
        (true, true) => buffer.extend_from_slice(b"connection: keep-alive\r\n"),
        (true, false) | (false, true) => {}
    }
    if !is_dated {
        buffer.extend_from_slice(b"date: ");
        write_date(buffer);
        buffer.extend_from_slice(b"\r\n");
    }
    buffer.extend_from_slice(b"\r\n");
}
