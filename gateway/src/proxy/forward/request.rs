//! The request that goes upstream: one for each try.

use std::time::Duration;

use gateway_core::cluster::{Lease, deadline};
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, Uri, Version};
use mesh::headers::X_REQUEST_DEADLINE;
use mesh::trace::TraceContext;

use crate::proxy::headers::{Deadline, Outgoing};
use crate::proxy::record::Record;
use crate::upstream::RequestBody;

pub(super) fn upstream_request(
    record: &Record,
    trace: &TraceContext,
    lease: &Lease,
    token: Option<(&HeaderName, &HeaderValue)>,
    left: Duration,
    body: RequestBody,
) -> Request<RequestBody> {
    let parts = &record.parts;
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = upstream_target(&parts.uri, record.rewritten_path.as_deref());
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = Outgoing {
        plan: &record.pinned.live.plan,
        parts,
        peer: record.connection.peer.ip(),
        peer_header: &record.connection.peer_header,
        caller: record.caller.as_deref(),
        token,
        deadline: time_left(record, left),
        is_trusted: record.is_trusted,
        request_id: &record.request_id,
        trace,
    }
    .headers();
    if !request.headers().contains_key(HOST) {
        // HTTP/1.0 may do without, HTTP/1.1 may not (RFC 9112 section 3.2).
        let host = HeaderValue::from_str(&lease.endpoint().label);
        request
            .headers_mut()
            .insert(HOST, host.expect("an address is a header value"));
    }
    request
}

/// How long a request may take: as its route says, or less where a trusted proxy asks for less.
pub(super) fn time_allowed(record: &Record, timeout: Duration) -> Duration {
    if !record.is_trusted {
        return timeout;
    }
    let received = record.parts.headers.get(X_REQUEST_DEADLINE);
    let millis = received.and_then(|value| deadline::parse_millis(value.as_bytes()));
    millis.map_or(timeout, |millis| timeout.min(Duration::from_millis(millis)))
}

/// What the upstream is told of the time that is left.
///
/// A try mostly begins within the millisecond in which its request came, so most requests of a
/// route say the same, and need no text of their own.
fn time_left(record: &Record, left: Duration) -> Deadline {
    let route = &record.pinned.live.plan.routes[record.route.expect("set before forwarding")];
    let usual = route.usual_left_millis();
    let left_millis = millis(left);
    let value = if left_millis == usual {
        let cells = record.pinned.cells.route(record.route);
        let made = cells.usual_deadline.get_or_init(|| usual.into());
        made.clone()
    } else {
        left_millis.into()
    };
    Deadline { left_millis, value }
}

fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1_000 + u64::from(duration.subsec_millis())
}

/// The origin form (RFC 9112 section 3.2.1) with the path in its one spelling.
fn upstream_target(received: &Uri, rewritten_path: Option<&str>) -> Uri {
    if rewritten_path.is_none() && received.authority().is_none() {
        return received.clone();
    }
    let path = rewritten_path.unwrap_or(received.path());
    let target = match received.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    // A path that was clean stays valid in its one spelling.
    match target.parse::<PathAndQuery>() {
        Ok(target) => Uri::from(target),
        Err(_) => received.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_goes_on_in_origin_form() {
        let table = [
            ("/a?b=c", None, "/a?b=c"),
            ("http://h.example/a?b=c", None, "/a?b=c"),
            ("http://h.example", None, "/"),
            ("/%61?b", Some("/a"), "/a?b"),
        ];
        for (received, rewritten, expected) in table {
            let target = upstream_target(&received.parse().unwrap(), rewritten);
            assert_eq!(target.to_string(), expected, "{received}");
        }
    }
}
