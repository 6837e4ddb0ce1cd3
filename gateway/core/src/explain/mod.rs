//! Why a request gets the answer that it gets, as data.
//!
//! Nothing is decided here. The route comes from the table, the caller from the same checks that
//! the request path makes, with somebody who writes them down (`trial.rs`), and the scores from the
//! balancer: an explanation that disagreed with the gateway would be worse than none.
//!
//! No credential is ever part of an explanation.

mod places;
mod story;
#[cfg(test)]
mod tests;
mod trial;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

pub use places::{EndpointStory, endpoints};
pub use story::{
    Answer, Authentication, CandidateStory, CheckStory, Explanation, Limits, PolicyStory,
    RequestStory, Retries, RouteStory, SentHeader, UpstreamStory,
};

use crate::auth::cache::TokenCache;
use crate::auth::{Auth, Caller, Snapshots};
use crate::cluster::EndpointSet;
use crate::pipeline::{Decision, Head, Refusal, clean, decide_before};
use crate::plan::{Action, Plan, Route};
use crate::route::{Candidate, Outcome, RouteTable, Verdict};
use crate::words::time::{Millis, UnixSeconds};
use trial::Trial;

/// Routes that an explanation names beside the winner; the rest is a number.
pub const CANDIDATES_MAX: usize = 50;
/// Endpoints of one upstream that an explanation names.
pub const ENDPOINTS_MAX: usize = 100;

/// A request that somebody asks about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The authority that the client names.
    pub host: Option<&'a str>,
    /// The path as the client writes it.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Bytes of the body.
    pub body_bytes: Option<u64>,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
}

/// What the gateway knows at the moment for which it is asked.
#[derive(Debug)]
pub struct Sight<'a, S> {
    /// The plan in force.
    pub plan: &'a Plan,
    /// Keys.
    pub snapshots: &'a S,
    /// The endpoints of each upstream, by its index; fewer where they are not known.
    pub endpoints: &'a [Arc<EndpointSet>],
    /// The civil time, for tokens.
    pub now: UnixSeconds,
    /// The time on the gateway's own clock, for endpoints.
    pub now_ms: Millis,
}

/// Explains what becomes of a request.
///
/// Costs what a decision costs without a token cache, and a visit of every route.
#[must_use]
pub fn explain<S: Snapshots>(sight: &Sight<'_, S>, asked: &Asked<'_>) -> Explanation {
    let mut request = RequestStory::of(sight.plan, asked);
    let path = match clean(asked.path) {
        Ok(path) => path,
        Err(refusal) => return Explanation::refused(request, &refusal),
    };
    request.clean_path = Some(path.as_str().into());
    let head = Head {
        method: asked.method,
        host: asked.host,
        path: &path,
        query: asked.query,
        headers: asked.headers,
        body_bytes: asked.body_bytes,
        peer: asked.peer,
    };
    let mut trial = Trial::default();
    // Nothing is remembered, so that every check is made, and nothing that is asked in vain
    // displaces what workers know.
    let mut cache = TokenCache::new(0, 0);
    let decided = decide_before(
        sight.plan,
        &head,
        sight.snapshots,
        &mut cache,
        sight.now,
        &mut trial,
    );
    let route_index = match &decided {
        Ok(decision) => Some(decision.route_index),
        Err(refusal) => refusal.route_index,
    };
    let route = route_index.map(|index| &sight.plan.routes[index]);
    let (candidates, candidates_omitted) = candidates(sight.plan, &head);
    let caller = decided.as_ref().ok().and_then(|it| it.caller.clone());
    Explanation {
        request,
        answer: answer(&decided),
        route: route_index.map(|index| RouteStory::of(index, sight.plan, &head)),
        candidates,
        candidates_omitted,
        authentication: route.map(|route| trial.into_story(sight.plan, route, caller.as_deref())),
        limits: route.map(|route| Limits::of(route, asked.body_bytes)),
        upstreams: route
            .map(|route| upstreams(sight, route))
            .unwrap_or_default(),
        sent_headers: Vec::new(),
        unknown: Vec::new(),
        caller,
    }
}

fn answer(decided: &Result<Decision<'_>, Box<Refusal>>) -> Answer {
    match decided {
        Ok(decision) => Answer::served(decision.route),
        Err(refusal) => Answer::refused(refusal),
    }
}

/// The routes in the order of precedence, the nearest losers first.
fn candidates(plan: &Plan, head: &Head<'_>) -> (Vec<CandidateStory>, usize) {
    let request = head.request();
    let near = plan.table.candidates(&request);
    let far = plan.table.others(&request);
    let count = near.len() + far.len();
    let all = near.iter().chain(&far).take(CANDIDATES_MAX);
    let stories: Vec<_> = all.map(|it| CandidateStory::of(plan, it)).collect();
    let omitted = count - stories.len();
    (stories, omitted)
}

impl CandidateStory {
    fn of(plan: &Plan, candidate: &Candidate<'_>) -> Self {
        let (verdict, subject) = match candidate.verdict {
            Verdict::Wins => ("wins", None),
            Verdict::Outranked => ("outranked", None),
            Verdict::Header(name) => ("header", Some(name)),
            Verdict::Query(name) => ("query", Some(name)),
            Verdict::Method => ("method", None),
            Verdict::Path => ("path", None),
            Verdict::Host => ("host", None),
        };
        let index = candidate.route.get();
        Self {
            route: plan.routes[index].name.clone(),
            written_at: plan.origins.route(index),
            verdict,
            subject: subject.map(Into::into),
        }
    }
}

impl RouteStory {
    fn of(index: usize, plan: &Plan, head: &Head<'_>) -> Self {
        let route = &plan.routes[index];
        Self {
            name: route.name.clone(),
            index,
            written_at: plan.origins.route(index),
            action: match route.action {
                Action::Forward(_) => "forward",
                Action::Respond(_) => "respond",
                Action::RespondKeys => "respond_keys",
            },
            params: params(&plan.table, head),
            priority: route.priority.as_str(),
        }
    }
}

fn params(table: &RouteTable, head: &Head<'_>) -> Vec<(Box<str>, Box<str>)> {
    match table.find(&head.request()) {
        Outcome::Route { params, .. } => params
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        Outcome::MethodNotAllowed { .. } | Outcome::NotFound => Vec::new(),
    }
}

fn upstreams<S>(sight: &Sight<'_, S>, route: &Route) -> Vec<UpstreamStory> {
    let Action::Forward(backends) = &route.action else {
        return Vec::new();
    };
    let sum: u32 = backends.weighted().map(|(_, weight)| weight).sum();
    let stories = backends.weighted().map(|(target, weight)| {
        let set = sight.endpoints.get(target.cluster);
        UpstreamStory::of(sight.plan, target, (weight, sum), set, sight.now_ms)
    });
    stories.collect()
}

/// Whether a route lets everybody in.
fn is_open(route: &Route) -> bool {
    matches!(route.auth, Auth::Open)
}
