//! How much of the gateway one upstream may hold: beyond it requests fail fast.
//!
//! Each worker has its share, rounded up, so that no request writes to memory that another
//! worker reads. Connections are seated on the worker with the fewest, so shares fill evenly;
//! still, a limit is exact only with one worker: a worker may refuse while another has room, and
//! rounding may let up to one more a worker pass.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::adaptive::Samples;
use super::{Outcome, Priority, PriorityShares};

/// The limits of one upstream, over all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, idle ones included.
    pub connections_max: u32,
    /// Requests that wait for a connection to be opened.
    pub pending_max: u32,
    /// Requests from the choice of this upstream to the end of the answer's body.
    pub requests_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            pending_max: 2_000,
            requests_max: 10_000,
        }
    }
}

impl Limits {
    /// What one of so many workers may have.
    #[must_use]
    pub fn share(self, workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
        Self {
            connections_max: self.connections_max.div_ceil(workers),
            pending_max: self.pending_max.div_ceil(workers),
            requests_max: self.requests_max.div_ceil(workers),
        }
    }
}

/// What one worker holds for an upstream, within its share of the limits.
///
/// Its counts have one writer, that worker: plain loads and stores, no read-modify-write. They
/// outlive a plan, and so the share may change under them.
#[derive(Debug)]
pub struct Usage {
    share: Share,
    /// There where an adaptive limit wants to know.
    samples: OnceLock<Box<Samples>>,
    connections: Arc<AtomicU32>,
    pending: Arc<AtomicU32>,
    requests: AtomicU32,
    shed: [AtomicU64; Priority::ALL.len()],
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// The limit on requests is reached.
    AtLimit,
    /// What is left is for more important requests, or the adaptive limit is reached.
    Shed,
}

/// The most of each, as in [`Limits`].
#[derive(Debug)]
struct Share {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    /// Requests that there may be for one more to be let in, by priority: of the limit on
    /// requests, or of an adaptive one where that is lower.
    rooms: [AtomicU32; Priority::ALL.len()],
}

impl Share {
    fn of(limits: Limits) -> Self {
        let share = Self {
            connections: AtomicU32::default(),
            pending: AtomicU32::default(),
            requests: AtomicU32::default(),
            rooms: Default::default(),
        };
        share.resize(limits, PriorityShares::default());
        share
    }

    fn resize(&self, limits: Limits, priorities: PriorityShares) {
        let Limits {
            connections_max,
            pending_max,
            requests_max,
        } = limits;
        self.connections.store(connections_max, Ordering::Relaxed);
        self.pending.store(pending_max, Ordering::Relaxed);
        self.requests.store(requests_max, Ordering::Relaxed);
        self.open(priorities.rooms(requests_max));
    }

    fn open(&self, rooms: [u32; Priority::ALL.len()]) {
        for (room, value) in self.rooms.iter().zip(rooms) {
            room.store(value, Ordering::Relaxed);
        }
    }
}

/// One connection, or one request that waits for one; counted until dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicU32>);

impl Default for Usage {
    fn default() -> Self {
        Self::within(Limits::default())
    }
}

impl Usage {
    /// Nothing is held yet.
    #[must_use]
    pub fn within(share: Limits) -> Self {
        Self {
            share: Share::of(share),
            samples: OnceLock::new(),
            connections: Arc::default(),
            pending: Arc::default(),
            requests: AtomicU32::default(),
            shed: Default::default(),
        }
    }

    /// Another share from now on, of which less important requests may fill only a part. What is
    /// held beyond it is not taken away.
    pub fn resize(&self, share: Limits, priorities: PriorityShares) {
        self.share.resize(share, priorities);
    }

    /// Within an adaptive limit from now on: lets this worker have so many requests of it.
    pub(super) fn narrow(&self, requests_max: u32, priorities: PriorityShares) {
        self.samples.get_or_init(Box::default);
        let own = self.share.requests.load(Ordering::Relaxed);
        self.share.open(priorities.rooms(own.min(requests_max)));
    }

