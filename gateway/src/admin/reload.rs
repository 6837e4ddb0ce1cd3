//! Reloads of the configuration, seen from outside: who asks for one, and what became of the last.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gateway_core::config::{Problem, Problems};
use gateway_core::file::Changes;
use gateway_core::words::time::UnixSeconds;
use prometheus_client::encoding::DescriptorEncoder;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::access::{Access, Denied};
use super::metrics::Family;

/// Callers that may wait for a reload.
const ASKING_MAX: usize = 16;

/// Asks for a reload.
pub(crate) type Ask = oneshot::Sender<Outcome>;

/// What reloads have done so far.
pub(crate) struct Reloads {
    asking: mpsc::Sender<Ask>,
    in_force: ArcSwap<InForce>,
    /// The last one, where it was refused.
    refused: ArcSwapOption<Refused>,
    counts: [AtomicU64; 3],
    succeeded_at: AtomicU64,
}

/// The configuration that requests are served by.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct InForce {
    /// 1 at the start of the process, one more with each reload that changed it.
    pub(crate) generation: u64,
    /// The beginning of the SHA-256 of its text.
    pub(crate) hash: Box<str>,
    /// Sections whose change waits for a new process.
    pub(crate) needs_restart: Vec<&'static str>,
}

impl InForce {
    /// That of the start; `None` where it came from no place that could be read again.
    pub(crate) fn first(hash: Option<&str>) -> Self {
        Self {
            generation: 1,
            hash: hash.unwrap_or("none").into(),
            needs_restart: Vec::new(),
        }
    }
}

/// What became of one reload.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Applied(Arc<Applied>),
    /// The text is that in force.
    Unchanged,
    Refused(Arc<Refused>),
}

/// A configuration that has come into force.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Applied {
    pub(crate) changes: Changes,
    /// What is new and has not been read in time; it goes on being read.
    pub(crate) unanswered: Vec<String>,
}

/// A configuration that has not.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// All that is wrong, for people.
    pub(crate) text: String,
    pub(crate) problems: Vec<Place>,
    pub(crate) at: UnixSeconds,
}

/// One problem of a file.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Place {
    /// The file that is to be mended, one of those that are included perhaps.
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Place {
    pub(crate) fn of(problems: &Problems, problem: &Problem) -> Self {
        Self {
            file: Some(problems.name_of(problem).to_owned()),
            line: problem.position.map(|it| it.line),
            column: problem.position.map(|it| it.column),
            path: problem.path.clone(),
            message: problem.message.clone(),
            help: problem.help.clone(),
        }
    }

    /// Something that no line of the file is to blame for.
    pub(crate) fn without_line(message: &str) -> Self {
        Self {
            file: None,
            line: None,
            column: None,
            path: String::new(),
            message: message.into(),
            help: None,
        }
    }
}

impl Reloads {
    /// Nothing but the start so far; and who is asked for reloads.
    pub(crate) fn new(in_force: InForce, now: UnixSeconds) -> (Arc<Self>, mpsc::Receiver<Ask>) {
        let (asking, asked) = mpsc::channel(ASKING_MAX);
        let reloads = Self {
            asking,
            in_force: ArcSwap::from_pointee(in_force),
            refused: ArcSwapOption::empty(),
            counts: Default::default(),
            succeeded_at: AtomicU64::new(now),
        };
        (Arc::new(reloads), asked)
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Whether the last one that was read could not be used.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load().is_some()
    }

    /// Another configuration serves.
    pub(crate) fn put_in_force(&self, in_force: InForce) {
        self.in_force.store(Arc::new(in_force));
    }

    /// A reload has ended.
    pub(crate) fn note(&self, outcome: &Outcome, now: UnixSeconds) {
        let (index, refused) = match outcome {
            Outcome::Applied(_) => (0, None),
            Outcome::Unchanged => (1, None),
            Outcome::Refused(refused) => (2, Some(Arc::clone(refused))),
        };
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        if refused.is_none() {
            self.succeeded_at.store(now, Ordering::Relaxed);
        }
        self.refused.store(refused);
    }

    /// What readiness says of a configuration that is not in force.
    pub(super) fn words(&self) -> Option<Value> {
        let refused = self.refused.load_full()?;
        let in_force = self.in_force();
        Some(json!({
            "status": "the last reload was refused; the configuration before it stays in force",
            "refused_at": refused.at,
            "problems": refused.problems.len().max(1),
            "generation": in_force.generation,
            "hash": in_force.hash,
        }))
    }

