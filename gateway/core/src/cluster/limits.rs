//! How much of the gateway one upstream may hold: beyond it requests fail fast.
//!
//! Each worker has its share, rounded up, so that no request writes to memory that another
//! worker reads. Connections are seated on the worker with the fewest, so shares fill evenly;
//! still, a limit is exact only with one worker: a worker may refuse while another has room, and
//! rounding may let up to one more a worker pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

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
#[derive(Debug, Default)]
pub struct Usage {
    share: Share,
    connections: Arc<AtomicU32>,
    pending: Arc<AtomicU32>,
    requests: AtomicU32,
}

/// The most of each, as in [`Limits`].
#[derive(Debug)]
struct Share {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
}

impl Share {
    fn of(limits: Limits) -> Self {
        Self {
            connections: AtomicU32::new(limits.connections_max),
            pending: AtomicU32::new(limits.pending_max),
            requests: AtomicU32::new(limits.requests_max),
        }
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::of(Limits::default())
    }
}

/// One connection, or one request that waits for one; counted until dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicU32>);

impl Usage {
    /// Nothing is held yet.
    #[must_use]
    pub fn within(share: Limits) -> Self {
        Self {
            share: Share::of(share),
            ..Self::default()
        }
    }

    /// Another share from now on. What is held beyond it is not taken away.
    pub fn resize(&self, share: Limits) {
        let Limits {
            connections_max,
            pending_max,
            requests_max,
        } = share;
        let own = &self.share;
        own.connections.store(connections_max, Ordering::Relaxed);
        own.pending.store(pending_max, Ordering::Relaxed);
        own.requests.store(requests_max, Ordering::Relaxed);
    }

    /// Counts a request, if there is room for one: then [`Usage::end_request`] takes it away.
    #[must_use]
    pub fn begin_request(&self) -> bool {
        begin(&self.requests, &self.share.requests)
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
        assert!(usage.begin_request());
        assert!(!usage.begin_request());
        usage.end_request();
        assert!(usage.begin_request());
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
        assert!(usage.begin_request() && usage.begin_request());
        usage.resize(limits(1));
        usage.end_request();
        assert!(!usage.begin_request(), "one is held still");
        usage.end_request();
        assert!(usage.begin_request());
    }
}
