//! Which logged requests notice that a configuration is another one.
//!
//! Both plans are asked for the route by the request path's own functions. A log line has no
//! headers, no query and no credential: whether a caller would be let in is not known, only what
//! would be asked of him; and where a condition on a header or the query decides, that is counted.

use std::collections::BTreeMap;

use http::{HeaderMap, Method};
use serde::Serialize;

use super::meaning::{backends_text, credential_text, route_options};
use crate::auth::Auth;
use crate::pipeline::{Head, clean, find};
use crate::plan::{Action, Plan, Route};
use crate::route::Verdict;
use crate::words::units::{ByteSize, HumanDuration};

/// Pairs of routes that are told apart; requests of others are only counted.
pub const GROUPS_MAX: usize = 1_000;
/// Characters of a sample that are kept.
const SAMPLE_CHARS_MAX: usize = 200;

/// What a log says of a request.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'l> {
    /// Its method.
    pub method: &'l Method,
    /// The authority that the client named.
    pub host: Option<&'l str>,
    /// Its path as the client wrote it.
    pub path: &'l str,
}

/// Decides logged requests by two plans.
#[derive(Debug)]
pub struct Replay<'p> {
    before: &'p Plan,
    after: &'p Plan,
    groups: BTreeMap<Pair, Group>,
    counts: Counts,
}

/// What becomes of a request in each plan.
type Pair = (Outcome, Outcome);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The route's index.
    Route(usize),
    /// The reason's code.
    Refused(&'static str),
}

/// How many requests were decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// Those for which something changes.
    pub changed: u64,
    /// Those that a header or the query, which the log does not have, may send elsewhere.
    pub uncertain: u64,
    /// Of those that change, the ones that belong to no group because there are too many.
    pub ungrouped: u64,
}

/// Requests for which the same changes.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// What changes; nothing for those that stay as they are.
    pub changes: Vec<Aspect>,
    /// The first of them: method, host and path.
    pub sample: String,
}

/// One thing that changes for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aspect {
    /// `route`, `auth`, `upstream`, `timeout`, `retries`, `hedge`, `priority` or
    /// `max_request_body`.
    pub what: &'static str,
    /// What it was, where a few words can say it.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

