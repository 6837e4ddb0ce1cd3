//! What an explanation says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::{Asked, EndpointStory, endpoints};
use crate::auth::Caller;
use crate::cluster::EndpointSet;
use crate::cluster::balance::Policy;
use crate::cluster::retry::RetryPolicy;
use crate::pipeline::Refusal;
use crate::plan::{Action, Plan, Route, Target, WrittenAt};
use crate::words::time::Millis;

/// Why a request gets its answer.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The request as the gateway reads it.
    pub request: RequestStory,
    /// What becomes of it.
    pub answer: Answer,
    /// The route that wins; none where no route does.
    pub route: Option<RouteStory>,
    /// All routes in the order in which they came near, the winner among them; at most
    /// [`CANDIDATES_MAX`](super::CANDIDATES_MAX).
    pub candidates: Vec<CandidateStory>,
    /// Routes beyond these.
    pub candidates_omitted: usize,
    /// Who may use the route, and how far this request came.
    pub authentication: Option<Authentication>,
    /// The route's bounds.
    pub limits: Option<Limits>,
    /// Where it may go.
    pub upstreams: Vec<UpstreamStory>,
    /// The headers that the upstream gets.
    pub sent_headers: Vec<SentHeader>,
    /// What the explanation rests on without knowing it.
    pub unknown: Vec<String>,
    /// Who sent it; never shown whole.
    #[serde(skip)]
    pub caller: Option<Arc<Caller>>,
}

/// The request as the gateway reads it.
#[derive(Debug, Serialize)]
pub struct RequestStory {
    /// The method.
    pub method: String,
    /// The authority that routes look at.
    pub host: Option<String>,
    /// The path as it was written.
    pub path: String,
    /// Its one spelling; none where it has none.
    pub clean_path: Option<Box<str>>,
    /// Bytes of the body, where they are known.
    pub body_bytes: Option<u64>,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The client that policies look at.
    pub client: IpAddr,
}

/// What becomes of a request.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// Whether it goes on to an upstream, or to the route's own answer.
    pub is_served: bool,
    /// The status of the gateway's own answer, where it gives one.
    pub status: Option<u16>,
    /// The reason code of a refusal.
    pub reason: Option<&'static str>,
    /// The same in words.
    pub title: Option<&'static str>,
    /// What the log would say beside.
    pub detail: Option<String>,
    /// What the client would be told beside.
    pub hint: Option<String>,
    /// The methods that would be served.
    pub allow: Option<String>,
    /// Whether the gateway would read the provider's keys once more and decide again.
    pub asks_for_keys: bool,
}

/// The route that wins.
#[derive(Debug, Serialize)]
pub struct RouteStory {
    /// Its name.
    pub name: Box<str>,
    /// Its place among all routes, from 0.
    pub index: usize,
    /// Where it is written.
    #[serde(flatten)]
    pub written_at: WrittenAt,
    /// `forward`, `respond` or `respond_keys`.
    pub action: &'static str,
    /// What its parameters captured.
    pub params: Vec<(Box<str>, Box<str>)>,
    /// Whether it is shed before others.
    pub priority: &'static str,
}

/// One route among those that there are.
#[derive(Debug, Serialize)]
pub struct CandidateStory {
    /// Its name.
    pub route: Box<str>,
    /// Where it is written.
    #[serde(flatten)]
    pub written_at: WrittenAt,
    /// `wins`; `outranked` where it matches and a narrower one stands before it; or what does not
    /// match: `header`, `query`, `method`, `path`, `host`.
    pub verdict: &'static str,
    /// The header or query parameter.
    pub subject: Option<Box<str>>,
}

/// Who may use a route, and how far a request came.
#[derive(Debug, Serialize)]
pub struct Authentication {
    /// Whether everybody may.
    pub is_open: bool,
    /// The ways to be let in, in the order in which they are tried.
    pub policies: Vec<PolicyStory>,
    /// Who sent it.
    pub subject: Option<Box<str>>,
    /// Who says so.
    pub issuer: Option<Box<str>>,
    /// The scopes, with spaces between.
    pub scopes: Option<Box<str>>,
}

