//! Routes that get in each other's way.
//!
//! **Conflict**: two routes at one place (host and path) with equal precedence
//! that may match one request. They may, unless their methods differ, or a
//! header or query parameter that both look at excludes it (`equals: a` against
//! `equals: b`). Two regular expressions are never shown to exclude each other,
//! so such routes are refused even if no value matches both. What is proved: in
//! a table without conflicts, no request has two best routes. Routes at
//! different places never tie, because the first segment that differs decides.
//!
//! **Shadowed**: a route all of whose requests go to routes before it. The
//! narrower route stands first, so one route never shadows another; several
//! can. Considered are the places that make up a prefix or a tail (`/a/{rest...}`
//! is `/a/`, `/a/{x}` and `/a/{x}/{rest...}` together), and whether a header or
//! parameter is present. What is proved: a route that is reported can never win.
//! Not every such route is reported.

use hashbrown::HashSet;

use super::condition::{Predicate, Target};
use super::method::{MethodRule, MethodSet};
use super::path_rule::Segment;
use super::table::{Hosts, Rule};
use super::trie::{Entry, Paths};
use super::{NamedMatch, RouteIndex, RouteProblem};

/// Names for which presence and absence are looked at apart.
const MAX_PRESENCE_SPLITS: usize = 4;

static PRESENT: Predicate = Predicate::Present(true);
static ABSENT: Predicate = Predicate::Present(false);

