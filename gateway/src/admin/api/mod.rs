//! What a running gateway knows, as JSON under `/api/v1`. All of it is read-only but
//! what is logged.
//!
//! | file | holds |
//! |---|---|
//! | `guard.rs` | who may look: no page of somebody else's |
//! | `state.rs` | process, configuration, keys, limits, refusals |
//! | `traffic.rs` | routes and upstreams with what is counted of them |
//! | `log_level.rs` | what is logged besides requests |
//! | `explain.rs` | what would become of a request |
//! | `openapi.json` | the document; a test holds it and the answers together |

mod explain;
mod guard;
mod log_level;
mod state;
mod traffic;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::access::Access;
use super::reload::problem;
use super::{Observed, page};

/// Bytes of a question: a head as large as a client may send, in JSON.
const QUESTION_BYTES_MAX: usize = 256 * 1024;

static OPENAPI: &str = include_str!("openapi.json");

/// The API and the page that is made of it, behind their guard.
pub(super) fn router(access: &Arc<Access>) -> Router<Arc<Observed>> {
    let api = Router::new()
        .route("/api/openapi.json", only(get(openapi)))
        .route("/api/v1/status", only(get(state::status)))
        .route("/api/v1/config", only(get(state::config)))
        .route("/api/v1/routes", only(get(traffic::routes)))
        .route("/api/v1/upstreams", only(get(traffic::upstreams)))
        .route("/api/v1/keys", only(get(state::keys)))
        .route("/api/v1/limits", only(get(state::limits)))
        .route("/api/v1/refusals", only(get(state::refusals)))
        .route(
            "/api/v1/log-level",
            only(get(log_level::show).put(log_level::set)),
        )
        .route("/api/v1/explain", only(post(explain::explain)))
        .route("/api/{*rest}", axum::routing::any(missing))
        .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX));
    api.merge(page::router())
        .layer(from_fn_with_state(Arc::clone(access), guard::guard))
}

fn only(method: MethodRouter<Arc<Observed>>) -> MethodRouter<Arc<Observed>> {
    method.fallback(|| async {
        let detail = "the API's document, /api/openapi.json, says which methods there are";
        problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            detail,
            &json!({}),
        )
    })
}

async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], OPENAPI).into_response()
}

async fn missing() -> Response {
    let detail = "the API's document, /api/openapi.json, says what there is";
    problem(StatusCode::NOT_FOUND, "not_found", detail, &json!({}))
}

/// Another origin's page can send this type only where it was asked first (Fetch, section 3.2).
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.and_then(|kind| kind.split(|&byte| byte == b';').next());
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// An answer that is true for this moment alone.
fn now(body: Value) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Json(body)).into_response()
}
