//! Idle connections of one worker, by endpoint.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gateway_core::cluster::Usage;
use gateway_core::words::time::Millis;

use super::Link;

/// Bounds on what a worker keeps idle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// Idle connections to one endpoint.
    pub(crate) idle_per_endpoint_max: usize,
    /// How long one may stay idle. Below the 60 s after which most servers close.
    pub(crate) idle_timeout: Duration,
    /// How old one may become, so that a fleet spreads again after it has grown.
    pub(crate) lifetime: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            idle_per_endpoint_max: 128,
            idle_timeout: Duration::from_secs(50),
            lifetime: Duration::from_mins(10),
        }
    }
}

struct Idle {
    link: Box<Link>,
    since: Millis,
}

/// The idle connections of one worker. Only that worker's thread comes here, so the lock is
/// never waited for.
pub(crate) struct Pool {
    limits: PoolLimits,
    idle: Mutex<HashMap<SocketAddr, Vec<Idle>, foldhash::fast::RandomState>>,
}

impl Pool {
    pub(crate) fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            idle: Mutex::default(),
        }
    }

    /// The connection used last, because it is the least likely to have been closed.
    pub(crate) fn take(&self, address: SocketAddr, now: Millis) -> Option<Box<Link>> {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pools.get_mut(&address)?;
        while let Some(mut candidate) = idle.pop() {
            if self.is_fresh(&candidate, now) && candidate.link.is_reusable() {
                return Some(candidate.link);
            }
        }
        None
    }

    /// Keeps a connection whose answer has been read to its end.
    pub(crate) fn give(&self, address: SocketAddr, mut link: Box<Link>, now: Millis) {
        // Whether it can be used again is looked at when it is taken, and by the sweep.
        if link.is_closed() {
            return;
        }
        link.is_reused = true;
        let entry = Idle { link, since: now };
        if !self.is_fresh(&entry, now) {
            return;
        }
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = pools.entry(address).or_default();
        if idle.len() < self.limits.idle_per_endpoint_max {
            idle.push(entry);
        }
    }

    /// Closes what has been idle for too long, or was closed by the upstream.
    pub(crate) fn sweep(&self, now: Millis) {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, idle| {
            idle.retain_mut(|entry| self.is_fresh(entry, now) && entry.link.is_reusable());
            !idle.is_empty()
        });
    }

    /// Closes one that is counted there, to make room for another; whether there was one.
    pub(crate) fn close_one(&self, usage: &Usage) -> bool {
        let mut pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values_mut().any(|idle| {
            let counted = |entry: &Idle| usage.counts(&entry.link.held);
            // The one that has been idle for the longest.
            let found = idle.iter().position(counted);
            found.map(|at| idle.remove(at)).is_some()
        })
    }

    /// How many are idle.
    pub(crate) fn len(&self) -> usize {
        let pools = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pools.values().map(Vec::len).sum()
    }

    fn is_fresh(&self, entry: &Idle, now: Millis) -> bool {
        let age = |since: Millis| Duration::from_millis(now.saturating_sub(since));
        age(entry.since) < self.limits.idle_timeout
            && age(entry.link.opened_at) < self.limits.lifetime
    }
}
