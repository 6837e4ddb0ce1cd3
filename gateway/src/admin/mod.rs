//! The admin listener: health, readiness, metrics, public keys, reloads; the API and its page.
//! Loopback by default.

mod access;
mod api;
mod metrics;
mod page;
mod reload;

pub(crate) use access::Access;
pub(crate) use metrics::Observed;
pub(crate) use reload::{Applied, Ask, InForce, Outcome, Place, Refused, Reloads};

use std::net::TcpListener as StdListener;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use serde_json::json;
use tokio::net::TcpListener;

use crate::identity;

/// The admin listener, as a service of pingora's.
pub(crate) struct Admin {
    pub(crate) listener: Option<StdListener>,
    pub(crate) observed: Arc<Observed>,
    pub(crate) access: Arc<Access>,
}

#[async_trait]
impl Service for Admin {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        _listeners_per_fd: usize,
    ) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        let lifecycle = Arc::clone(&self.observed.lifecycle);
        let serve = async {
            let listener = TcpListener::from_std(listener)?;
            if !lifecycle.doors_opened().await {
                return Ok(());
            }
            // A probe must reach the process that serves. One that leaves for good goes on
            // answering: it is asked whether it is still ready.
            let end = Arc::clone(&lifecycle);
            axum::serve(
                listener,
                router(Arc::clone(&self.observed), Arc::clone(&self.access)),
            )
            .with_graceful_shutdown(async move { end.handed_over().await })
            .await
        };
        if let Err(error) = serve.await {
            tracing::error!(%error, "the admin listener broke down");
        }
    }

    fn name(&self) -> &'static str {
        "admin"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

fn router(observed: Arc<Observed>, access: Arc<Access>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .route("/internal/jwks.json", get(keys))
        .route("/reload", post(reload::reload))
        .merge(api::router(&access))
        .layer(Extension(access))
        .fallback(missing)
        .with_state(observed)
}

async fn ready(State(observed): State<Arc<Observed>>) -> Response {
    let (status, mut body) = match observed.lifecycle.unready() {
        None => (StatusCode::OK, json!({"status": "ready"})),
        Some(waiting) => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "not ready", "waiting_for": waiting}),
        ),
    };
    if let Some(words) = observed.reloads.words() {
        body["configuration"] = words;
    }
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn render(State(observed): State<Arc<Observed>>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match observed.render() {
        Ok(text) => ([(CONTENT_TYPE, content_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The public keys of this process's own tokens.
async fn keys(State(observed): State<Arc<Observed>>) -> Response {
    let live = observed.live.load();
    let Some(signer) = &live.signer else {
        let text = "the routes file has no section `internal_identity`\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let headers = [
        (CONTENT_TYPE, identity::CONTENT_TYPE),
        (CACHE_CONTROL, signer.cache_control()),
    ];
    (headers, signer.key_set()).into_response()
}

async fn missing() -> Response {
    let text = "the admin listener serves /, /api/openapi.json, /healthz, /readyz, /metrics, /internal/jwks.json and POST /reload\n";
    (StatusCode::NOT_FOUND, text).into_response()
}