/// All conflicts and shadowed routes of a table.
pub(super) fn check(routes: &[NamedMatch<'_>], rules: &[Rule], hosts: &Hosts) -> Vec<RouteProblem> {
    let conflicts = conflicts(rules, hosts);
    let mut problems: Vec<RouteProblem> = conflicts
        .iter()
        .map(|(one, other)| conflict_problem(routes, *one, *other))
        .collect();
    for (shadowed, by) in shadowed(rules, hosts) {
        let is_known = conflicts.iter().any(|(_, later)| *later == shadowed);
        if !is_known {
            problems.push(shadow_problem(routes, shadowed, &by));
        }
    }
    problems
}

fn problem(routes: &[NamedMatch<'_>], route: RouteIndex, message: String) -> RouteProblem {
    RouteProblem {
        route: route.get(),
        path: routes[route.get()].spec.path_key().to_owned(),
        message,
    }
}

fn conflict_problem(
    routes: &[NamedMatch<'_>],
    earlier: RouteIndex,
    later: RouteIndex,
) -> RouteProblem {
    let names = [earlier, later].map(|route| routes[route.get()].name);
    let message = format!(
        "routes `{}` and `{}` match some of the same requests with equal precedence; give them \
         different methods, or one of them another header or query condition",
        names[0], names[1],
    );
    problem(routes, later, message)
}

fn shadow_problem(
    routes: &[NamedMatch<'_>],
    shadowed: RouteIndex,
    by: &[RouteIndex],
) -> RouteProblem {
    let name = routes[shadowed.get()].name;
    let others: Vec<String> = by
        .iter()
        .map(|route| format!("`{}`", routes[route.get()].name))
        .collect();
    let message = format!(
        "route `{name}` can never win, because all its requests go to {}; remove it, or narrow \
         the others",
        others.join(", "),
    );
    problem(routes, shadowed, message)
}

/// Pairs in the order of the file, each once.
fn conflicts(rules: &[Rule], hosts: &Hosts) -> Vec<(RouteIndex, RouteIndex)> {
    let mut pairs = Vec::new();
    for list in hosts.all().flat_map(Paths::lists) {
        for (index, one) in list.iter().enumerate() {
            let equals = list[index + 1..]
                .iter()
                .take_while(|other| other.rank() == one.rank());
            for other in equals {
                if one.methods.overlaps(other.methods) && !exclude(rules, one, other) {
                    pairs.push((one.route.min(other.route), one.route.max(other.route)));
                }
            }
        }
    }
    pairs.sort_unstable_by_key(|(one, other)| (*other, *one));
    pairs.dedup();
    pairs
}

/// Whether the conditions of two routes cannot hold together.
fn exclude(rules: &[Rule], one: &Entry, other: &Entry) -> bool {
    let others = &rules[other.route.get()].conditions;
    rules[one.route.get()].conditions.iter().any(|condition| {
        others.iter().any(|other| {
            condition.target == other.target && condition.predicate.excludes(&other.predicate)
        })
    })
}

/// Routes of which every entry is covered, with the routes that cover them.
fn shadowed(rules: &[Rule], hosts: &Hosts) -> Vec<(RouteIndex, Vec<RouteIndex>)> {
    let mut covered: Vec<(RouteIndex, Vec<RouteIndex>)> = Vec::new();
    let mut alive: HashSet<RouteIndex, foldhash::fast::FixedState> = HashSet::default();
    for paths in hosts.all() {
        let cover = Cover { rules, paths };
        cover.each_entry(&mut |entry, by| match by {
            Some(by) => covered.push((entry.route, by)),
            None => {
                alive.insert(entry.route);
            }
        });
    }
    covered.retain(|(route, _)| !alive.contains(route));
    covered.sort_by_key(|(route, _)| *route);
    covered.dedup_by(|later, first| {
        let is_same = later.0 == first.0;
        if is_same {
            first.1.append(&mut later.1);
        }
        is_same
    });
    for (_, by) in &mut covered {
        by.sort_unstable();
        by.dedup();
    }
    covered
}

/// What is known of a request that an entry matches.
struct Goal<'t> {
    method: MethodSet,
    facts: Vec<(&'t Target, &'t Predicate)>,
}

struct Cover<'t> {
    rules: &'t [Rule],
    paths: &'t Paths,
}

impl<'t> Cover<'t> {
    /// Each entry of these paths, with the routes that take all its requests.
    fn each_entry(&self, report: &mut impl FnMut(&Entry, Option<Vec<RouteIndex>>)) {
        for list in self.paths.exact.values() {
            self.each_of_list(list, report, |before, goal, by| {
                self.covers(before, goal, by, MAX_PRESENCE_SPLITS)
            });
        }
        self.paths.closed.each_node(&mut |_, node| {
            self.each_of_list(&node.at_end, report, |before, goal, by| {
                self.covers(before, goal, by, MAX_PRESENCE_SPLITS)
            });
        });
        self.paths.open.each_node(&mut |segments, node| {
            self.each_of_list(&node.tail, report, |before, goal, by| {
                self.covers_tail(segments, before, goal, by)
            });
            self.each_of_list(&node.prefix, report, |before, goal, by| {
                // The path that ends here, and those that go on after a slash.
                // No path ends at the root.
                let ends_here =
                    segments.is_empty() || self.covers_closed(segments, before, goal, by);
                let before: Vec<&Entry> = before.iter().copied().chain(&node.tail).collect();
                ends_here && self.covers_tail(segments, &before, goal, by)
            });
        });
    }

    fn each_of_list(
        &self,
        list: &'t [Entry],
        report: &mut impl FnMut(&Entry, Option<Vec<RouteIndex>>),
        covers: impl Fn(&[&'t Entry], &mut Goal<'t>, &mut Vec<RouteIndex>) -> bool,
    ) {
        for (index, entry) in list.iter().enumerate() {
            let before: Vec<&Entry> = list[..index]
                .iter()
                .filter(|other| other.rank() != entry.rank())
                .collect();
            let facts = self.rules[entry.route.get()].conditions.iter();
            let facts = facts.map(|known| (&known.target, &known.predicate));
            let mut goal = Goal {
                method: MethodSet::UNNAMED,
                facts: facts.collect(),
            };
            let mut by = Vec::new();
            let is_covered = methods_of(entry.methods).into_iter().all(|method| {
                goal.method = method;
                covers(&before, &mut goal, &mut by)
            });
            report(entry, is_covered.then_some(by));
        }
    }

    /// Whether the whole path of these segments goes to earlier routes.
    fn covers_closed(
        &self,
        segments: &[Segment],
        before: &[&'t Entry],
        goal: &mut Goal<'t>,
        by: &mut Vec<RouteIndex>,
    ) -> bool {
        let mut before = before.to_vec();
        before.extend(self.paths.closed_at(segments));
        self.covers(&before, goal, by, MAX_PRESENCE_SPLITS)
    }

    /// Whether all paths that go on after a slash go to earlier routes. As deep
    /// as the longest route: `MAX_SEGMENTS`.
    fn covers_tail(
        &self,
        segments: &[Segment],
        before: &[&'t Entry],
        goal: &mut Goal<'t>,
        by: &mut Vec<RouteIndex>,
    ) -> bool {
        if self.covers(before, goal, by, MAX_PRESENCE_SPLITS) {
            return true;
        }
        let with = |last: Segment| [segments, &[last]].concat();
        let one_more = with(Segment::Parameter);
        let Some(deeper) = self.paths.open.node(&one_more) else {
            return false;
        };
        let mut before_deeper = before.to_vec();
        before_deeper.extend(&deeper.tail);
        self.covers_closed(&with(Segment::Literal("".into())), before, goal, by)
            && self.covers_closed(&one_more, before, goal, by)
            && self.covers_tail(&one_more, &before_deeper, goal, by)
    }

    /// Whether these entries together take every request of the goal.
    fn covers(
        &self,
        entries: &[&'t Entry],
        goal: &mut Goal<'t>,
        by: &mut Vec<RouteIndex>,
        splits: usize,
    ) -> bool {
        let takes_all =
            |entry: &&&Entry| entry.methods.accepts(goal.method) && self.is_implied(entry, goal);
        if let Some(entry) = entries.iter().find(takes_all) {
            by.push(entry.route);
            return true;
        }
        let Some(target) = self.open_presence(entries, goal).filter(|_| splits > 0) else {
            return false;
        };
        [&PRESENT, &ABSENT].into_iter().all(|predicate| {
            goal.facts.push((target, predicate));
            let is_covered = self.covers(entries, goal, by, splits - 1);
            goal.facts.pop();
            is_covered
        })
    }

    /// Whether every condition of an entry follows from what is known.
    fn is_implied(&self, entry: &Entry, goal: &Goal<'t>) -> bool {
        let conditions = &self.rules[entry.route.get()].conditions;
        conditions.iter().all(|condition| {
            goal.facts.iter().any(|(target, fact)| {
                **target == condition.target && fact.implies(&condition.predicate)
            })
        })
    }

    /// A name whose presence an entry asks for while nothing is known of it.
    fn open_presence(&self, entries: &[&'t Entry], goal: &Goal<'t>) -> Option<&'t Target> {
        entries
            .iter()
            .flat_map(|entry| &self.rules[entry.route.get()].conditions)
            .filter(|condition| matches!(condition.predicate, Predicate::Present(_)))
            .map(|condition| &condition.target)
            .find(|target| goal.facts.iter().all(|(known, _)| known != target))
    }
}

/// The methods to cover. Any method is as hard to cover as one without a name.
fn methods_of(rule: MethodRule) -> Vec<MethodSet> {
    match rule {
        MethodRule::Named(set) => set.each().collect(),
        MethodRule::HeadOfGet => vec![MethodSet::HEAD],
        MethodRule::Any => vec![MethodSet::UNNAMED],
    }
}
