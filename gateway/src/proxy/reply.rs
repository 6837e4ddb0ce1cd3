//! Answers: the upstream's, edited, or one of the gateway's own. The one place where a status
//! is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_core::auth::api_keys::ApiKeyList;
use gateway_core::auth::{Auth, Credential};
use gateway_core::pipeline::Refusal;
use gateway_core::plan::FixedResponse;
use gateway_core::words::reason::Reason;
use gateway_core::words::rejection::Rejection;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mesh::problem::{self, Problem};

use super::answer::{Answer, Head};
use super::body::ResponseBody;
use super::headers::announces_body;
use super::record::Record;
use crate::identity;
use crate::upstream::Reply;

/// Seconds after which an overloaded or unready gateway may be asked again.
const RETRY_AFTER_SECONDS: u64 = 1;

/// The upstream's answer.
#[expect(
    clippy::boxed_local,
    reason = "it comes in a box, and is taken apart here"
)]
pub(super) fn pass(mut record: Box<Record>, answer: Box<Reply>, silence_max: Duration) -> Answer {
    let Reply { head, link, held } = *answer;
    let status = head.status;
    record.status = Some(status);
    let closes = is_last(&record);
    finish(Answer {
        status,
        head: Head::Upstreams(head),
        closes,
        body: ResponseBody::upstream(held, link, silence_max, record),
    })
}

/// A route's fixed answer.
pub(super) fn fixed(mut record: Box<Record>, fixed: &FixedResponse) -> Answer {
    record.status = Some(fixed.status);
    let mut headers = HeaderMap::with_capacity(4);
    if !fixed.body.is_empty() {
        headers.insert(CONTENT_TYPE, fixed.content_type.clone());
    }
    own(record, fixed.status, headers, fixed.body.clone())
}

/// The public keys of the gateway's own tokens.
pub(super) fn keys(mut record: Box<Record>) -> Answer {
    let pinned = Arc::clone(&record.pinned);
    let signer = pinned.live.signer.as_ref();
    let signer = signer.expect("a plan that publishes keys has a section that makes them");
    let status = StatusCode::OK;
    record.status = Some(status);
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, identity::CONTENT_TYPE);
    headers.insert(CACHE_CONTROL, signer.cache_control());
    own(record, status, headers, signer.key_set())
}

/// The answer to `OPTIONS *`: there is a server here, and nothing more to say of it.
pub(super) fn nothing(mut record: Box<Record>) -> Answer {
    let status = StatusCode::NO_CONTENT;
    record.status = Some(status);
    own(record, status, HeaderMap::with_capacity(2), Bytes::new())
}

/// A refusal that the core decided on.
pub(super) fn refuse(mut record: Box<Record>, refusal: Refusal) -> Answer {
    record.route = refusal.route_index;
    let mut headers = HeaderMap::with_capacity(8);
    if let Some(allow) = refusal.allow {
        headers.insert(ALLOW, allow);
    }
    reject_with(record, refusal.rejection, headers)
}

/// Any refusal, as problem+json (RFC 9457).
pub(super) fn reject(record: Box<Record>, rejection: Rejection) -> Answer {
    reject_with(record, rejection, HeaderMap::with_capacity(8))
}

fn reject_with(mut record: Box<Record>, rejection: Rejection, mut headers: HeaderMap) -> Answer {
    let reason = rejection.reason;
    let status = reason.status();
    let body = Problem {
        status,
        code: reason.code(),
        title: reason.title().into(),
        detail: rejection.hint.as_deref().map(Into::into),
        request_id: record.request_id.to_str().ok(),
    }
    .to_json();
    headers.insert(CONTENT_TYPE, problem::CONTENT_TYPE);
    // A refusal depends on a credential and on the moment (RFC 9111 section 5.2.2.5).
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    let lists = &record.pinned.live.plan.api_keys;
    for challenge in challenges(reason, route_auth(&record), lists) {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    record.status = Some(status);
    record.rejection = Some(rejection);
    let mut answer = own(record, status, headers, body);
    answer.closes |= reason.closes_connection();
    answer
}

fn route_auth(record: &Record) -> &Auth {
    let routes = &record.pinned.live.plan.routes;
    record
        .route
        .map_or(&Auth::Open, |index| &routes[index].auth)
}

/// What a client without the right credential is told to send (RFC 9110 section 11.6.1).
fn challenges(reason: Reason, auth: &Auth, lists: &[ApiKeyList]) -> Vec<HeaderValue> {
    let texts = match reason.bearer_error() {
        Some(error) => {
            let mut text = format!(
                "Bearer error=\"{error}\", error_description=\"{}\"",
                reason.title()
            );
            if reason == Reason::JwtScopeMissing {
                text.push_str(&wanted_scopes(auth));
            }
            vec![text]
        }
        None if reason.status() == StatusCode::UNAUTHORIZED => schemes(auth, lists),
        None => Vec::new(),
    };
    let values = texts.iter().map(|text| HeaderValue::from_str(text));
    values.filter_map(Result::ok).collect()
}

/// The schemes of a route, each once; no error code where no credential was sent (RFC 6750
/// section 3.1).
fn schemes(auth: &Auth, lists: &[ApiKeyList]) -> Vec<String> {
    let mut schemes = Vec::new();
    for policy in auth.policies() {
        let scheme = match &policy.credential {
            Credential::Jwt(_) => "Bearer".to_owned(),
            // No scheme is registered for keys in a header, and a 401 must name one (RFC 9110
            // section 15.5.2).
            Credential::ApiKey(list) => format!("ApiKey header=\"{}\"", lists[*list].header),
            Credential::Network => continue,
        };
        if !schemes.contains(&scheme) {
            schemes.push(scheme);
        }
    }
    schemes
}

/// The attribute that says which scopes would do (RFC 6750 section 3).
fn wanted_scopes(auth: &Auth) -> String {
    let rules = auth.policies().iter();
    let mut scopes = rules.map(|policy| &policy.requirements.scopes.all);
    match scopes.find(|scopes| !scopes.is_empty()) {
        Some(scopes) => format!(", scope=\"{}\"", scopes.join(" ")),
        None => String::new(),
    }
}

fn own(record: Box<Record>, status: StatusCode, headers: HeaderMap, body: Bytes) -> Answer {
    // A body that nobody reads keeps the connection from carrying another request.
    let closes = is_last(&record) || announces_body(&record.parts.headers);
    finish(Answer {
        status,
        head: Head::Own(headers),
        closes,
        body: ResponseBody::own(body, record),
    })
}

/// Whether a client that keeps its connection would find it closed soon (RFC 9112 section 9.6).
fn is_last(record: &Record) -> bool {
    record.worker.lifecycle.is_leaving() || record.connection.is_spent()
}

fn finish(mut answer: Answer) -> Answer {
    if answer.body.record().asked.is_some() {
        answer.note_headers();
    }
    answer
}
