//! Who may look.
//!
//! A page of anybody's that a person on this machine has open can send requests here. What keeps it
//! from reading the answers is that it is of another origin; so it would have its own name resolve
//! to this address (DNS rebinding), and be of the same. Hence `Host` must be an address or
//! `localhost`, which no such page has for a name, unless the admin token is shown.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

use super::problem;
use crate::admin::access::Access;

/// Refuses what a page of somebody else's might send.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let Some(host) = host(headers) else {
        let detail = "exactly one `Host` is needed";
        return problem(StatusCode::BAD_REQUEST, "host_invalid", detail, &json!({}));
    };
    if !is_of_machine(&host) && !access.is_shown(headers).await {
        let detail = "ask by address or as `localhost`, or show the token of `admin.token`: \
                      other names may be anybody's";
        return problem(
            StatusCode::FORBIDDEN,
            "host_not_allowed",
            detail,
            &json!({}),
        );
    }
    if !is_same_origin(headers, &host) {
        let detail = "a page of another origin may not ask";
        return problem(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            detail,
            &json!({}),
        );
    }
    next.run(request).await
}

fn host(headers: &HeaderMap) -> Option<Authority> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    }
}

fn is_of_machine(host: &Authority) -> bool {
    let name = host.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// Whether the request comes from no page, or from our own.
fn is_same_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.all(|origin| {
        let origin = origin.as_bytes();
        let authority = origin.strip_prefix(b"http://");
        let authority = authority.or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some_and(|it| it.eq_ignore_ascii_case(host.as_str().as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_host_is_of_this_machine_only_as_an_address_or_localhost() {
        for (host, expected) in [
            ("127.0.0.1:9090", true),
            ("[::1]:9090", true),
            ("10.0.0.7", true),
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("localhost.evil.example", false),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("0x7f000001", false),
        ] {
            let host: Authority = host.parse().unwrap();
            assert_eq!(is_of_machine(&host), expected, "{host}");
        }
    }

    #[test]
    fn an_origin_must_be_the_host_itself() {
        let host: Authority = "127.0.0.1:9090".parse().unwrap();
        for (origin, expected) in [
            (None, true),
            (Some("http://127.0.0.1:9090"), true),
            (Some("http://127.0.0.1:9091"), false),
            (Some("http://evil.example"), false),
            (Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_same_origin(&headers, &host), expected, "{origin:?}");
        }
    }
}
