//! A request's head, onto the wire.

use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;

use crate::io::write_length;

/// What a request's head is made of.
pub(crate) trait RequestHead {
    /// The request as it came.
    fn parts(&self) -> &Parts;

    /// Writes the target in its origin form.
    fn write_target(&self, buffer: &mut Vec<u8>);

    /// Writes the header lines, but for those that delimit the body.
    fn write_lines(&self, buffer: &mut Vec<u8>);
}

/// Writes the head of a request. `body_bytes` is the size of its body where that is known; one of
/// unknown size goes in chunks.
pub(super) fn write(buffer: &mut Vec<u8>, head: &impl RequestHead, body_bytes: Option<u64>) {
    let Parts {
        method, headers, ..
    } = head.parts();
    buffer.extend_from_slice(method.as_str().as_bytes());
    buffer.push(b' ');
    head.write_target(buffer);
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    head.write_lines(buffer);
    match body_bytes {
        // Said where the client said so, and where a body would be expected (RFC 9110 section
        // 8.6).
        Some(0) if !expects_body(method) && !headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => write_length(buffer, length),
        None => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    buffer.extend_from_slice(b"\r\n");
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
