//! A request's head, onto the wire.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Uri};

/// Writes the head of a request. `body_bytes` is the size of its body where that is known; one of
/// unknown size goes in chunks.
pub(super) fn write(buffer: &mut Vec<u8>, parts: &Parts, body_bytes: Option<u64>) {
    buffer.extend_from_slice(parts.method.as_str().as_bytes());
    buffer.push(b' ');
    write_target(buffer, &parts.uri);
    buffer.extend_from_slice(b" HTTP/1.1\r\n");
    let mut is_length_announced = false;
    for (name, value) in &parts.headers {
        // The framing of this connection is our own.
        if *name == TRANSFER_ENCODING {
            continue;
        }
        if *name == CONTENT_LENGTH {
            is_length_announced = true;
            continue;
        }
        buffer.extend_from_slice(name.as_str().as_bytes());
        buffer.extend_from_slice(b": ");
        buffer.extend_from_slice(value.as_bytes());
        buffer.extend_from_slice(b"\r\n");
    }
    match body_bytes {
        // Said where the client said so, and where a body would be expected (RFC 9110 section
        // 8.6).
        Some(0) if !is_length_announced && !expects_body(&parts.method) => {}
        Some(length) => {
            let mut digits = itoa::Buffer::new();
            buffer.extend_from_slice(b"content-length: ");
            buffer.extend_from_slice(digits.format(length).as_bytes());
            buffer.extend_from_slice(b"\r\n");
        }
        None => buffer.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    buffer.extend_from_slice(b"\r\n");
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The origin form, or the asterisk form of `OPTIONS` (RFC 9112 section 3.2).
fn write_target(buffer: &mut Vec<u8>, target: &Uri) {
    match target.path_and_query() {
        Some(target) => buffer.extend_from_slice(target.as_str().as_bytes()),
        None => buffer.push(b'/'),
    }
}
