//! Counters by name. They outlive plans, so that no counter goes back when the routes file changes.
//!
//! What a plan does not name any more is kept, so that a route that comes back goes on where it
//! ended, and requests that began before the change are counted; but only so much of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_core::plan::{Action, Plan, Route};

use super::cells::{Cells, RouteCells, RouteCounts, StatusCounts, UpstreamCells};

/// Routes, pairs of route and upstream, and upstreams, each, that no plan names any more and that
/// are shown all the same. Those that were named longest ago go first.
const GONE_MAX: usize = 500;
/// What metrics call the route of requests that matched none, and the upstream of answers of the
/// gateway's own.
pub(crate) const NONE: &str = "none";

/// The counters of all workers. A snapshot: each plan has its own, and both have the counters of
/// what they have in common.
#[derive(Debug)]
pub(crate) struct Ledger {
    workers: usize,
    /// Grows with each plan.
    generation: u64,
    routes: Kept<Box<str>, RouteCounts>,
    answers: Kept<(Box<str>, Box<str>), StatusCounts>,
    upstreams: Kept<Box<str>, UpstreamCells>,
}

/// Counters by what they are called.
type Kept<K, T> = BTreeMap<K, Entry<T>>;

#[derive(Debug)]
struct Entry<T> {
    /// The last generation whose plan named it.
    named_at: u64,
    by_worker: Arc<[Arc<T>]>,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            named_at: self.named_at,
            by_worker: Arc::clone(&self.by_worker),
        }
    }
}

impl Ledger {
    /// Nothing is counted yet.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            generation: 0,
            routes: Kept::new(),
            answers: Kept::new(),
            upstreams: Kept::new(),
        }
    }

    /// The ledger of the next plan, and each worker's counters by the plan's indices.
    pub(crate) fn succeed(&self, plan: &Plan) -> (Self, Vec<Arc<Cells>>) {
        let mut next = Self {
            workers: self.workers,
            generation: self.generation + 1,
            routes: self.routes.clone(),
            answers: self.answers.clone(),
            upstreams: self.upstreams.clone(),
        };
        let cells = (0..self.workers).map(|worker| Arc::new(next.cells(plan, worker)));
        let cells = cells.collect();
        let generation = next.generation;
        forget(&mut next.routes, generation);
        forget(&mut next.answers, generation);
        forget(&mut next.upstreams, generation);
        (next, cells)
    }

    fn cells(&mut self, plan: &Plan, worker: usize) -> Cells {
        let routes = plan.routes.iter().map(Some).chain([None]);
        let routes = routes
            .map(|route| self.route(plan, route, worker))
            .collect();
        let (generation, workers) = (self.generation, self.workers);
        let upstreams = plan.clusters.iter().map(|cluster| {
            let share = cluster.limits.share(workers);
            let name = cluster.name.clone();
            let make = || UpstreamCells::within(share);
            let cells = name_in(&mut self.upstreams, name, generation, workers, make);
            cells[worker].usage.resize(share, cluster.priorities);
            Arc::clone(&cells[worker])
        });
        Cells {
            upstreams: upstreams.collect(),
            routes,
        }
    }

    fn route(&mut self, plan: &Plan, route: Option<&Route>, worker: usize) -> RouteCells {
        let (generation, workers) = (self.generation, self.workers);
        let name: Box<str> = route.map_or(NONE, |route| &route.name).into();
        let upstreams: Vec<&str> = match route.map(|route| &route.action) {
            Some(Action::Forward(backends)) => backends
                .clusters()
                .map(|cluster| &*plan.clusters[cluster].name)
                .collect(),
            Some(Action::Respond(_) | Action::RespondKeys) | None => Vec::new(),
        };
        let requests = upstreams.into_iter().chain([NONE]).map(|upstream| {
            let key = (name.clone(), upstream.into());
            let make = StatusCounts::default;
            let counts = name_in(&mut self.answers, key, generation, workers, make);
            Arc::clone(&counts[worker])
        });
        let requests = requests.collect();
        let counts = name_in(
            &mut self.routes,
            name,
            generation,
            workers,
            Default::default,
        );
        RouteCells::new(requests, Arc::clone(&counts[worker]))
    }

    /// What is counted of routes, by name.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&str, &[Arc<RouteCounts>])> {
        let routes = self.routes.iter();
        routes.map(|(name, entry)| (&**name, &*entry.by_worker))
    }

    /// Answers by class of status, by the names of route and upstream.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (&str, &str, &[Arc<StatusCounts>])> {
        let answers = self.answers.iter();
        answers.map(|((route, upstream), entry)| (&**route, &**upstream, &*entry.by_worker))
    }

    /// What is counted of upstreams, by name.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = (&str, &[Arc<UpstreamCells>])> {
        let upstreams = self.upstreams.iter();
        upstreams.map(|(name, entry)| (&**name, &*entry.by_worker))
    }
}