    /// What reloads have come to, for the API.
    pub(super) fn history(&self) -> Value {
        let in_force = self.in_force();
        let [applied, unchanged, refused] = &self.counts;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let last = self.refused.load_full();
        json!({
            "generation": in_force.generation,
            "hash": in_force.hash,
            "needs_restart": in_force.needs_restart,
            "read_at": self.succeeded_at.load(Ordering::Relaxed),
            "applied": count(applied),
            "unchanged": count(unchanged),
            "refused": count(refused),
            "refused_last": last.map(|it| json!({"at": it.at, "problems": it.problems})),
        })
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = Family::counter(
            encoder,
            "gateway_config_reloads",
            "Reloads of the configuration, by result",
        )?;
        for (result, count) in ["applied", "unchanged", "refused"].iter().zip(&self.counts) {
            family.count(&[("result", result)], count.load(Ordering::Relaxed))?;
        }
        let in_force = self.in_force();
        let gauges = [
            (
                "gateway_config_last_reload_successful",
                "0 while the last configuration that was read is refused",
                u64::from(self.refused.load().is_none()),
            ),
            (
                "gateway_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was last read and found good",
                self.succeeded_at.load(Ordering::Relaxed),
            ),
            (
                "gateway_config_generation",
                "Configurations that this process has served by, the one in force included",
                in_force.generation,
            ),
            (
                "gateway_config_needs_restart",
                "1 while a change of the configuration waits for a new process",
                u64::from(!in_force.needs_restart.is_empty()),
            ),
        ];
        for (name, help, value) in gauges {
            Family::gauge(encoder, name, help)?.set(&[], value)?;
        }
        let help = "1, with the beginning of the SHA-256 of the configuration in force";
        Family::gauge(encoder, "gateway_config_info", help)?.set(&[("hash", &in_force.hash)], 1)
    }
}

/// `POST /reload`.
pub(super) async fn reload(
    State(observed): State<Arc<super::Observed>>,
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
) -> Response {
    if let Err(denied) = access.check(&headers).await {
        return deny(denied);
    }
    let reloads = &observed.reloads;
    let (ask, answer) = oneshot::channel();
    if let Err(error) = reloads.asking.try_send(ask) {
        let (code, detail) = match error {
            mpsc::error::TrySendError::Full(_) => (
                "reload_busy",
                "too many callers wait for a reload; ask again",
            ),
            mpsc::error::TrySendError::Closed(_) => (
                "reload_unavailable",
                "this gateway has no file to read again, or is leaving",
            ),
        };
        return problem(StatusCode::SERVICE_UNAVAILABLE, code, detail, &json!({}));
    }
    let Ok(outcome) = answer.await else {
        let detail = "the gateway is leaving";
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "reload_unavailable",
            detail,
            &json!({}),
        );
    };
    answer_with(&outcome, &reloads.in_force())
}

fn answer_with(outcome: &Outcome, in_force: &InForce) -> Response {
    let mut body = json!(in_force);
    match outcome {
        Outcome::Applied(applied) => {
            body["result"] = "applied".into();
            body["changes"] = json!(applied.changes);
            body["unanswered"] = json!(applied.unanswered);
        }
        Outcome::Unchanged => body["result"] = "unchanged".into(),
        Outcome::Refused(refused) => {
            body["problems"] = json!(refused.problems);
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return problem(status, "config_refused", &refused.text, &body);
        }
    }
    ([(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

pub(super) fn deny(denied: Denied) -> Response {
    let (status, code, detail) = match denied {
        Denied::NotLocal => (
            StatusCode::FORBIDDEN,
            "admin_token_required",
            "other machines reach this listener: set `admin.token` in the routes file, or bind `admin.address` to 127.0.0.1",
        ),
        Denied::Browser => (
            StatusCode::FORBIDDEN,
            "admin_token_required",
            "a page in a browser may change nothing without a token: set `admin.token` in the routes file",
        ),
        Denied::Missing => (
            StatusCode::UNAUTHORIZED,
            "admin_token_missing",
            "send `Authorization: Bearer` with the token of `admin.token`",
        ),
        Denied::Wrong => (
            StatusCode::UNAUTHORIZED,
            "admin_token_wrong",
            "the token is not that of `admin.token`",
        ),
        Denied::Unreadable => (
            StatusCode::FORBIDDEN,
            "admin_token_unreadable",
            "the file of `admin.token` cannot be used; the log says why",
        ),
    };
    let mut response = problem(status, code, detail, &json!({}));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A problem (RFC 9457) with more members.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str, more: &Value) -> Response {
    let problem = mesh::problem::Problem {
        status,
        code,
        title: status.canonical_reason().unwrap_or_default().into(),
        detail: Some(detail.into()),
        request_id: None,
    };
    let mut body = json!(problem);
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let headers = [
        (CONTENT_TYPE, mesh::problem::CONTENT_TYPE),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body.to_string()).into_response()
}
