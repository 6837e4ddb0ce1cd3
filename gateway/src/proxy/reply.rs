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
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use mesh::headers::X_REQUEST_ID;
use mesh::problem::{self, Problem};

use super::body::ResponseBody;
use super::headers::{announces_body, strip_hop_by_hop};
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
pub(super) fn pass(
    mut record: Box<Record>,
    answer: Box<Reply>,
    silence_max: Duration,
) -> Response<ResponseBody> {
    let Reply {
        status,
        mut headers,
        link,
        held,
    } = *answer;
    record.status = Some(status);
    strip_hop_by_hop(&mut headers);
    finish_headers(&mut headers, &mut record);
    let mut response = Response::new(ResponseBody::upstream(held, link, silence_max, record));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A route's fixed answer.
pub(super) fn fixed(mut record: Box<Record>, fixed: &FixedResponse) -> Response<ResponseBody> {
    record.status = Some(fixed.status);
    let mut headers = HeaderMap::with_capacity(4);
    if !fixed.body.is_empty() {
        headers.insert(CONTENT_TYPE, fixed.content_type.clone());
    }
    own(record, fixed.status, headers, fixed.body.clone())
}

/// The public keys of the gateway's own tokens.
pub(super) fn keys(mut record: Box<Record>) -> Response<ResponseBody> {
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
pub(super) fn nothing(mut record: Box<Record>) -> Response<ResponseBody> {
    let status = StatusCode::NO_CONTENT;
    record.status = Some(status);
    own(record, status, HeaderMap::with_capacity(2), Bytes::new())
}

/// A refusal that the core decided on.
pub(super) fn refuse(mut record: Box<Record>, refusal: Refusal) -> Response<ResponseBody> {
    record.route = refusal.route_index;
    let allow = refusal.allow;
    let mut response = reject(record, refusal.rejection);
    if let Some(allow) = allow {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// Any refusal, as problem+json (RFC 9457).
pub(super) fn reject(mut record: Box<Record>, rejection: Rejection) -> Response<ResponseBody> {
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
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, problem::CONTENT_TYPE);
    // A refusal depends on a credential and on the moment (RFC 9111 section 5.2.2.5).
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if reason.closes_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
    }
    let lists = &record.pinned.live.plan.api_keys;
    for challenge in challenges(reason, route_auth(&record), lists) {
        headers.append(WWW_AUTHENTICATE, challenge);
    }
    record.status = Some(status);
    record.rejection = Some(rejection);
    own(record, status, headers, body)
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

fn own(
    mut record: Box<Record>,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response<ResponseBody> {
    // A body that nobody reads keeps the connection from carrying another request.
    if announces_body(&record.parts.headers) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    finish_headers(&mut headers, &mut record);
    let mut response = Response::new(ResponseBody::own(body, record));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn finish_headers(headers: &mut HeaderMap, record: &mut Record) {
    headers.insert(X_REQUEST_ID, record.request_id.clone());
    // A client that keeps its connection would find it closed soon (RFC 9112 section 9.6).
    if record.worker.lifecycle.is_leaving() || record.connection.is_spent() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if record.asked.is_some() {
        record.note_answer(headers);
    }
}
