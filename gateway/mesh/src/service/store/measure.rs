//! How long the database takes, and how busy its connections are.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::{PoolState, Store, StoreError};
use crate::service::Resource;
use crate::service::traces::QuerySpan;

/// Upper bounds of the latency's buckets, in seconds.
const BUCKETS_SECONDS: [f64; 10] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 2.5,
];

/// `operation` and `outcome`, a dozen pairs of them at most.
type Labels = [(&'static str, &'static str); 2];
/// `state`: `limit`, `open`, `in_use`.
type State = [(&'static str, &'static str); 1];

/// A store that keeps count.
#[derive(Clone)]
pub(crate) struct Measured<S> {
    store: S,
    /// What OpenTelemetry calls the kind of database.
    system: &'static str,
    metrics: Arc<Metrics>,
}

struct Metrics {
    registry: Registry,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    connections: Family<State, Gauge>,
    waiting: Gauge,
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("service_database");
        let durations: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(BUCKETS_SECONDS));
        let connections = Family::default();
        let waiting = Gauge::default();
        registry.register_with_unit(
            "operation_duration",
            "Time for one read of the database, the wait for a connection included",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "connections",
            "Connections to the database (calls, where it has none): the most there may be, those open, those in use",
            connections.clone(),
        );
        registry.register(
            "waiting",
            "Requests that wait for a connection",
            waiting.clone(),
        );
        Self {
            registry,
            durations,
            connections,
            waiting,
        }
    }
}

impl<S> Measured<S> {
    pub(crate) fn new(store: S, system: &'static str) -> Self {
        Self {
            store,
            system,
            metrics: Arc::new(Metrics::new()),
        }
    }

    /// All of it, as a part of `text` in `OpenMetrics`' format.
    pub(crate) fn encode<R: Resource>(&self, text: &mut String) -> fmt::Result
    where
        S: Store<R>,
    {
        let pool = self.store.pool();
        for (state, count) in [
            ("limit", pool.limit),
            ("open", pool.open),
            ("in_use", pool.in_use),
        ] {
            let gauge = self.metrics.connections.get_or_create(&[("state", state)]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let waiting = i64::try_from(pool.waiting).unwrap_or(i64::MAX);
        self.metrics.waiting.set(waiting);
        encode_registry(text, &self.metrics.registry)
    }

    async fn time<R: Resource, T>(
        &self,
        operation: &'static str,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = QuerySpan::begin(self.system, operation, R::COLLECTION);
        let started = Instant::now();
        let answer = read.await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(StoreError::Busy { .. }) => "busy",
            Err(StoreError::Away { .. }) => "away",
            Err(StoreError::Failed(_)) => "failed",
        };
        self.metrics
            .durations
            .get_or_create(&[("operation", operation), ("outcome", outcome)])
            .observe(started.elapsed().as_secs_f64());
        if let Some(span) = span {
            span.end(outcome);
        }
        answer
    }
}

impl<R: Resource, S: Store<R>> Store<R> for Measured<S> {
    async fn list(&self, after: i64, limit: usize) -> Result<Vec<R>, StoreError> {
        self.time::<R, _>("list", self.store.list(after, limit))
            .await
    }

    async fn get(&self, id: i64) -> Result<Option<R>, StoreError> {
        self.time::<R, _>("get", self.store.get(id)).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.time::<R, _>("ready", self.store.ready()).await
    }

    fn pool(&self) -> PoolState {
        self.store.pool()
    }
}