impl<'p> Replay<'p> {
    /// No request so far.
    #[must_use]
    pub fn new(before: &'p Plan, after: &'p Plan) -> Self {
        Self {
            before,
            after,
            groups: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    /// Decides one request by both plans.
    pub fn add(&mut self, logged: &Logged<'_>) {
        let (old, is_old_certain) = outcome(self.before, logged);
        let (new, is_new_certain) = outcome(self.after, logged);
        self.counts.requests += 1;
        self.counts.uncertain += u64::from(!(is_old_certain && is_new_certain));
        let is_full = self.groups.len() == GROUPS_MAX;
        let pair = (old, new);
        if let Some(group) = self.groups.get_mut(&pair) {
            group.count += 1;
            self.counts.changed += u64::from(!group.changes.is_empty());
            return;
        }
        let changes = self.changes(pair);
        let is_changed = u64::from(!changes.is_empty());
        self.counts.changed += is_changed;
        if is_full {
            self.counts.ungrouped += is_changed;
            return;
        }
        let group = Group {
            count: 1,
            changes,
            sample: sample(logged),
        };
        self.groups.insert(pair, group);
    }

    /// The groups for which something changes, the largest first, and how many requests there
    /// were in all.
    #[must_use]
    pub fn into_groups(self) -> (Vec<Group>, Counts) {
        let groups = self.groups.into_values();
        let mut groups: Vec<_> = groups.filter(|it| !it.changes.is_empty()).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        (groups, self.counts)
    }

    fn changes(&self, (old, new): Pair) -> Vec<Aspect> {
        let mut changes = Vec::new();
        let names = (old.words(self.before), new.words(self.after));
        if names.0 != names.1 {
            changes.push(Aspect::of("route", Some(names.0), Some(names.1)));
        }
        let (Outcome::Route(old), Outcome::Route(new)) = (old, new) else {
            return changes;
        };
        let (old, new) = (&self.before.routes[old], &self.after.routes[new]);
        let before = route_options(self.before, old);
        let after = route_options(self.after, new);
        let is_other = |option: &str| before.get(option) != after.get(option);
        if is_other("auth") {
            let (old, new) = (auth_words(self.before, old), auth_words(self.after, new));
            changes.push(Aspect::of("auth", Some(old), Some(new)));
        }
        if ["backends", "sticky", "respond"].into_iter().any(is_other) {
            let (old, new) = (
                action_words(self.before, old),
                action_words(self.after, new),
            );
            changes.push(Aspect::of("upstream", Some(old), Some(new)));
        }
        for option in LIMITS.iter().copied().filter(|it| is_other(it)) {
            let (old, new) = (limit_words(option, old), limit_words(option, new));
            changes.push(Aspect::of(option, old, new));
        }
        changes
    }
}

/// The options that say how much a request may use.
const LIMITS: &[&str] = &[
    "timeout",
    "retries",
    "hedge",
    "priority",
    "max_request_body",
];

impl Aspect {
    fn of(what: &'static str, before: Option<String>, after: Option<String>) -> Self {
        Self {
            what,
            before,
            after,
        }
    }
}

impl Outcome {
    fn words(self, plan: &Plan) -> String {
        match self {
            Self::Route(index) => plan.routes[index].name.to_string(),
            Self::Refused(code) => format!("({code})"),
        }
    }
}

/// The route of a request, and whether nothing that the log does not have could change it.
fn outcome(plan: &Plan, logged: &Logged<'_>) -> (Outcome, bool) {
    let path = match clean(logged.path) {
        Ok(path) => path,
        Err(refusal) => return (Outcome::Refused(refusal.rejection.reason.code()), true),
    };
    let headers = HeaderMap::new();
    let head = Head {
        method: logged.method,
        host: logged.host,
        path: &path,
        query: None,
        headers: &headers,
        body_bytes: None,
        peer: std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
    };
    let found = match find(plan, &head) {
        Ok(index) => Outcome::Route(index),
        Err(refusal) => Outcome::Refused(refusal.rejection.reason.code()),
    };
    let candidates = plan.table.candidates(&head.request());
    let before_winner = candidates
        .iter()
        .take_while(|it| it.verdict != Verdict::Wins);
    let is_conditional = |verdict| matches!(verdict, Verdict::Header(_) | Verdict::Query(_));
    let mut verdicts = before_winner.map(|it| it.verdict);
    (found, !verdicts.any(is_conditional))
}

fn sample(logged: &Logged<'_>) -> String {
    let Logged { method, host, path } = logged;
    let whole = format!("{method} {}{path}", host.unwrap_or_default());
    whole.chars().take(SAMPLE_CHARS_MAX).collect()
}

fn auth_words(plan: &Plan, route: &Route) -> String {
    if let Auth::Open = route.auth {
        return "none".to_owned();
    }
    let policies = route.auth.policies().iter();
    let ways: Vec<_> = policies
        .map(|policy| {
            let mut words = credential_text(plan, &policy.credential);
            let requirements = &policy.requirements;
            let claims = requirements.claims.keys().map(String::as_str);
            let claims: Vec<_> = claims.collect();
            if !claims.is_empty() {
                words = format!("{words} with claims {}", claims.join(", "));
            }
            if requirements.scopes != crate::auth::claims::ScopeRule::default() {
                words = format!("{words} with scopes");
            }
            if !policy.networks.is_empty() {
                words = format!("{words} from {} networks", policy.networks.len());
            }
            words
        })
        .collect();
    ways.join(" or ")
}

fn action_words(plan: &Plan, route: &Route) -> String {
    match &route.action {
        Action::Forward(backends) => backends_text(plan, backends),
        Action::Respond(fixed) => format!("(answers {})", fixed.status.as_u16()),
        Action::RespondKeys => "(answers with keys)".to_owned(),
    }
}

fn limit_words(option: &str, route: &Route) -> Option<String> {
    match option {
        "timeout" => Some(HumanDuration(route.timeout).to_string()),
        "max_request_body" => Some(ByteSize(route.body_bytes_max).to_string()),
        "priority" => Some(route.priority.as_str().to_owned()),
        "retries" => Some(format!("{} tries", route.retries.tries_max)),
        "hedge" => route.hedge.map(|it| HumanDuration(it.after).to_string()),
        _ => None,
    }
}
