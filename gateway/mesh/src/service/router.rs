//! Which path is answered by what, and within which bounds.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{BoxError, Router, middleware};
use tower::ServiceBuilder;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;

use super::fault::Fault;
use super::guard::require_gateway;
use super::metrics::Metrics;
use super::observe::{Observer, observe};
use super::store::measure::Measured;
use super::store::{Database, Store};
use super::traces::Traces;
use super::{Resource, probes, rows};
use crate::identity::Verifier;
use crate::shutdown::Shutdown;

/// Bounds on requests.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for one request; then it is answered with 503 `timeout`.
    pub request_timeout: Duration,
    /// Requests in work at a time, probes not counted; one more is answered with
    /// 503 `overloaded` at once, without a queue.
    pub max_concurrent_requests: usize,
    /// Length of a request's body; a longer one is answered with 413.
    pub max_body_bytes: usize,
}

/// Everything that is answered, with GET and HEAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The collection, in pages.
    List,
    /// One row of it.
    Get,
    /// What this is.
    Root,
    /// The process answers.
    Healthy,
    /// A request sent now would be served.
    Ready,
    /// The OpenAPI document.
    OpenApi,
    /// How the database fares, and the export of spans, for Prometheus.
    Metrics,
}

impl Endpoint {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::List,
        Self::Get,
        Self::Root,
        Self::Healthy,
        Self::Ready,
        Self::OpenApi,
        Self::Metrics,
    ];

    /// The path, spelt as in OpenAPI.
    #[must_use]
    pub fn path<R: Resource>(self) -> String {
        match self {
            Self::List => format!("/{}", R::COLLECTION),
            Self::Get => format!("/{}/{{id}}", R::COLLECTION),
            Self::Root => "/".into(),
            Self::Healthy => "/healthz".into(),
            Self::Ready => "/readyz".into(),
            Self::OpenApi => "/openapi.json".into(),
            Self::Metrics => "/metrics".into(),
        }
    }

    fn router<R: Resource, S: Store<R>>(
        self,
        metrics: &Metrics<S>,
        database: &Arc<str>,
        shutdown: &Shutdown,
    ) -> Router {
        let store = &metrics.store;
        let path = &self.path::<R>();
        match self {
            Self::List => Router::new()
                .route(path, get(rows::list::<R, Measured<S>>))
                .with_state(store.clone()),
            Self::Get => Router::new()
                .route(path, get(rows::get::<R, Measured<S>>))
                .with_state(store.clone()),
            Self::Root => Router::new().route(path, get(probes::root::<R>)),
            Self::Healthy => Router::new().route(path, get(probes::healthy)),
            Self::Ready => Router::new()
                .route(path, get(probes::ready::<R, Measured<S>>))
                .with_state((store.clone(), Arc::clone(database), shutdown.clone())),
            Self::OpenApi => Router::new().route(path, get(probes::openapi::<R>)),
            Self::Metrics => Router::new()
                .route(path, get(probes::metrics::<R, S>))
                .with_state(metrics.clone()),
        }
    }

    /// Probes must tell the truth under load, so the bounds are not for them.
    fn is_probe(self) -> bool {
        !matches!(self, Self::List | Self::Get)
    }
}

/// The whole application of a service, without its server; its spans go into `traces`, where there
/// is a collector.
///
/// With a `verifier`, rows are for requests that came through the gateway. Probes are not: load
/// balancers and orchestrators ask them directly.
///
/// `database` is what `/readyz` calls the database.
pub(super) fn router<R: Resource, S: Store<R>>(
    store: &S,
    database: &Database,
    limits: Limits,
    verifier: Option<Arc<Verifier>>,
    traces: Option<Traces>,
    shutdown: &Shutdown,
) -> Router {
    let timeout = limits.request_timeout;
    let metrics = &Metrics {
        store: Measured::new(store.clone(), database.system()),
        spans: traces.as_ref().map(Traces::stats),
    };
    let database = &Arc::from(database.to_string());
    // One layer for all routes: cloned, it shares its semaphore.
    let bounds = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async move |error| {
            out_of_bounds(&error, timeout)
        }))
        .load_shed()
        .layer(GlobalConcurrencyLimitLayer::new(
            limits.max_concurrent_requests,
        ))
        .timeout(timeout);
    let (probes, rows): (Vec<_>, Vec<_>) = Endpoint::ALL
        .into_iter()
        .partition(|endpoint| endpoint.is_probe());
    let merge = |router: Router, endpoint: Endpoint| {
        router.merge(endpoint.router(metrics, database, shutdown))
    };
    let mut rows = rows.into_iter().fold(Router::new(), merge).layer(bounds);
    if let Some(verifier) = verifier {
        // Outside of the bounds: who is refused takes nobody's place.
        rows = rows.layer(middleware::from_fn_with_state(verifier, require_gateway));
    }
    probes
        .into_iter()
        .fold(rows, merge)
        .fallback(async || Fault::NoRoute)
        .method_not_allowed_fallback(async || Fault::MethodNotAllowed)
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(
                    Arc::new(Observer::new(traces)),
                    observe,
                ))
                .layer(CatchPanicLayer::custom(panicked))
                .layer(RequestBodyLimitLayer::new(limits.max_body_bytes)),
        )
}

fn out_of_bounds(error: &BoxError, limit: Duration) -> Fault {
    if error.is::<tower::timeout::error::Elapsed>() {
        Fault::Timeout { limit }
    } else if error.is::<tower::load_shed::error::Overloaded>() {
        Fault::Overloaded
    } else {
        Fault::Internal {
            cause: error.to_string(),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is tower-http's"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let cause = format!("panic: {}", message.unwrap_or("without a message"));
    Fault::Internal { cause }.into_response()
}
