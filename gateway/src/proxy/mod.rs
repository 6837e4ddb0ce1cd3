//! One request, from its head to its record.
//!
//! ```text
//! intake → decide (core: route, authentication, body bound) ⇄ unknown_key (wait for keys)
//!        → forward ⇄ upstream (pick, connect, exchange, try again)
//!        → reply → record (when the body has ended, or was dropped)
//! ```

mod access_line;
mod answer;
mod body;
mod connection;
mod explain;
mod forward;
mod headers;
mod intake;
mod known;
mod live;
mod propagation;
pub(crate) mod record;
mod reply;
mod spans;
mod unknown_key;
mod worker;

pub(crate) use answer::Answer;
pub(crate) use body::ResponseBody;
pub(crate) use connection::Connection;
pub(crate) use explain::{Moment, Question, explain};
pub(crate) use live::{Live, Watched};
pub(crate) use worker::Worker;

use std::sync::Arc;

use gateway_core::pipeline::{self, Head, Refusal};
use gateway_core::plan::Action;
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use http::Request;
use http::request::Parts;

use crate::io::ClientBody;
use record::Record;

/// A request as it came.
pub(crate) struct Arrived {
    pub(crate) parts: Parts,
    pub(crate) body: ClientBody,
    /// When the first piece of its head came, where that came in several.
    pub(crate) head_began: Option<Millis>,
}

/// Answers a request whose head could not be read.
pub(crate) fn refuse(
    worker: &Arc<Worker>,
    connection: &Arc<Connection>,
    reason: Reason,
    head_began: Option<Millis>,
) -> Answer {
    connection.begin_request();
    let (nothing, ()) = Request::new(()).into_parts();
    let mut record = worker.begin(connection, nothing, head_began);
    record.is_unread = true;
    reply::reject(record, reason.into())
}

/// Serves one request.
pub(crate) async fn serve(
    worker: &Arc<Worker>,
    connection: &Arc<Connection>,
    arrived: Arrived,
) -> Answer {
    let Arrived {
        parts,
        body,
        head_began,
    } = arrived;
    connection.begin_request();
    let mut record = worker.begin(connection, parts, head_began);
    if let Err(reason) = intake::check(&record.parts) {
        return reply::reject(record, reason.into());
    }
    if intake::is_about_server(&record.parts) {
        return reply::nothing(record);
    }
    let body_bytes = body.bytes_left();
    let decided = unknown_key::decide_with_keys(worker, &mut record, body_bytes).await;
    record.note_decided();
    let decided = match decided {
        Ok(decided) => decided,
        Err(refusal) => return reply::refuse(record, *refusal),
    };
    record.route = Some(decided.route_index);
    record.caller = decided.caller;
    record.rewritten_path = decided.rewritten_path;
    let pinned = Arc::clone(&record.pinned);
    match &pinned.live.plan.routes[decided.route_index].action {
        Action::Respond(fixed) => reply::fixed(record, fixed),
        Action::RespondKeys => reply::keys(record),
        Action::Forward(backends) => forward::forward(record, &pinned, backends, body).await,
    }
}

/// What a request is to become, free of borrows from its head.
struct Decided {
    route_index: usize,
    caller: Option<Arc<gateway_core::auth::Caller>>,
    rewritten_path: Option<Box<str>>,
}

fn decide(
    worker: &Worker,
    record: &mut Record,
    body_bytes: Option<u64>,
) -> Result<Decided, Box<Refusal>> {
    let path = pipeline::clean(record.parts.uri.path())?;
    let head = Head {
        method: &record.parts.method,
        host: intake::host(&record.parts),
        path: &path,
        query: record.parts.uri.query(),
        headers: &record.parts.headers,
        body_bytes,
        peer: record.connection.peer.ip(),
    };
    let live = &record.pinned.live;
    let now = worker.clock.unix_seconds(record.began);
    let decision =
        worker.with_tokens(|tokens| pipeline::decide(&live.plan, &head, &**live, tokens, now))?;
    Ok(Decided {
        route_index: decision.route_index,
        caller: decision.caller,
        rewritten_path: path.is_rewritten().then(|| path.as_str().into()),
    })
}
