//! What a worker owns, and what the workers share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use gateway_core::auth::Snapshots;
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::cache::{BYTES_MAX, ENTRIES_MAX, TokenCache};
use gateway_core::auth::trust::Trust;
use gateway_core::auth::unknown::UnknownKeys;
use gateway_core::cluster::{AdaptiveLimit, EndpointSet, Instance, Usage};
use gateway_core::file::Limits;
use gateway_core::plan::{Action, Cluster, Plan};
use gateway_core::words::reason::Reason;
use gateway_core::words::time::{Millis, UnixSeconds};
use http::HeaderValue;
use http::request::Parts;
use mesh::request_id::RequestId;
use mesh::trace::TraceContext;

use super::intake;
use super::known::KnownAddresses;
use super::record::Record;
use crate::clock::Clock;
use crate::identity::Signer;
use crate::io::ConnectionState;
use crate::jwks::WantedKeys;
use crate::lifecycle::Lifecycle;
use crate::telemetry::access_log;
use crate::telemetry::cells::{Cells, WorkerCells};
use crate::upstream::Pool;

/// A plan, and the snapshots of keys and endpoints that belong to it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) plan: Plan,
    /// What is believed of each provider, by its index.
    pub(crate) trusts: Vec<Arc<ArcSwap<Trust>>>,
    /// The API keys of each list, by its index.
    pub(crate) api_keys: Vec<Arc<ArcSwap<ApiKeys>>>,
    /// How requests ask a provider for a key, by its index.
    pub(crate) wanted: Vec<Arc<WantedKeys>>,
    /// By the cluster's index.
    pub(crate) endpoints: Vec<Arc<ArcSwap<EndpointSet>>>,
    /// The limits that find themselves, by the cluster's index.
    pub(crate) adaptive: Vec<Option<Arc<AdaptiveLimit>>>,
    /// There where the plan has an upstream that gets the gateway's own tokens.
    pub(crate) signer: Option<Arc<Signer>>,
    /// The availability zone that the gateway runs in, where it is known.
    pub(crate) zone: Option<Arc<str>>,
    /// By the worker's index.
    pub(crate) cells: Vec<Arc<Cells>>,
}

impl Live {
    /// A plan with no keys, no endpoints and no signer yet.
    pub(crate) fn new(plan: Plan, workers: usize, wanted: Vec<Arc<WantedKeys>>) -> Self {
        let backends = || {
            plan.routes.iter().map(|route| match &route.action {
                Action::Forward(backends) => backends.count(),
                Action::Respond(_) | Action::RespondKeys => 0,
            })
        };
        let adaptive: Vec<_> = plan
            .clusters
            .iter()
            .map(|cluster| {
                let rules = cluster.adaptive?;
                let limit = AdaptiveLimit::new(rules, cluster.priorities, workers);
                Some(Arc::new(limit))
            })
            .collect();
        let usages = || {
            let clusters = plan.clusters.iter().zip(&adaptive);
            clusters.map(|(cluster, adaptive)| {
                Usage::within(cluster.limits.share(workers))
                    .shared_by(cluster.priorities)
                    .adapting(adaptive.as_ref())
            })
        };
        Self {
            trusts: plan.providers.iter().map(|_| Arc::default()).collect(),
            api_keys: plan.api_keys.iter().map(|_| Arc::default()).collect(),
            wanted,
            endpoints: plan.clusters.iter().map(no_endpoints).collect(),
            cells: (0..workers)
                .map(|_| Arc::new(Cells::new(backends(), usages())))
                .collect(),
            adaptive,
            signer: None,
            zone: None,
            plan,
        }
    }

    /// Lets the limits that find themselves move; whether there are any. Called some times in a
    /// tenth of a second, by one thread.
    pub(crate) fn adapt(&self, now: Millis, civil: UnixSeconds) -> bool {
        for (index, limit) in self.adaptive.iter().enumerate() {
            if let Some(limit) = limit {
                let usages = self.cells.iter().map(|cells| &cells.upstreams[index].usage);
                limit.tick(usages, now, civil);
            }
        }
        self.adaptive.iter().any(Option::is_some)
    }
}

impl Live {
    /// Swaps in what discovery found of a cluster; endpoints that stay keep their load and health.
    /// Called by one thread at a time for each cluster.
    pub(crate) fn publish(
        &self,
        cluster: usize,
        found: impl IntoIterator<Item = Instance>,
        now: Millis,
    ) {
        let balancer = &self.plan.clusters[cluster].balancer;
        let endpoints = &self.endpoints[cluster];
        let zone = self.zone.as_deref();
        let set = EndpointSet::succeeding(&endpoints.load(), found, balancer, zone, now);
        endpoints.store(Arc::new(set));
    }
}

/// The set that the first discovered one succeeds.
fn no_endpoints(cluster: &Cluster) -> Arc<ArcSwap<EndpointSet>> {
    let set = EndpointSet::with_rules(cluster.outliers);
    Arc::new(ArcSwap::from_pointee(set))
}

