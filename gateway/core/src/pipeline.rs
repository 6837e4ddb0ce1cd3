//! From a request's head to a decision: one function over a closed set of steps, in one order.
//!
//! Route, then authentication, then what the route says of the body. There is no order for
//! a user to get wrong, and `explain` and the data path cannot disagree, being the same code.

use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use crate::auth::cache::TokenCache;
use crate::auth::keys::KeyRing;
use crate::auth::{Caller, WantedKey, authenticate, wanted_key};
use crate::path::CleanPath;
use crate::plan::{Plan, Route};
use crate::route::{Outcome, Request};
use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;

/// What a decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The authority that the client named.
    pub host: Option<&'a str>,
    /// The path, in its one spelling.
    pub path: &'a CleanPath<'a>,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The headers as received.
    pub headers: &'a HeaderMap,
    /// Bytes of the body, where the head says so.
    pub body_bytes: Option<u64>,
}

/// A request that is served.
#[derive(Debug)]
pub struct Decision<'p> {
    /// Its route.
    pub route: &'p Route,
    /// The route's index in the plan.
    pub route_index: usize,
    /// Who sent it, where the route asks.
    pub caller: Option<Arc<Caller>>,
}

/// A request that is not served.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub rejection: Rejection,
    /// Its route, where one was found.
    pub route_index: Option<usize>,
    /// The methods that would be served, for `Allow`.
    pub allow: Option<HeaderValue>,
    /// The key for want of which it is refused: one more reading of the provider's keys may
    /// bring it.
    pub wanted_key: Option<WantedKey>,
}

/// Decides about one request.
///
/// `ring` gives the snapshot of a provider's keys, by the provider's index.
///
/// # Errors
/// A [`Refusal`] with the reason that the client, the log and the metrics see.
#[expect(
    clippy::result_large_err,
    reason = "a refusal ends its request; the shell boxes it at once"
)]
pub fn decide<'p, R: Deref<Target = Arc<KeyRing>>>(
    plan: &'p Plan,
    head: &Head<'_>,
    ring: impl FnOnce(usize) -> R,
    cache: &mut TokenCache,
    now: UnixSeconds,
) -> Result<Decision<'p>, Refusal> {
    let route_index = find(plan, head)?;
    let route = &plan.routes[route_index];
    let refuse = |rejection| Refusal {
        rejection,
        route_index: Some(route_index),
        allow: None,
        wanted_key: None,
    };
    let caller = authenticate(&route.auth, &plan.providers, ring, head.headers, cache, now)
        .map_err(|rejection| Refusal {
            wanted_key: wanted_key(&route.auth, &rejection, head.headers),
            ..refuse(rejection)
        })?;
    if head
        .body_bytes
        .is_some_and(|bytes| bytes > route.body_bytes_max)
    {
        return Err(refuse(Reason::BodyTooLarge.into()));
    }
    Ok(Decision {
        route,
        route_index,
        caller,
    })
}

#[expect(
    clippy::result_large_err,
    reason = "a refusal ends its request; the shell boxes it at once"
)]
fn find(plan: &Plan, head: &Head<'_>) -> Result<usize, Refusal> {
    let request = Request {
        host: head.host,
        path: head.path,
        method: head.method,
        headers: head.headers,
        query: head.query,
    };
    let (reason, allow) = match plan.table.find(&request) {
        Outcome::Route { index, .. } => return Ok(index.get()),
        Outcome::MethodNotAllowed { allow } => {
            (Reason::MethodNotAllowed, Some(allow.header_value()))
        }
        Outcome::NotFound => (Reason::NoRoute, None),
    };
    Err(Refusal {
        rejection: reason.into(),
        route_index: None,
        allow,
        wanted_key: None,
    })
}

#[cfg(test)]
mod tests;
