//! What a worker owns, and what the workers share.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, Cache};
use gateway_core::auth::cache::{BYTES_MAX, ENTRIES_MAX, TokenCache};
use gateway_core::auth::unknown::UnknownKeys;
use gateway_core::cluster::aperture::Place;
use gateway_core::words::time::Millis;
use http::request::Parts;
use mesh::request_id::RequestId;
use mesh::trace::TraceContext;

use super::access_line::Asked;
use super::connection::Connection;
use super::intake;
use super::known::KnownAddresses;
use super::live::{Live, Pinned};
use super::propagation;
use super::record::Record;
use super::spans::Spans;
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;
use crate::telemetry::cells::WorkerCells;
use crate::telemetry::{access_log, spans};
use crate::upstream::Pool;

/// One worker: a thread whose connections, upstream connections, token cache and counters
/// no other thread touches. Its locks are never waited for.
pub(crate) struct Worker {
    index: usize,
    /// Where its windows of large sets begin.
    pub(crate) place: Place,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) log: access_log::Buffer,
    pub(crate) spans: spans::Buffer,
    pub(crate) cells: Arc<WorkerCells>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    state: Mutex<State>,
}

struct State {
    /// What is in force, and a look at it costs no more than a comparison.
    current: Cache<Arc<ArcSwap<Live>>, Arc<Live>>,
    pinned: Arc<Pinned>,
    random: fastrand::Rng,
    tokens: TokenCache,
    unknown_keys: UnknownKeys,
    known_addresses: KnownAddresses,
    /// As of the last tick.
    date: String,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        place: Place,
        current: Arc<ArcSwap<Live>>,
        clock: Clock,
        log: access_log::Buffer,
        spans: spans::Buffer,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let pinned = Pinned::new(current.load_full(), index);
        let date = clock.date_text();
        Self {
            index,
            place,
            clock,
            pool: Pool::default(),
            log,
            spans,
            cells: Arc::default(),
            lifecycle,
            state: Mutex::new(State {
                current: Cache::new(current),
                pinned,
                random: fastrand::Rng::new(),
                tokens: TokenCache::new(ENTRIES_MAX, BYTES_MAX),
                unknown_keys: UnknownKeys::default(),
                known_addresses: KnownAddresses::default(),
                date,
            }),
        }
    }

    /// Begins a request: the plan it keeps, its ids, its start. `head_began` is when the first piece
    /// of its head came, where that came in several.
    pub(crate) fn begin(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        parts: Parts,
        head_began: Option<Millis>,
    ) -> Box<Record> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow_plan(&mut state);
        let pinned = Arc::clone(&state.pinned);
        let is_trusted = pinned.live.plan.forwarded.is_trusted(connection.peer.ip());
        let random = &mut state.random;
        let request_id = is_trusted
            .then(|| intake::request_id(&parts.headers))
            .flatten()
            .unwrap_or_else(|| RequestId::random(random).to_header_value());
        let (trace, spans) = match &pinned.live.plan.tracing {
            None => match propagation::traceparent(&parts.headers) {
                Some(trace) => (trace.child(random), None),
                None => (TraceContext::root(random), None),
            },
            Some(tracing) => {
                let at = propagation::position(tracing, &parts.headers, is_trusted, random);
                (at.trace, Spans::begin(&at, self.spans.is_wanted()))
            }
        };
        drop(state);
        self.cells.requests_in_flight.add(1);
        let started = Instant::now();
        let log = pinned.live.plan.access_log.as_ref();
        let asked = log
            .filter(|log| log.needs.are_any())
            .map(|log| Asked::of(log, head_began));
        Box::new(Record {
            worker: Arc::clone(self),
            connection: Arc::clone(connection),
            pinned,
            parts,
            started,
            began: self.clock.moment(started),
            is_trusted,
            request_id,
            trace,
            spans,
            route: None,
            caller: None,
            rewritten_path: None,
            backend: None,
            lease: None,
            counted_at: None,
            tries: 0,
            hedges: AtomicU32::new(0),
            upstream_micros: None,
            status: None,
            rejection: None,
            bytes_sent: 0,
            is_complete: false,
            is_unread: false,
            asked,
        })
    }

    /// Takes the plan in force, if it is another one.
    fn follow_plan(&self, state: &mut State) {
        let current = state.current.load();
        if !Arc::ptr_eq(current, &state.pinned.live) {
            state.pinned = Pinned::new(Arc::clone(current), self.index);
        }
    }

    /// Lends the token cache.
    pub(crate) fn with_tokens<T>(&self, with: impl FnOnce(&mut TokenCache) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        with(&mut state.tokens)
    }

    /// Lends the memory of keys that were asked for in vain.
    pub(super) fn with_unknown_keys<T>(&self, with: impl FnOnce(&mut UnknownKeys) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        with(&mut state.unknown_keys)
    }

    /// The time of an answer for its head, which counts in seconds: it is read with each tick.
    pub(crate) fn write_date(&self, buffer: &mut Vec<u8>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.extend_from_slice(state.date.as_bytes());
    }

    /// The turn of this worker's choice number `choices` of an upstream: workers begin at different
    /// places, so that they do not go round in step.
    pub(crate) fn turn(&self, choices: u64) -> u64 {
        // Apart by the golden ratio, any number of workers is spread evenly.
        let start = (self.index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        start + choices
    }

    /// Housekeeping, some times a second.
    pub(crate) fn tick(&self) {
        self.log.flush();
        self.spans.flush();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.date = self.clock.date_text();
        // A worker without requests must not keep an old plan alive.
        self.follow_plan(&mut state);
        let State {
            pinned,
            known_addresses: known,
            ..
        } = &mut *state;
        known.update(&pinned.live.endpoints);
        self.pool
            .sweep(self.clock.now_ms(), |address| known.contains(address));
        drop(state);
        let tokens = self.with_tokens(|tokens| tokens.len()) as u64;
        self.cells.tokens_cached.set(tokens);
        self.cells
            .connections_idle_upstream
            .set(self.pool.len() as u64);
    }
}
