//! The compiled table: built once, immutable, asked for every request.

use std::ops::ControlFlow;

use super::compile::{CompiledMatch, compile};
use super::condition::{Condition, Target};
use super::host::{self, HostRule, MAX_HOST_BYTES};
use super::method::{Allow, MethodNames, MethodRule, MethodSet};
use super::params::{Captures, Params};
use super::trie::{Entry, Map, Paths};
use super::{Candidate, NamedMatch, Outcome, Request, RouteIndex, RouteProblem, Verdict, overlap};

/// Routes that one table can have.
pub const MAX_ROUTES: usize = 100_000;

/// Routes that can share one host and path, told apart by method, headers and
/// query: these are tried one after the other.
pub const MAX_ROUTES_PER_PATH: usize = 256;

/// Different arrangements of parameters among the patterns of one host: a search
/// visits at most one place for each, beside one for each literal segment.
pub const MAX_ARRANGEMENTS: usize = 256;

/// All routes, indexed by host and path.
#[derive(Debug)]
pub struct RouteTable {
    rules: Vec<Rule>,
    hosts: Hosts,
    methods: MethodNames,
}

/// What is left to check of a route once host, path and method match.
#[derive(Debug, Default)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    params: Vec<Box<str>>,
}

impl Rule {
    fn failed_condition(&self, request: &Request<'_>) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| !condition.holds(request.headers, request.query))
    }
}

/// The paths of every host that routes name, and of any host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: Map<Paths>,
    /// By what follows the `*.`.
    wildcard: Map<Paths>,
    longest_wildcard: usize,
    any: Paths,
}

