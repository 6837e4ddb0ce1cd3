//! How busy an endpoint is: atomics, because balancing wants to know the load of all workers.

use std::sync::atomic::{AtomicU32, Ordering};

/// The load of one endpoint, from all workers.
#[derive(Debug, Default)]
pub struct Load {
    in_flight: AtomicU32,
}

impl Load {
    /// Requests under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
