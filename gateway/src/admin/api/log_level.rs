//! `/api/v1/log-level`: what is logged besides requests, looked at and changed for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use gateway_core::words::units::HumanDuration;
use serde::Deserialize;
use serde_json::json;

use super::{Observed, is_json, now, problem};
use crate::admin::access::Access;
use crate::admin::reload::deny;
use crate::telemetry::log_level::{LogLevel, LogLevelError};

/// For how long another filter holds unless it is said.
const HOLDS: Duration = Duration::from_mins(10);

/// What somebody wants to be logged. Exactly one of `level` and `filter`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    level: Option<Level>,
    filter: Option<String>,
    r#for: Option<HumanDuration>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Of our own code where that is much: what libraries say of a request may hold its headers.
    fn filter(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "info,gateway=debug,gateway_core=debug,mesh=debug",
            Self::Trace => "info,gateway=trace,gateway_core=trace,mesh=trace",
        }
    }
}

pub(super) async fn show(State(observed): State<Arc<Observed>>) -> Response {
    match &observed.log_level {
        Some(level) => shown(&observed, level),
        None => unavailable(),
    }
}

pub(super) async fn set(
    State(observed): State<Arc<Observed>>,
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(denied) = access.check(&headers).await {
        return deny(denied);
    }
    let Some(level) = &observed.log_level else {
        return unavailable();
    };
    if !is_json(&headers) {
        let detail = "send `content-type: application/json`";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return problem(status, "media_type_unsupported", detail, &json!({}));
    }
    let wanted = match serde_json::from_slice::<Wanted>(&body) {
        Ok(wanted) => wanted,
        Err(error) => return invalid(&error.to_string()),
    };
    let filter = match (wanted.level, &wanted.filter) {
        (Some(level), None) => level.filter(),
        (None, Some(filter)) => filter,
        _ => return invalid("exactly one of `level` and `filter` is needed"),
    };
    let holds = wanted.r#for.map_or(HOLDS, |holds| holds.0);
    match level.set(filter, holds, Instant::now()) {
        Ok(()) => shown(&observed, level),
        Err(error @ LogLevelError::Broken(_)) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            problem(status, "log_level_broken", &error.to_string(), &json!({}))
        }
        Err(error) => invalid(&error.to_string()),
    }
}

fn shown(observed: &Observed, level: &LogLevel) -> Response {
    let other = level.other();
    let until = other.as_ref().map(|other| other.until);
    let filter = other.as_ref().map(|other| other.filter.as_str());
    now(json!({
        "filter": filter.unwrap_or(level.started_with()),
        "started_with": level.started_with(),
        "until": until.map(|until| observed.clock.to_unix_seconds(until)),
    }))
}

fn invalid(detail: &str) -> Response {
    let status = StatusCode::BAD_REQUEST;
    problem(status, "log_level_invalid", detail, &json!({}))
}

fn unavailable() -> Response {
    let detail = "this gateway runs within another program, whose log it is";
    let status = StatusCode::NOT_FOUND;
    problem(status, "log_level_unavailable", detail, &json!({}))
}
