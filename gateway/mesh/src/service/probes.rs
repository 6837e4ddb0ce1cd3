//! What is asked about the service itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::Resource;
use super::fault::Fault;
use super::metrics::Metrics;
use super::store::{Store, StoreError};
use crate::shutdown::{Phase, Shutdown};

/// Time in which the database must answer for the service to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(1);

/// Media type of the metrics.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /`: what this is. Load balancers ask here by default, so it is 200.
pub(super) async fn root<R: Resource>() -> Response {
    Json(json!({
        "service": R::SERVICE,
        "version": R::VERSION,
        "collection": format!("/{}", R::COLLECTION),
        "openapi": "/openapi.json",
    }))
    .into_response()
}

/// `GET /healthz`: the process answers. Nothing that a restart would not cure may
/// fail it, so the database is not asked.
pub(super) async fn healthy() -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(json!({"status": "ok"}))).into_response()
}

/// `GET /readyz`: a request sent now would be served; really asks the database.
pub(super) async fn ready<R: Resource, S: Store<R>>(
    State((store, database, shutdown)): State<(S, Arc<str>, Shutdown)>,
) -> Result<Response, Fault> {
    if shutdown.phase() > Phase::Running {
        return Err(Fault::ShuttingDown);
    }
    match tokio::time::timeout(READY_TIMEOUT, store.ready()).await {
        Ok(Ok(())) => Ok((
            [(CACHE_CONTROL, "no-store")],
            Json(json!({"status": "ready", "database": *database})),
        )
            .into_response()),
        Ok(Err(error)) => Err(Fault::from(error).about(&database)),
        Err(_) => {
            let cause = format!("no answer within {READY_TIMEOUT:?}");
            Err(Fault::from(StoreError::failed(cause)).about(&database))
        }
    }
}

/// `GET /metrics`.
pub(super) async fn metrics<R: Resource, S: Store<R>>(
    State(metrics): State<Metrics<S>>,
) -> Response {
    ([(CONTENT_TYPE, METRICS)], metrics.to_text::<R>()).into_response()
}

/// `GET /openapi.json`.
pub(super) async fn openapi<R: Resource>() -> Response {
    ([(CONTENT_TYPE, "application/json")], R::OPENAPI).into_response()
}
