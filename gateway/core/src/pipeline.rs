//! From a request's head to a decision: one function over a closed set of steps, in one order.
//!
//! Route, then authentication, then what the route says of the body. There is no order for
//! a user to get wrong, and `explain` and the data path cannot disagree, being the same code.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};

use crate::auth::cache::TokenCache;
use crate::auth::witness::{Nobody, Witness};
use crate::auth::{self, Caller, Denied, Known, Snapshots, WantedKey, authenticate};
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
    /// The address at the other end of the connection.
    pub peer: IpAddr,
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
    /// The key that would be needed to tell whether the request can be served.
    pub wanted_key: Option<WantedKey>,
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self {
            rejection,
            route_index: None,
            allow: None,
            wanted_key: None,
        }
    }
}

/// Decides about one request.
///
/// # Errors
/// A [`Refusal`] with the reason that the client, the log and the metrics see.
pub fn decide<'p>(
    plan: &'p Plan,
    head: &Head<'_>,
    snapshots: &impl Snapshots,
    cache: &mut TokenCache,
    now: UnixSeconds,
) -> Result<Decision<'p>, Box<Refusal>> {
    decide_before(plan, head, snapshots, cache, now, &mut Nobody)
}

/// The same, with somebody who looks on while the credential is checked.
///
/// # Errors
/// As [`decide`].
pub fn decide_before<'p>(
    plan: &'p Plan,
    head: &Head<'_>,
    snapshots: &impl Snapshots,
    cache: &mut TokenCache,
    now: UnixSeconds,
    witness: &mut impl Witness,
) -> Result<Decision<'p>, Box<Refusal>> {
    let route_index = find(plan, head)?;
    let route = &plan.routes[route_index];
    let refuse = |denied: Denied| {
        Box::new(Refusal {
            route_index: Some(route_index),
            wanted_key: denied.wanted_key,
            ..Refusal::from(denied.rejection)
        })
    };
    let request = auth::Request {
        headers: head.headers,
        client: || plan.forwarded.client(head.peer, head.headers),
    };
    let known = Known {
        providers: &plan.providers,
        api_keys: &plan.api_keys,
    };
    let caller = authenticate(&route.auth, known, snapshots, &request, cache, now, witness)
        .map_err(refuse)?;
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

/// The path of a request's target in its one spelling.
///
/// # Errors
/// A [`Refusal`] with [`Reason::PathInvalid`].
pub fn clean(path: &str) -> Result<CleanPath<'_>, Box<Refusal>> {
    CleanPath::parse(path).map_err(|error| {
        let mut rejection = Rejection::with_hint(Reason::PathInvalid, error.to_string());
        rejection.detail = Some(error.reason().into());
        Box::new(Refusal::from(rejection))
    })
}

impl<'a> Head<'a> {
    /// What routes look at.
    #[must_use]
    pub fn request(&self) -> Request<'a> {
        Request {
            host: self.host,
            path: self.path,
            method: self.method,
            headers: self.headers,
            query: self.query,
        }
    }
}

/// The index of a request's route: the first step of a decision.
///
/// # Errors
/// A [`Refusal`] with [`Reason::NoRoute`] or [`Reason::MethodNotAllowed`].
pub fn find(plan: &Plan, head: &Head<'_>) -> Result<usize, Box<Refusal>> {
    let (reason, allow) = match plan.table.find(&head.request()) {
        Outcome::Route { index, .. } => return Ok(index.get()),
        Outcome::MethodNotAllowed { allow } => {
            (Reason::MethodNotAllowed, Some(allow.header_value()))
        }
        Outcome::NotFound => (Reason::NoRoute, None),
    };
    Err(Box::new(Refusal {
        allow,
        ..Refusal::from(Rejection::from(reason))
    }))
}

#[cfg(test)]
mod tests;