/// The counters of this name, which the plan of this generation has; made where there are none.
fn name_in<K: Ord, T>(
    kept: &mut Kept<K, T>,
    key: K,
    generation: u64,
    workers: usize,
    make: impl Fn() -> T,
) -> &[Arc<T>] {
    let entry = kept.entry(key).or_insert_with(|| Entry {
        named_at: generation,
        by_worker: (0..workers).map(|_| Arc::new(make())).collect(),
    });
    entry.named_at = generation;
    &entry.by_worker
}

/// Drops what was named longest ago, beyond the bound.
fn forget<K: Ord + Clone, T>(kept: &mut Kept<K, T>, generation: u64) {
    let gone = kept.iter().filter(|(_, entry)| entry.named_at < generation);
    let mut gone: Vec<_> = gone
        .map(|(key, entry)| (entry.named_at, key.clone()))
        .collect();
    if gone.len() <= GONE_MAX {
        return;
    }
    gone.sort();
    for (_, key) in gone.drain(..gone.len() - GONE_MAX) {
        kept.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use gateway_core::config::Source;
    use gateway_core::file::read;

    use super::*;

    /// A route to an upstream for each pair of names.
    fn plan(routes: &[(String, &str)]) -> Plan {
        let mut text = String::from("version: 1\nupstreams:\n");
        for upstream in ["a", "b"] {
            let limits = "limits: {requests: 4}";
            let _infallible = writeln!(
                text,
                "  {upstream}: {{static: [\"127.0.0.1:1\"], {limits}}}"
            );
        }
        text += "routes:\n";
        for (name, upstream) in routes {
            let _infallible = writeln!(
                text,
                "  - {{name: {name}, match: {{path: /{name}}}, auth: none, \
                 backends: [{{upstream: {upstream}}}]}}"
            );
        }
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let compiled = read(source, &|_| None);
        compiled
            .unwrap_or_else(|problems| panic!("{problems}"))
            .plan
    }

    fn answered(ledger: &Ledger, route: &str, upstream: &str) -> u64 {
        let answers = ledger.answers();
        let of_both = answers.filter(|(name, of, _)| (*name, *of) == (route, upstream));
        let counts = of_both.flat_map(|(.., counts)| counts);
        counts.map(|counts| counts.classes[1].get()).sum()
    }

    #[test]
    fn counters_go_on_under_the_next_plan_and_under_the_one_after() {
        let one = || "one".to_owned();
        let (first, cells) = Ledger::new(2).succeed(&plan(&[(one(), "a"), ("two".into(), "b")]));
        for worker in &cells {
            worker.routes[0].requests[0].classes[1].add(3);
            worker.upstreams[1].tries.add(1);
        }
        let (second, without) = first.succeed(&plan(&[("two".into(), "b")]));
        // A request that began before counts where it began.
        cells[0].routes[0].requests[0].classes[1].add(1);
        assert_eq!(answered(&second, "one", "a"), 7, "removed, and shown");
        assert_eq!(without[1].upstreams[1].tries.get(), 1);
        let (third, cells) = second.succeed(&plan(&[("two".into(), "b"), (one(), "b")]));
        cells[1].routes[1].requests[0].classes[1].add(1);
        assert_eq!(answered(&third, "one", "a"), 7);
        assert_eq!(answered(&third, "one", "b"), 1);
    }

    #[test]
    fn what_was_named_longest_ago_is_forgotten_beyond_the_bound() {
        let mut ledger = Ledger::new(1);
        for generation in 0..GONE_MAX + 10 {
            (ledger, _) = ledger.succeed(&plan(&[(format!("r{generation}"), "a")]));
        }
        let names: Vec<_> = ledger.routes().map(|(name, _)| name).collect();
        // The one in force, and `none`.
        assert_eq!(names.len(), GONE_MAX + 2);
        assert!(names.contains(&format!("r{}", GONE_MAX + 9).as_str()));
        assert!(!names.contains(&"r0") && !names.contains(&"r8"));
        assert!(names.contains(&"r9"));
    }
}
