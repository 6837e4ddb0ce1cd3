//! What is taken from a request's head, and from whom it is believed.

use gateway_core::words::reason::Reason;
use http::header::{EXPECT, HOST};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version};
use mesh::headers::X_REQUEST_ID;
use mesh::request_id;

/// Checks what every route has in common.
pub(super) fn check(parts: &Parts) -> Result<(), Reason> {
    // TRACE echoes credentials to whoever can send it; CONNECT makes an open proxy.
    if parts.method == Method::TRACE || parts.method == Method::CONNECT {
        return Err(Reason::MethodNotSupported);
    }
    check_host(parts)?;
    let mut expectations = parts.headers.get_all(EXPECT).iter();
    if expectations.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(Reason::ExpectationFailed);
    }
    Ok(())
}

/// Whether a request asks about the server and not about a resource: `OPTIONS *`, which the
/// framer lets no other method say (RFC 9110 section 9.3.7).
pub(super) fn is_about_server(parts: &Parts) -> bool {
    parts.uri.path() == "*"
}

/// One `Host`, and a valid one (RFC 9112 section 3.2).
fn check_host(parts: &Parts) -> Result<(), Reason> {
    // It replaces `Host`, so it must be one: userinfo above all is refused (RFC 9110 section 4.2.4).
    if let Some(authority) = parts.uri.authority()
        && !is_host(authority.as_str().as_bytes())
    {
        return Err(Reason::HostInvalid);
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, None) if parts.version < Version::HTTP_11 => Ok(()),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        _ => Err(Reason::HostInvalid),
    }
}

/// `name`, `address` or `[address]`, with an optional port.
fn is_host(host: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let name = host.split(|&byte| byte == b':').next().unwrap_or(host);
    if !name.is_empty() && name.iter().all(is_plain) {
        return is_port(&host[name.len()..]);
    }
    Authority::try_from(host).is_ok_and(|authority| {
        let name = authority.host();
        !host.contains(&b'@')
            && !host.contains(&b'%')
            && !name.is_empty()
            && is_port(&host[name.len()..])
    })
}

/// Nothing, or a colon and a number; the number may be left out (RFC 3986 section 3.2.3).
fn is_port(port: &[u8]) -> bool {
    let [b':', digits @ ..] = port else {
        return port.is_empty();
    };
    let number = digits.iter().try_fold(0_u16, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u16::from(digit - b'0')),
        _ => None,
    });
    number.is_some()
}

/// The authority that routes look at: the target's own before `Host` (RFC 9112 section 3.2.2).
pub(super) fn host(parts: &Parts) -> Option<&str> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => parts.headers.get(HOST)?.to_str().ok(),
    }
}

/// The id that a trusted hop gave the request.
pub(super) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(X_REQUEST_ID)?;
    request_id::is_acceptable(id.as_bytes()).then(|| id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let table = [
            ("a", true),
            ("a.example:8080", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("[::1]", true),
            ("a_b.example", true),
            ("", false),
            ("a@b", false),
            ("a/b", false),
            ("a b", false),
            ("a:", true),
            ("a:65535", true),
            ("a_b:80", true),
            ("a:65536", false),
            ("a:b", false),
            ("a:80:80", false),
            ("a_b:c", false),
            ("a:b:c", false),
            ("[::1]:b", false),
            ("[::1", false),
            ("user@a", false),
            ("a%41", false),
            (":80", false),
        ];
        for (host, expected) in table {
            assert_eq!(is_host(host.as_bytes()), expected, "{host}");
        }
    }
}
