//! The head of the request that goes upstream: one for each try.

use std::time::Duration;

use gateway_core::cluster::{Lease, deadline};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri};
use mesh::headers::X_REQUEST_DEADLINE;
use mesh::trace::TraceContext;

use crate::io::write_line;
use crate::proxy::headers::Outgoing;
use crate::proxy::record::Record;
use crate::upstream::RequestHead;

/// The head of the request of one try.
pub(super) struct TryHead<'a> {
    pub(super) record: &'a Record,
    pub(super) trace: &'a TraceContext,
    pub(super) lease: &'a Lease,
    pub(super) token: Option<(&'a HeaderName, &'a HeaderValue)>,
    /// How long the upstream may take.
    pub(super) left: Duration,
}

impl RequestHead for TryHead<'_> {
    fn parts(&self) -> &Parts {
        &self.record.parts
    }

    fn write_target(&self, buffer: &mut Vec<u8>) {
        write_target(
            &self.record.parts.uri,
            self.record.rewritten_path.as_deref(),
            buffer,
        );
    }

    fn write_lines(&self, buffer: &mut Vec<u8>) {
        let record = self.record;
        let outgoing = Outgoing {
            plan: &record.pinned.live.plan,
            parts: &record.parts,
            peer: record.connection.peer.ip(),
            peer_header: &record.connection.peer_header,
            caller: record.caller.as_deref(),
            token: self.token,
            left_millis: millis(self.left),
            is_trusted: record.is_trusted,
            request_id: &record.request_id,
            trace: self.trace,
            label: &self.lease.endpoint().label,
        };
        outgoing.lines(|name, value| write_line(buffer, name.as_str().as_bytes(), value));
    }
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

fn millis(duration: Duration) -> u64 {
    duration.as_secs() * 1_000 + u64::from(duration.subsec_millis())
}

/// The origin form (RFC 9112 section 3.2.1) with the path in its one spelling.
fn write_target(received: &Uri, rewritten_path: Option<&str>, buffer: &mut Vec<u8>) {
    let path = rewritten_path.unwrap_or(received.path());
    buffer.extend_from_slice(path.as_bytes());
    if let Some(query) = received.query() {
        buffer.push(b'?');
        buffer.extend_from_slice(query.as_bytes());
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
            let mut target = Vec::new();
            write_target(&received.parse().unwrap(), rewritten, &mut target);
            assert_eq!(str::from_utf8(&target), Ok(expected), "{received}");
        }
    }
}
