//! One client's connection, as far as its requests are concerned.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::file::Limits;
use gateway_core::words::time::Millis;
use http::HeaderValue;

use crate::clock::NEVER;

/// One client's connection: what its requests have in common, and what they and its driver tell
/// each other.
///
/// All of it runs in one task; the atomics are for the type system and cost a plain load.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// The peer's address as text and as a header, made once.
    pub(crate) peer_text: Box<str>,
    pub(crate) peer_header: HeaderValue,
    /// The longest silence within a body, in either direction.
    pub(super) body_timeout: Duration,
    requests: AtomicU64,
    requests_max: u64,
    answer_by: AtomicU64,
    is_overdue: AtomicBool,
    ended_at: AtomicU64,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, limits: &Limits) -> Self {
        let ip = peer.ip().to_canonical().to_string();
        Self {
            peer,
            peer_header: HeaderValue::from_str(&ip).expect("an address is a header value"),
            peer_text: ip.into(),
            body_timeout: limits.body_timeout,
            requests: AtomicU64::new(0),
            requests_max: limits.requests_per_connection_max,
            answer_by: AtomicU64::new(NEVER),
            is_overdue: AtomicBool::new(false),
            ended_at: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub(super) fn begin_request(&self) {
        let requests = self.requests.load(Ordering::Relaxed);
        self.requests.store(requests + 1, Ordering::Relaxed);
        self.answer_by.store(NEVER, Ordering::Relaxed);
    }

    /// Whether a request has come on it.
    pub(crate) fn has_carried(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// Whether the request being served is the last one that this connection may carry.
    pub(super) fn is_spent(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.requests_max
    }

    /// An upstream has until then to answer. The connection's one timer watches this too, so that a
    /// request needs no timer of its own.
    pub(super) fn wait_until(&self, deadline: Millis) {
        self.is_overdue.store(false, Ordering::Relaxed);
        self.answer_by.store(deadline, Ordering::Relaxed);
    }

    /// Until when the request being served waits for its upstream.
    pub(crate) fn answer_by(&self) -> Millis {
        self.answer_by.load(Ordering::Relaxed)
    }

    /// That time has come.
    pub(crate) fn set_overdue(&self) {
        self.answer_by.store(NEVER, Ordering::Relaxed);
        self.is_overdue.store(true, Ordering::Relaxed);
    }

    /// Whether the time given to [`Connection::wait_until`] has run out.
    pub(super) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    /// Nothing is under way since then.
    pub(crate) fn note_end(&self, now: Millis) {
        self.ended_at.store(now, Ordering::Relaxed);
    }

    /// Since when the connection may count as idle.
    pub(crate) fn ended_at(&self) -> Millis {
        self.ended_at.load(Ordering::Relaxed)
    }
}