/// One way to be let in.
#[derive(Debug, Serialize)]
pub struct PolicyStory {
    /// `jwt`, `api_key` or `network`.
    pub kind: &'static str,
    /// Providers or list, by name.
    pub by: Vec<Box<str>>,
    /// `admits`, `refuses`; `passed_over` where an earlier policy has refused the same credential
    /// for itself; `not_tried` where an earlier one has let the request in.
    pub verdict: &'static str,
    /// The checks in the order in which they were made.
    pub checks: Vec<CheckStory>,
}

/// One check of a credential.
#[derive(Debug, Serialize)]
pub struct CheckStory {
    /// The provider whose check it is.
    pub provider: Option<Box<str>>,
    /// What is checked.
    pub check: &'static str,
    /// The claim, or the place of the credential.
    pub subject: Option<String>,
    /// Whether it holds.
    pub has_passed: bool,
    /// The reason code where it does not.
    pub reason: Option<&'static str>,
    /// What the log would say beside.
    pub detail: Option<String>,
}

/// A route's bounds.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// From the request's head to the answer's head, all tries together.
    pub timeout_ms: u64,
    /// For one try.
    pub per_try_timeout_ms: Option<u64>,
    /// Bytes of a body.
    pub body_bytes_max: u64,
    /// Whether this body is within it; none where its length is not known.
    pub is_body_within: Option<bool>,
    /// A second try begins after this time without an answer.
    pub hedge_after_ms: Option<u64>,
    /// Whether to try again.
    pub retries: Retries,
}

/// When a failed try is made again.
#[derive(Debug, Serialize)]
pub struct Retries {
    /// Tries in all.
    pub tries_max: u32,
    /// The failures that are tried again.
    pub on: Vec<&'static str>,
    /// The statuses that are.
    pub statuses: Vec<u16>,
    /// The share of requests that may be retries.
    pub budget_percent: u32,
    /// Bytes of a body that are kept to be sent again.
    pub body_bytes_max: usize,
}

/// An upstream that a request may go to.
#[derive(Debug, Serialize)]
pub struct UpstreamStory {
    /// Its name.
    pub name: Box<str>,
    /// Where it is written.
    #[serde(flatten)]
    pub written_at: WrittenAt,
    /// Its weight among the route's upstreams.
    pub weight: u32,
    /// The sum of the weights.
    pub weight_sum: u32,
    /// The attributes of the endpoints that may be chosen; none for all.
    pub subset: Option<BTreeMap<String, String>>,
    /// The balancing policy.
    pub policy: &'static str,
    /// Time allowed to open a connection.
    pub connect_timeout_ms: u64,
    /// Requests that it may hold of this gateway.
    pub requests_max: u32,
    /// Whether so few endpoints are good that health is ignored.
    pub is_panicking: bool,
    /// What a choice would see; none where the endpoints are not known.
    pub endpoints: Option<Vec<EndpointStory>>,
}

/// A header of the request that goes upstream.
#[derive(Debug, Serialize)]
pub struct SentHeader {
    /// Its name.
    pub name: String,
    /// `received`, `gateway` or `identity`.
    pub origin: &'static str,
    /// Its value; none where it is a credential or new for each request.
    pub value: Option<String>,
}

impl RequestStory {
    /// The request as it was asked about, its path not looked at yet.
    #[must_use]
    pub fn of(plan: &Plan, asked: &Asked<'_>) -> Self {
        Self {
            method: asked.method.to_string(),
            host: asked.host.map(Into::into),
            path: asked.path.into(),
            clean_path: None,
            body_bytes: asked.body_bytes,
            peer: asked.peer,
            client: plan.forwarded.client(asked.peer, asked.headers),
        }
    }
}

impl Explanation {
    /// What is refused before any route is looked for.
    #[must_use]
    pub fn refused(request: RequestStory, refusal: &Refusal) -> Self {
        Self::without_route(request, Answer::refused(refusal))
    }

