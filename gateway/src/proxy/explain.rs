//! What would become of a request: the rooms of [`super::serve`] one after the other, without
//! sending anything.

use std::net::IpAddr;
use std::sync::Arc;

use gateway_core::auth::credential::Place;
use gateway_core::cluster::EndpointSet;
use gateway_core::explain::{self, Asked, Explanation, RequestStory, SentHeader, Sight};
use gateway_core::pipeline::Refusal;
use gateway_core::plan::{Action, Plan};
use gateway_core::words::rejection::Rejection;
use gateway_core::words::time::{Millis, UnixSeconds};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mesh::headers::{TRACEPARENT, X_REQUEST_ID};
use mesh::trace::TraceContext;

use super::headers::Outgoing;
use super::intake;
use super::live::Live;
use super::propagation;

/// A request as it would come in.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) parts: Parts,
    /// Bytes of its body, where the head says so.
    pub(crate) body_bytes: Option<u64>,
    /// The other end of its connection.
    pub(crate) peer: IpAddr,
}

/// When it would come in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) civil: UnixSeconds,
    pub(crate) millis: Millis,
}

/// What would become of a request.
pub(crate) fn explain(live: &Live, question: &Question, now: Moment) -> Explanation {
    let (parts, plan) = (&question.parts, &live.plan);
    let asked = Asked {
        method: &parts.method,
        host: intake::host(parts),
        path: parts.uri.path(),
        query: parts.uri.query(),
        headers: &parts.headers,
        body_bytes: question.body_bytes,
        peer: question.peer,
    };
    if let Err(reason) = intake::check(parts) {
        let refusal = Refusal::from(Rejection::from(reason));
        return Explanation::refused(RequestStory::of(plan, &asked), &refusal);
    }
    if intake::is_about_server(parts) {
        let story = RequestStory::of(plan, &asked);
        return Explanation::answered(story, StatusCode::NO_CONTENT);
    }
    let endpoints: Vec<Arc<EndpointSet>> = live.endpoints.iter().map(|it| it.load_full()).collect();
    let sight = Sight {
        plan,
        snapshots: live,
        endpoints: &endpoints,
        now: now.civil,
        now_ms: now.millis,
    };
    let mut explanation = explain::explain(&sight, &asked);
    explanation.sent_headers = sent_headers(live, question, &explanation);
    explanation
}

/// The headers of the first try, made by the code that makes them for real.
fn sent_headers(live: &Live, question: &Question, told: &Explanation) -> Vec<SentHeader> {
    let plan = &live.plan;
    let Some(route) = told.route.as_ref().filter(|_| told.answer.is_served) else {
        return Vec::new();
    };
    let route = &plan.routes[route.index];
    let Action::Forward(backends) = &route.action else {
        return Vec::new();
    };
    let caller = told.caller.as_deref();
    let is_trusted = plan.forwarded.is_trusted(question.peer);
    let peer = question.peer.to_canonical().to_string();
    let received = &question.parts.headers;
    // New for each request, and so never shown.
    let unshown = HeaderValue::from_static("-");
    let outgoing = Outgoing {
        plan,
        parts: &question.parts,
        peer: question.peer,
        peer_header: &HeaderValue::try_from(peer).expect("an address is a header value"),
        caller,
        token: None,
        left_millis: route.usual_left_millis(),
        is_trusted,
        request_id: &unshown,
        trace: &propagation::traceparent(received).unwrap_or(TraceContext {
            trace_id: 1,
            parent_id: 1,
            flags: 0,
        }),
        label: "-",
    };
    let secret = Secret::of(plan, told);
    let mut sent = Vec::new();
    outgoing.lines(|name, value| sent.push(sent_header(name, value, received, &secret)));
    if let Some(length) = received.get(CONTENT_LENGTH) {
        sent.push(sent_header(
            &CONTENT_LENGTH,
            length.as_bytes(),
            received,
            &secret,
        ));
    }
    let mut clusters = backends.clusters().map(|index| &plan.clusters[index]);
    if let Some(signer) = &live.signer
        && clusters.any(|cluster| cluster.identity.is_some())
    {
        sent.push(SentHeader {
            name: signer.header().to_string(),
            origin: "gateway",
            value: None,
        });
    }
    sent
}

/// Headers whose values are not shown, and those that say who the caller is.
struct Secret<'a> {
    plan: &'a Plan,
    identity: Vec<&'a HeaderName>,
}

impl<'a> Secret<'a> {
    fn of(plan: &'a Plan, told: &'a Explanation) -> Self {
        let callers = told.caller.iter();
        let identity = callers.flat_map(|caller| caller.headers.iter().map(|(name, _)| name));
        Self {
            plan,
            identity: identity.collect(),
        }
    }

    fn covers(&self, name: &HeaderName) -> bool {
        let places = self.plan.providers.iter().flat_map(|it| &it.places);
        let mut places = places.filter_map(|place| match place {
            Place::Header(name) => Some(name),
            Place::Authorization | Place::Cookie(_) => None,
        });
        let mut lists = self.plan.api_keys.iter();
        let policies = self.plan.routes.iter().flat_map(|it| it.auth.policies());
        let mut payloads = policies.filter_map(|policy| policy.identity.payload.as_ref());
        [
            AUTHORIZATION,
            COOKIE,
            PROXY_AUTHORIZATION,
            X_REQUEST_ID,
            TRACEPARENT,
        ]
        .contains(name)
            || places.any(|place| place == name)
            || lists.any(|list| list.header == *name)
            || payloads.any(|payload| payload == name)
    }
}

fn sent_header(
    name: &HeaderName,
    value: &[u8],
    received: &HeaderMap,
    secret: &Secret<'_>,
) -> SentHeader {
    let is_received = received.get_all(name).iter().any(|it| it == value);
    let origin = match name {
        name if secret.identity.contains(&name) => "identity",
        name if is_received || *name == HOST => "received",
        _ => "gateway",
    };
    let value = String::from_utf8_lossy(value).into_owned();
    SentHeader {
        name: name.to_string(),
        origin,
        value: (!secret.covers(name)).then_some(value),
    }
}
