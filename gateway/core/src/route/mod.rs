//! Which route a request belongs to.
//!
//! A [`MatchSpec`] is what the routes file says; [`RouteTable::build`] turns all
//! of them into one immutable index, or says everything that is wrong with them;
//! [`RouteTable::find`] answers for one request.
//!
//! **Meaning.** All routes stand in one order, the narrower before the wider,
//! never that of the file, and the first that matches the request wins. The
//! order, level by level (`docs/routing.md` has it for users):
//! 1. host: exact, then the longer wildcard, then any;
//! 2. path: exact, then whole patterns, then open ends (prefixes and tails).
//!    Among patterns, and among open ends, the first segment that differs
//!    decides: literal, parameter, `{rest...}`, end of the prefix;
//! 3. method: named, then `HEAD` by way of `GET`, then any;
//! 4. more headers, then more query parameters.
//!
//! **Unambiguous.** A table in which two routes of equal precedence may match
//! one request is refused, so the order of the file never decides. May match
//! means: not shown to exclude each other. See `overlap`, also for shadowing.
//!
//! **Cost.** A host is one hash look-up for itself and one for each of its
//! suffixes; a path is one look-up for each segment, times the arrangements of
//! parameters that the table allows ([`MAX_ARRANGEMENTS`]); then come the routes
//! that share the place ([`MAX_ROUTES_PER_PATH`]). None of it grows with the
//! number of routes.

mod compile;
mod condition;
mod host;
mod method;
mod overlap;
mod params;
mod path_rule;
mod spec;
mod table;
mod trie;

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;

use http::{HeaderMap, Method};

pub use condition::MAX_CONDITIONS;
pub use host::MAX_HOST_BYTES;
pub use method::{Allow, MAX_EXTENSION_METHODS};
pub use params::{MAX_PARAMS, Params};
pub use path_rule::MAX_SEGMENTS;
pub use spec::{HeaderMatchSpec, MatchSpec, QueryMatchSpec, SpecProblem};
pub use table::{MAX_ARRANGEMENTS, MAX_ROUTES, MAX_ROUTES_PER_PATH, RouteTable};

use crate::path::CleanPath;

/// The place of a route in the list that the table was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteIndex(u32);

impl RouteIndex {
    /// The index into that list.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// One route to build a table from.
#[derive(Clone, Copy, Debug)]
pub struct NamedMatch<'a> {
    /// The route's name, for problems that concern several routes.
    pub name: &'a str,
    /// Its `match`.
    pub spec: &'a MatchSpec,
}

/// What is wrong with one route of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteProblem {
    /// The route's place in the list.
    pub route: usize,
    /// Where in its `match`: `headers[1].matches`; empty for the whole.
    pub path: String,
    /// What is wrong, with the other routes that it concerns, and the remedy.
    pub message: String,
}

/// The parts of a request that routes look at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The authority or `Host` header as received; port, case and a trailing
    /// dot do not count.
    pub host: Option<&'a str>,
    /// The path.
    pub path: &'a CleanPath<'a>,
    /// The method.
    pub method: &'a Method,
    /// The headers as received.
    pub headers: &'a HeaderMap,
    /// The query without its `?`.
    pub query: Option<&'a str>,
}

/// What [`RouteTable::find`] found.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The route that wins.
    Route {
        /// Which one.
        index: RouteIndex,
        /// What its parameters captured.
        params: Params<'a>,
    },
    /// Some routes match all but the method (405).
    MethodNotAllowed {
        /// The methods of all those routes.
        allow: Allow<'a>,
    },
    /// No route matches (404).
    NotFound,
}

/// A route, and what became of it for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Which route.
    pub route: RouteIndex,
    /// What became of it.
    pub verdict: Verdict<'a>,
}

/// What became of a [`Candidate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It has the request.
    Wins,
    /// It matches, but the winner stands before it.
    Outranked,
    /// Its condition on this header does not hold.
    Header(&'a str),
    /// Its condition on this query parameter does not hold.
    Query(&'a str),
    /// It does not take the method.
    Method,
    /// Its path is another one.
    Path,
    /// Its host is another one.
    Host,
}