impl Hosts {
    fn insert(&mut self, host: &HostRule) -> &mut Paths {
        match host {
            HostRule::Any => &mut self.any,
            HostRule::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostRule::Wildcard(suffix) => {
                self.longest_wildcard = self.longest_wildcard.max(suffix.len());
                self.wildcard.entry(suffix.clone()).or_default()
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Paths> {
        let named = self.exact.values().chain(self.wildcard.values());
        named.chain([&self.any])
    }

    /// Visits the paths of each host that matches, in order of precedence.
    fn walk<'a, B>(
        &'a self,
        host: Option<&str>,
        mut visit: impl FnMut(&'a Paths) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let has_names = !self.exact.is_empty() || !self.wildcard.is_empty();
        if let Some(raw) = host.filter(|_| has_names)
            && let Some(host) = host::comparable(raw, &mut [0; MAX_HOST_BYTES])
        {
            if let Some(paths) = self.exact.get(host) {
                visit(paths)?;
            }
            for suffix in self.wildcard_suffixes(host) {
                if let Some(paths) = self.wildcard.get(suffix) {
                    visit(paths)?;
                }
            }
        }
        visit(&self.any)
    }

    /// What follows each dot that has something before it, longest first; no
    /// longer than any wildcard.
    fn wildcard_suffixes<'h>(&self, host: &'h str) -> impl Iterator<Item = &'h str> {
        // The dot itself is not a part of the suffix, hence one byte more; and
        // the first byte cannot be the dot that ends a label.
        let from = host.len().saturating_sub(self.longest_wildcard + 1);
        memchr::memchr_iter(b'.', &host.as_bytes()[from..])
            .map(move |dot| from + dot)
            .filter(|dot| *dot > 0)
            .map(|dot| &host[dot + 1..])
    }
}

impl RouteTable {
    /// Compiles all routes into one table.
    ///
    /// # Errors
    /// All problems: of each route by itself, then of routes with each other
    /// (conflicts, shadowed routes, bounds) among those without one of their own.
    pub fn build(routes: &[NamedMatch<'_>]) -> Result<Self, Vec<RouteProblem>> {
        if routes.len() > MAX_ROUTES {
            return Err(vec![too_many_routes(routes.len())]);
        }
        let mut table = Self {
            rules: Vec::with_capacity(routes.len()),
            hosts: Hosts::default(),
            methods: MethodNames::default(),
        };
        let mut problems = Vec::new();
        for (index, route) in (0..).zip(routes) {
            let rule = match compile(route.spec, &mut table.methods) {
                Ok(compiled) => table.hosts.index(RouteIndex(index), compiled),
                Err(found) => {
                    problems.extend(found.into_iter().map(|problem| RouteProblem {
                        route: index as usize,
                        path: problem.path,
                        message: problem.message,
                    }));
                    Rule::default()
                }
            };
            table.rules.push(rule);
        }
        let bounds = check_bounds(routes, &table.hosts);
        if bounds.is_empty() {
            problems.extend(overlap::check(routes, &table.rules, &table.hosts));
        }
        problems.extend(bounds);
        if problems.is_empty() {
            Ok(table)
        } else {
            problems.sort_by_key(|problem| problem.route);
            Err(problems)
        }
    }

    /// The route of a request.
    ///
    /// Does not allocate, except where a regular expression is applied to an
    /// escaped query value, or needs its cache for the first time on a thread.
    #[must_use]
    pub fn find<'a>(&'a self, request: &Request<'a>) -> Outcome<'a> {
        let method = self.methods.set_of(request.method);
        let found = self.walk(request, &mut |entry, captures| {
            let rule = self.rule(entry);
            if entry.methods.accepts(method) && rule.failed_condition(request).is_none() {
                return ControlFlow::Break(Outcome::Route {
                    index: entry.route,
                    params: Params::new(&rule.params, *captures),
                });
            }
            ControlFlow::Continue(())
        });
        match found {
            ControlFlow::Break(outcome) => outcome,
            ControlFlow::Continue(()) => self.without_route(request),
        }
    }

    /// A second search, for requests that no route takes: is it the method?
    fn without_route<'a>(&'a self, request: &Request<'a>) -> Outcome<'a> {
        let mut set = MethodSet::default();
        let _: ControlFlow<()> = self.walk(request, &mut |entry, _| {
            let rule = self.rule(entry);
            if rule.failed_condition(request).is_none() {
                match entry.methods {
                    MethodRule::Named(named) => set.insert(named),
                    MethodRule::HeadOfGet => set.insert(MethodSet::HEAD),
                    // Would have been found.
                    MethodRule::Any => {}
                }
            }
            ControlFlow::Continue(())
        });
        if set == MethodSet::default() {
            return Outcome::NotFound;
        }
        Outcome::MethodNotAllowed {
            allow: Allow {
                set,
                names: &self.methods,
            },
        }
    }

    /// Every route whose host and path match, in order of precedence, and what
    /// became of it. For explanations: it allocates.
    #[must_use]
    pub fn candidates<'a>(&'a self, request: &Request<'a>) -> Vec<Candidate<'a>> {
        let method = self.methods.set_of(request.method);
        let mut candidates: Vec<Candidate<'a>> = Vec::new();
        let mut has_winner = false;
        let _: ControlFlow<()> = self.walk(request, &mut |entry, _| {
            let verdict = match self.rule(entry).failed_condition(request) {
                _ if !entry.methods.accepts(method) => Verdict::Method,
                Some(condition) => match &condition.target {
                    Target::Header(name) => Verdict::Header(name.as_str()),
                    Target::Query(name) => Verdict::Query(name),
                },
                None if has_winner => Verdict::Outranked,
                None => Verdict::Wins,
            };
            has_winner |= verdict == Verdict::Wins;
            push_candidate(&mut candidates, entry.route, verdict);
            ControlFlow::Continue(())
        });
        candidates
    }

    /// The routes that are no candidates: first those whose host matches, then the others, each in
    /// the order of the file. For explanations: it visits every route and allocates.
    #[must_use]
    pub fn others(&self, request: &Request<'_>) -> Vec<Candidate<'_>> {
        let mut verdicts = vec![Some(Verdict::Host); self.rules.len()];
        let _: ControlFlow<()> = self.hosts.walk(request.host, |paths| {
            for entry in paths.lists().flatten() {
                verdicts[entry.route.get()] = Some(Verdict::Path);
            }
            ControlFlow::Continue(())
        });
        let _: ControlFlow<()> = self.walk(request, &mut |entry, _| {
            verdicts[entry.route.get()] = None;
            ControlFlow::Continue(())
        });
        let others = (0..).map(RouteIndex).zip(verdicts);
        let others = others.filter_map(|(route, verdict)| {
            let verdict = verdict?;
            Some(Candidate { route, verdict })
        });
        let mut others: Vec<_> = others.collect();
        others.sort_by_key(|candidate| candidate.verdict == Verdict::Host);
        others
    }

    fn walk<'a, B>(
        &'a self,
        request: &Request<'a>,
        visit: &mut impl FnMut(&'a Entry, &Captures<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let path = request.path.matching();
        self.hosts
            .walk(request.host, |paths| paths.walk(path, visit))
    }

    fn rule(&self, entry: &Entry) -> &Rule {
        &self.rules[entry.route.get()]
    }
}

impl Hosts {
    fn index(&mut self, route: RouteIndex, compiled: CompiledMatch) -> Rule {
        let is_header = |condition: &&Condition| matches!(condition.target, Target::Header(_));
        let header_count = compiled.conditions.iter().filter(is_header).count();
        for host in &compiled.hosts {
            for methods in &compiled.methods {
                let entry = Entry {
                    route,
                    methods: *methods,
                    header_count,
                    query_count: compiled.conditions.len() - header_count,
                };
                self.insert(host).insert(&compiled.path, entry);
            }
        }
        Rule {
            conditions: compiled.conditions,
            params: compiled.path.params,
        }
    }
}

/// A route has one entry for each method rule, and one for each of its hosts
/// that matches; of these the one that got furthest tells.
fn push_candidate<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    route: RouteIndex,
    verdict: Verdict<'a>,
) {
    let known = candidates.iter().position(|known| known.route == route);
    match known {
        Some(_) if verdict == Verdict::Method => return,
        Some(index) if candidates[index].verdict == Verdict::Method => {
            candidates.remove(index);
        }
        Some(_) => return,
        None => {}
    }
    candidates.push(Candidate { route, verdict });
}

fn too_many_routes(count: usize) -> RouteProblem {
    RouteProblem {
        route: MAX_ROUTES,
        path: String::new(),
        message: format!("{count} routes; at most {MAX_ROUTES} are allowed"),
    }
}

fn check_bounds(routes: &[NamedMatch<'_>], hosts: &Hosts) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    let mut add = |entry: Option<&Entry>, message: String| {
        let route = entry.map_or(0, |entry| entry.route.get());
        problems.push(RouteProblem {
            route,
            path: routes[route].spec.path_key().to_owned(),
            message,
        });
    };
    for paths in hosts.all() {
        for list in paths.lists() {
            if list.len() > MAX_ROUTES_PER_PATH {
                let count = list.len();
                add(
                    list.iter().max_by_key(|entry| entry.route),
                    format!(
                        "{count} routes share this host and path; at most \
                         {MAX_ROUTES_PER_PATH} are allowed"
                    ),
                );
            }
        }
        for trie in [&paths.closed, &paths.open] {
            let arrangements = trie.arrangements();
            if arrangements > MAX_ARRANGEMENTS {
                add(
                    trie.lists().flatten().max_by_key(|entry| entry.route),
                    format!(
                        "the patterns of this host have parameters in {arrangements} different \
                         arrangements; at most {MAX_ARRANGEMENTS} are allowed, as each costs \
                         time in every match"
                    ),
                );
            }
        }
    }
    problems
}