impl Snapshots for Live {
    type Trust = Guard<Arc<Trust>>;
    type ApiKeys = Guard<Arc<ApiKeys>>;

    fn trust(&self, provider: usize) -> Self::Trust {
        self.trusts[provider].load()
    }

    fn api_keys(&self, list: usize) -> Self::ApiKeys {
        self.api_keys[list].load()
    }
}

/// What a request keeps for its life. Made once per worker and plan, so that the count of
/// its holders lies in memory that only one worker touches.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) live: Arc<Live>,
    pub(crate) cells: Arc<Cells>,
}

/// One worker: a thread whose connections, upstream connections, token cache and counters
/// no other thread touches. Its locks are never waited for.
pub(crate) struct Worker {
    index: usize,
    pub(crate) clock: Clock,
    pub(crate) pool: Pool,
    pub(crate) log: access_log::Buffer,
    pub(crate) cells: Arc<WorkerCells>,
    pub(crate) lifecycle: Arc<Lifecycle>,
    current: Arc<ArcSwap<Live>>,
    state: Mutex<State>,
}

struct State {
    pinned: Arc<Pinned>,
    random: fastrand::Rng,
    tokens: TokenCache,
    unknown_keys: UnknownKeys,
    known_addresses: KnownAddresses,
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        current: Arc<ArcSwap<Live>>,
        clock: Clock,
        log: access_log::Buffer,
        cells: Arc<WorkerCells>,
        lifecycle: Arc<Lifecycle>,
    ) -> Self {
        let pinned = pin(current.load_full(), index);
        Self {
            index,
            clock,
            pool: Pool::default(),
            log,
            cells,
            lifecycle,
            current,
            state: Mutex::new(State {
                pinned,
                random: fastrand::Rng::new(),
                tokens: TokenCache::new(ENTRIES_MAX, BYTES_MAX),
                unknown_keys: UnknownKeys::default(),
                known_addresses: KnownAddresses::default(),
            }),
        }
    }

    /// Begins a request: the plan it keeps, its ids, its start.
    pub(crate) fn begin(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        parts: Parts,
    ) -> Box<Record> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(
            &raw const **self.current.load(),
            Arc::as_ptr(&state.pinned.live),
        ) {
            state.pinned = pin(self.current.load_full(), self.index);
        }
        let pinned = Arc::clone(&state.pinned);
        let is_trusted = pinned.live.plan.forwarded.is_trusted(connection.peer.ip());
        let random = &mut state.random;
        let request_id = is_trusted
            .then(|| intake::request_id(&parts.headers))
            .flatten()
            .unwrap_or_else(|| RequestId::random(random).to_header_value());
        let trace = match intake::trace(&parts.headers) {
            Some(trace) => trace.child(random),
            None => TraceContext::root(random),
        };
        drop(state);
        self.cells.requests_in_flight.add(1);
        Box::new(Record {
            worker: Arc::clone(self),
            connection: Arc::clone(connection),
            pinned,
            parts,
            started: Instant::now(),
            is_trusted,
            request_id,
            trace,
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
            is_stand_in: false,
        })
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

    /// One draw of 64 bits.
    pub(crate) fn random(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.random.u64(..)
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
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut state.known_addresses;
        known.update(&self.current.load().endpoints);
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

fn pin(live: Arc<Live>, worker: usize) -> Arc<Pinned> {
    let cells = Arc::clone(&live.cells[worker]);
    Arc::new(Pinned { live, cells })
}

/// One client's connection.
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    /// The peer's address as text and as a header, made once.
    pub(crate) peer_text: Box<str>,
    pub(crate) peer_header: HeaderValue,
    pub(crate) state: Arc<ConnectionState>,
    /// The longest silence within a body, in either direction.
    pub(super) body_timeout: Duration,
    requests: AtomicU64,
    requests_max: u64,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, state: Arc<ConnectionState>, limits: &Limits) -> Self {
        let ip = peer.ip().to_canonical().to_string();
        Self {
            peer,
            peer_header: HeaderValue::from_str(&ip).expect("an address is a header value"),
            peer_text: ip.into(),
            state,
            body_timeout: limits.body_timeout,
            requests: AtomicU64::new(0),
            requests_max: limits.requests_per_connection_max,
        }
    }

    /// Counts a request; a reason if its head was refused and this is the stand-in.
    pub(super) fn begin_request(&self) -> Option<Reason> {
        let ordinal = self.requests.load(Ordering::Relaxed) + 1;
        self.requests.store(ordinal, Ordering::Relaxed);
        self.state.begin_answer();
        self.state.refusal_of(ordinal)
    }

    /// Whether the request being served is the last one that this connection may carry.
    pub(super) fn is_spent(&self) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.requests_max
    }

    /// The answer's head is made.
    pub(crate) fn begin_sending(&self, deadline: Millis) {
        self.state.begin_sending(deadline);
    }
}
