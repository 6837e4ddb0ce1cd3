//! One clock for the process: a monotonic origin, and where it lies in civil time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gateway_core::words::time::{Millis, UnixSeconds};

/// No deadline.
pub(crate) const NEVER: Millis = u64::MAX;

/// A reading, in microseconds since the clock's origin. A request looks at its beginning and its
/// end half a dozen times in three units; as moments each is converted once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn to_ms(self) -> Millis {
        self.0 / 1000
    }

    /// Nothing where `earlier` is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }
}

/// Reads time; cheap to clone.
///
/// One read of the monotonic clock gives both kinds of time. The offset to civil time is
/// taken again by [`Clock::resync`], so that a corrected system clock is followed.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    unix_offset_micros: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let clock = Self {
            origin: Instant::now(),
            unix_offset_micros: Arc::default(),
        };
        clock.resync();
        clock
    }

    /// Follows the system's civil time; called once a second.
    pub(crate) fn resync(&self) {
        let civil = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let offset = micros(civil).saturating_sub(micros(self.origin.elapsed()));
        self.unix_offset_micros.store(offset, Ordering::Relaxed);
    }

    pub(crate) fn now_ms(&self) -> Millis {
        self.to_ms(Instant::now())
    }

    pub(crate) fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    pub(crate) fn moment(&self, at: Instant) -> Moment {
        Moment(micros(at.saturating_duration_since(self.origin)))
    }

    pub(crate) fn to_ms(&self, at: Instant) -> Millis {
        self.moment(at).to_ms()
    }

    pub(crate) fn instant(&self, at: Millis) -> Instant {
        self.origin + Duration::from_millis(at)
    }

    pub(crate) fn unix_micros(&self, at: Moment) -> u64 {
        self.unix_offset_micros.load(Ordering::Relaxed) + at.0
    }

    pub(crate) fn unix_seconds(&self, at: Moment) -> UnixSeconds {
        self.unix_micros(at) / 1_000_000
    }

    /// The time as the head of a message says it (RFC 9110 section 5.6.7).
    pub(crate) fn date_text(&self) -> String {
        let second = self.unix_seconds(self.now());
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second))
    }

    pub(crate) fn to_unix_seconds(&self, at: Instant) -> UnixSeconds {
        self.unix_seconds(self.moment(at))
    }
}

/// 64 bits of microseconds last 584,000 years.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