    /// What is answered before any route is looked for.
    #[must_use]
    pub fn answered(request: RequestStory, status: StatusCode) -> Self {
        Self::without_route(request, Answer::own(status))
    }

    fn without_route(request: RequestStory, answer: Answer) -> Self {
        Self {
            request,
            answer,
            route: None,
            candidates: Vec::new(),
            candidates_omitted: 0,
            authentication: None,
            limits: None,
            upstreams: Vec::new(),
            sent_headers: Vec::new(),
            unknown: Vec::new(),
            caller: None,
        }
    }
}

impl Answer {
    pub(super) fn served(route: &Route) -> Self {
        match &route.action {
            Action::Respond(fixed) => Self::own(fixed.status),
            Action::RespondKeys => Self::own(StatusCode::OK),
            Action::Forward(_) => Self {
                status: None,
                ..Self::own(StatusCode::OK)
            },
        }
    }

    fn own(status: StatusCode) -> Self {
        Self {
            is_served: true,
            status: Some(status.as_u16()),
            reason: None,
            title: None,
            detail: None,
            hint: None,
            allow: None,
            asks_for_keys: false,
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        let rejection = &refusal.rejection;
        let allow = refusal.allow.as_ref();
        Self {
            is_served: false,
            status: Some(rejection.reason.status().as_u16()),
            reason: Some(rejection.reason.code()),
            title: Some(rejection.reason.title()),
            detail: rejection.detail.as_deref().map(Into::into),
            hint: rejection.hint.as_deref().map(Into::into),
            allow: allow.and_then(|it| it.to_str().ok()).map(Into::into),
            asks_for_keys: refusal.wanted_key.is_some(),
        }
    }
}

impl Limits {
    pub(super) fn of(route: &Route, body_bytes: Option<u64>) -> Self {
        Self {
            timeout_ms: millis(route.timeout),
            per_try_timeout_ms: route.per_try_timeout.map(millis),
            body_bytes_max: route.body_bytes_max,
            is_body_within: body_bytes.map(|bytes| bytes <= route.body_bytes_max),
            hedge_after_ms: route.hedge.map(|hedge| millis(hedge.after)),
            retries: Retries::of(&route.retries),
        }
    }
}

impl Retries {
    fn of(policy: &RetryPolicy) -> Self {
        let conditions = [
            ("connect_failure", policy.on.connect_failure),
            ("reset", policy.on.reset),
            ("timeout", policy.on.timeout),
            ("invalid_answer", policy.on.invalid_answer),
        ];
        let on = conditions.iter().filter(|(_, is_on)| *is_on);
        Self {
            tries_max: policy.tries_max,
            on: on.map(|(name, _)| *name).collect(),
            statuses: policy.on.statuses.clone(),
            budget_percent: policy.budget_percent,
            body_bytes_max: policy.body_bytes_max,
        }
    }
}

impl UpstreamStory {
    pub(super) fn of(
        plan: &Plan,
        target: Target,
        (weight, weight_sum): (u32, u32),
        set: Option<&Arc<EndpointSet>>,
        now: Millis,
    ) -> Self {
        let cluster = &plan.clusters[target.cluster];
        let subset = target.subset.map(|it| &cluster.balancer.subsets[it.index]);
        Self {
            name: cluster.name.clone(),
            written_at: plan.origins.upstream(target.cluster),
            weight,
            weight_sum,
            subset: subset.map(|subset| subset.attributes.clone()),
            policy: policy(&cluster.balancer.policy),
            connect_timeout_ms: millis(cluster.connect_timeout),
            requests_max: cluster.limits.requests_max,
            is_panicking: set.is_some_and(|set| set.health().is_panicking()),
            endpoints: set.map(|set| endpoints(cluster, set, target.subset, now)),
        }
    }
}

/// The word of the routes file.
pub(super) fn policy(policy: &Policy) -> &'static str {
    match policy {
        Policy::P2cEwma => "p2c_ewma",
        Policy::LeastRequest => "least_request",
        Policy::RoundRobin => "round_robin",
        Policy::ConsistentHash(_) => "consistent_hash",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
