//! The engine's clock. Tests let it run faster, so that hours of rotation pass in seconds.

use std::time::{Duration, Instant};

use gateway_core::words::time::{Millis, UnixSeconds};

use crate::clock::Clock;

/// Where the clock begins: a set that was read before the start has its time too. Longer than
/// any duration that a routes file may name.
const ORIGIN: Millis = 400 * 24 * 3600 * 1000;

/// The process's clock times a whole factor: 1, but for tests.
///
/// It times what the engine does by itself: intervals, pauses, cooldowns, ages. Limits on what
/// others may take (a fetch, a request that waits) are real time.
#[derive(Clone, Debug)]
pub(crate) struct KeyClock {
    clock: Clock,
    factor: u32,
}

impl KeyClock {
    pub(crate) fn new(clock: Clock, factor: u32) -> Self {
        Self {
            clock,
            factor: factor.max(1),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        ORIGIN + self.clock.now_ms() * Millis::from(self.factor)
    }

    /// When it was that something happened this many seconds ago.
    pub(super) fn seconds_ago(&self, seconds: u64) -> Millis {
        let age = seconds.saturating_mul(1000 * u64::from(self.factor));
        self.now().saturating_sub(age)
    }

    pub(super) async fn sleep_until(&self, at: Millis) {
        let left = at.saturating_sub(self.now());
        let left = Duration::from_millis(left.div_ceil(Millis::from(self.factor)));
        tokio::time::sleep(left).await;
    }

    pub(super) fn unix_seconds(&self) -> UnixSeconds {
        self.clock.to_unix_seconds(Instant::now())
    }
}