    /// Counts a request, if there is room for one: then [`Usage::end_request`] takes it away.
    ///
    /// # Errors
    /// [`Busy`] where there is none; it is counted as shed where others would have been let in.
    pub fn begin_request(&self, priority: Priority) -> Result<(), Busy> {
        if begin(&self.requests, &self.share.rooms[priority as usize]) {
            return Ok(());
        }
        if self.requests() >= self.share.requests.load(Ordering::Relaxed) {
            return Err(Busy::AtLimit);
        }
        let shed = &self.shed[priority as usize];
        shed.store(shed.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Err(Busy::Shed)
    }

    /// Counts one more try of a request that is counted already, if there is room even for what is
    /// least important: then [`Usage::end_request`] takes it away. A refusal is not counted.
    #[must_use]
    pub fn begin_extra(&self) -> bool {
        begin(&self.requests, &self.share.rooms[Priority::Low as usize])
    }

    /// Takes in how a try ended, where there is an adaptive limit to know it.
    pub fn observe(&self, outcome: Outcome, took: Duration) {
        if let Some(samples) = self.samples() {
            samples.observe(outcome, took);
        }
    }

    pub(super) fn samples(&self) -> Option<&Samples> {
        self.samples.get().map(|samples| &**samples)
    }

    /// Requests of a priority that were shed so far.
    #[must_use]
    pub fn shed(&self, priority: Priority) -> u64 {
        self.shed[priority as usize].load(Ordering::Relaxed)
    }

    /// Requests of any priority that were shed so far.
    pub(super) fn shed_in_all(&self) -> u64 {
        Priority::ALL.iter().map(|it| self.shed(*it)).sum()
    }

    /// A request has ended.
    pub fn end_request(&self) {
        end(&self.requests);
    }

    /// Counts a request that waits for a connection to be opened, if there is room for one.
    #[must_use]
    pub fn wait(&self) -> Option<Held> {
        Held::begin(&self.pending, &self.share.pending)
    }

    /// Counts a connection, if there is room for one.
    #[must_use]
    pub fn connect(&self) -> Option<Held> {
        Held::begin(&self.connections, &self.share.connections)
    }

    /// Whether a connection is counted here.
    #[must_use]
    pub fn counts(&self, connection: &Held) -> bool {
        Arc::ptr_eq(&self.connections, &connection.0)
    }

    /// Requests now.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that wait for a connection now.
    #[must_use]
    pub fn pending(&self) -> u32 {
        self.pending.load(Ordering::Relaxed)
    }

    /// Connections now, idle ones included.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Held {
    fn begin(count: &Arc<AtomicU32>, most: &AtomicU32) -> Option<Self> {
        begin(count, most).then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        end(&self.0);
    }
}

fn begin(count: &AtomicU32, most: &AtomicU32) -> bool {
    let now = count.load(Ordering::Relaxed);
    if now >= most.load(Ordering::Relaxed) {
        return false;
    }
    count.store(now + 1, Ordering::Relaxed);
    true
}

fn end(count: &AtomicU32) {
    let now = count.load(Ordering::Relaxed);
    count.store(now.saturating_sub(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{AdaptiveLimit, AdaptiveRules};

    #[test]
    fn shares_add_up_to_the_limit_or_to_less_than_one_a_worker_more() {
        for (limit, workers) in [(1, 1), (1, 4), (10, 3), (10_000, 2), (7, 0)] {
            let limits = Limits {
                requests_max: limit,
                ..Limits::default()
            };
            let total = limits.share(workers).requests_max * u32::try_from(workers.max(1)).unwrap();
            let most = limit + u32::try_from(workers.saturating_sub(1)).unwrap();
            assert!((limit..=most).contains(&total), "{limit} on {workers}");
        }
    }

    #[test]
    fn what_is_held_ends_at_the_limit_and_comes_back() {
        let usage = Usage::within(Limits {
            connections_max: 2,
            pending_max: 1,
            requests_max: 1,
        });
        assert_eq!(usage.begin_request(Priority::Normal), Ok(()));
        assert_eq!(usage.begin_request(Priority::Normal), Err(Busy::AtLimit));
        usage.end_request();
        assert_eq!(usage.begin_request(Priority::Normal), Ok(()));
        let (one, two) = (usage.connect(), usage.connect());
        assert!(one.is_some() && two.is_some() && usage.connect().is_none());
        drop(one);
        assert!(usage.connect().is_some());
        let waiting = usage.wait();
        assert!(waiting.is_some() && usage.wait().is_none());
        let counts = (usage.requests(), usage.pending(), usage.connections());
        assert_eq!(counts, (1, 1, 1));
        assert!(usage.counts(&two.unwrap()) && !usage.counts(&waiting.unwrap()));
    }

    #[test]
    fn a_smaller_share_holds_for_what_comes() {
        let limits = |requests_max| Limits {
            requests_max,
            ..Limits::default()
        };
        let usage = Usage::within(limits(2));
        let begin = || usage.begin_request(Priority::Normal).is_ok();
        assert!(begin() && begin());
        usage.resize(limits(1), PriorityShares::default());
        usage.end_request();
        assert!(!begin(), "one is held still");
        usage.end_request();
        assert!(begin());
    }

    #[test]
    fn what_is_less_important_is_shed_before_the_limit_is_reached() {
        let limits = Limits {
            requests_max: 10,
            ..Limits::default()
        };
        let shares = PriorityShares::below(Priority::Critical);
        let usage = Usage::within(limits);
        usage.resize(limits, shares);
        for (priority, room) in Priority::ALL.into_iter().zip([10, 9, 8, 6]).rev() {
            while usage.begin_request(priority).is_ok() {}
            assert_eq!(usage.requests(), room, "{priority:?}");
        }
        let shed = Priority::ALL.map(|priority| usage.shed(priority));
        assert_eq!(shed, [0, 1, 1, 1], "the limit itself sheds nobody");
        assert_eq!(usage.shed_in_all(), 3);
    }

    #[test]
    fn the_lower_of_the_two_limits_holds() {
        for (requests_max, initial, expected) in [(10, 4, 4), (3, 4, 3)] {
            let limits = Limits {
                requests_max,
                ..Limits::default()
            };
            let rules = AdaptiveRules {
                initial,
                ..AdaptiveRules::default()
            };
            let limit = AdaptiveLimit::new(rules, PriorityShares::default(), 1);
            let usage = Usage::within(limits);
            limit.apply([&usage]);
            while usage.begin_request(Priority::Normal).is_ok() {}
            assert_eq!(usage.requests(), expected, "{requests_max} {initial}");
        }
    }
}
