//! Requests that wait for a key that is not there.
//!
//! Readings are numbered. A request may be answered by any reading that brings its key, but only
//! one that began after the request came can say that there is none: what was under way before
//! may have been answered before the key was published. Workers and the provider's loop live on
//! different threads; they meet in a `watch` channel and a `Notify`, and only requests with an
//! unknown key come here.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gateway_core::file::KeySource;
use gateway_core::words::time::Millis;
use tokio::sync::{Notify, watch};

use super::time::KeyClock;

/// Requests that may wait for one provider; more are refused.
const WAITING_MAX: usize = 4096;

/// What became of a request with an unknown key, as a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Asked {
    /// Another reading brought it.
    Found,
    /// Another reading did not bring it, or nothing is read again.
    NotFound,
    /// Another reading failed or did not come in time.
    Unavailable,
    /// It was asked for in vain a short time ago.
    Remembered,
    /// Too many were waiting.
    Overflow,
}

impl Asked {
    /// All, in the order of their discriminants.
    pub(crate) const ALL: [Self; 5] = [
        Self::Found,
        Self::NotFound,
        Self::Unavailable,
        Self::Remembered,
        Self::Overflow,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not_found",
            Self::Unavailable => "unavailable",
            Self::Remembered => "remembered",
            Self::Overflow => "overflow",
        }
    }
}

/// The readings so far.
#[derive(Clone, Copy, Debug, Default)]
struct Readings {
    begun: u64,
    ended: u64,
    /// The number of the last one that did not fail.
    last_good: u64,
    /// How often the keys have changed, and when they last did.
    changes: u64,
    changed_at: Option<Instant>,
}

/// Where the requests of all workers meet the loop of one provider.
#[derive(Debug)]
pub(crate) struct WantedKeys {
    clock: KeyClock,
    /// `None` where nothing is read again.
    wait: Option<Duration>,
    readings: watch::Sender<Readings>,
    wish: Notify,
    waiting: AtomicUsize,
    asked: [AtomicU64; Asked::ALL.len()],
}

/// What a waiting request learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The keys are others: decide again.
    OtherKeys,
    /// The keys were read anew, and nothing has come.
    Nothing,
    /// They could not be read.
    Failure,
}

/// One request that waits. Dropping it gives its place up.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    wanted: &'a WantedKeys,
    readings: watch::Receiver<Readings>,
    /// Readings after this one began after the request came.
    begun_before: u64,
    changes_seen: u64,
}

impl WantedKeys {
    pub(crate) fn new(source: &KeySource, clock: KeyClock) -> Self {
        Self {
            clock,
            wait: (!source.is_static()).then_some(source.unknown_key_wait),
            readings: watch::Sender::default(),
            wish: Notify::new(),
            waiting: AtomicUsize::new(0),
            asked: Default::default(),
        }
    }

    /// For how long a request may wait; `None` where nothing is read again.
    pub(crate) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// The engine's time, for what workers remember of it.
    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Asks for a reading on behalf of a request that looked at the keys after `looked_after`;
    /// `None` when too many wait.
    pub(crate) fn ask(&self, looked_after: Instant) -> Option<Waiting<'_>> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let readings = self.readings.subscribe();
        let now = *readings.borrow();
        // Keys may have changed between the look and this.
        let is_newer = now.changed_at.is_some_and(|at| at >= looked_after);
        Some(Waiting {
            wanted: self,
            readings,
            begun_before: now.begun,
            changes_seen: now.changes - u64::from(is_newer),
        })
    }

    pub(crate) fn count(&self, asked: Asked) {
        self.asked[asked as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counted(&self, asked: Asked) -> u64 {
        self.asked[asked as usize].load(Ordering::Relaxed)
    }

    /// Requests that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until a request wants a reading.
    pub(super) async fn wished(&self) {
        self.wish.notified().await;
    }

    pub(super) fn begin_reading(&self) {
        // Nobody needs to wake for this.
        self.readings.send_if_modified(|readings| {
            readings.begun += 1;
            false
        });
    }

    /// A reading has ended. Whoever needs another one wishes again.
    pub(super) fn end_reading(&self, is_good: bool, has_changed: bool) {
        use futures_util::FutureExt as _;
        let _answered_by_this = self.wished().now_or_never();
        self.readings.send_modify(|readings| {
            readings.ended = readings.begun;
            if is_good {
                readings.last_good = readings.begun;
            }
            if has_changed {
                readings.changes += 1;
                readings.changed_at = Some(Instant::now());
            }
        });
    }
}

impl Waiting<'_> {
    /// Waits for something that this request has not learned yet.
    pub(crate) async fn next(&mut self) -> Found {
        loop {
            let now = *self.readings.borrow_and_update();
            if now.changes > self.changes_seen {
                self.changes_seen = now.changes;
                return Found::OtherKeys;
            }
            if now.last_good > self.begun_before {
                return Found::Nothing;
            }
            if now.ended > self.begun_before {
                return Found::Failure;
            }
            self.wanted.wish.notify_one();
            if self.readings.changed().await.is_err() {
                unreachable!("the sender lives as long as `wanted`");
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.wanted.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use gateway_core::file::KeyPlace;

    use super::*;
    use crate::clock::Clock;

    fn wanted(place: KeyPlace) -> WantedKeys {
        let second = Duration::from_secs(1);
        let source = KeySource {
            place,
            issuer: String::new(),
            allow_http: false,
            refresh_interval: second,
            refresh_interval_min: second,
            refresh_interval_max: second,
            max_stale: second,
            unknown_key_wait: 5 * second,
        };
        WantedKeys::new(&source, KeyClock::new(Clock::new(), 1))
    }

    fn of_url() -> WantedKeys {
        wanted(KeyPlace::Url(String::new()))
    }

    /// One reading from its beginning to its end.
    fn read(wanted: &WantedKeys, is_good: bool, has_changed: bool) {
        wanted.begin_reading();
        wanted.end_reading(is_good, has_changed);
    }

    #[test]
    fn keys_that_do_not_change_are_waited_for_by_nobody() {
        assert_eq!(wanted(KeyPlace::Inline(String::new())).wait(), None);
        assert_eq!(of_url().wait(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn a_request_learns_of_the_first_reading_that_began_after_it() {
        for (is_good, found) in [(true, Found::Nothing), (false, Found::Failure)] {
            let wanted = of_url();
            let mut waiting = wanted.ask(Instant::now()).unwrap();
            assert_eq!(waiting.next().now_or_never(), None);
            assert!(wanted.wished().now_or_never().is_some());
            read(&wanted, is_good, false);
            assert_eq!(waiting.next().now_or_never(), Some(found));
        }
    }

    #[test]
    fn what_was_under_way_may_bring_the_key_but_not_say_that_there_is_none() {
        let wanted = of_url();
        wanted.begin_reading();
        let mut waiting = wanted.ask(Instant::now()).unwrap();
        assert_eq!(waiting.next().now_or_never(), None);
        wanted.end_reading(true, false);
        assert!(
            wanted.wished().now_or_never().is_none(),
            "the wish was for what has just ended"
        );
        assert_eq!(waiting.next().now_or_never(), None);
        assert!(wanted.wished().now_or_never().is_some(), "it wishes again");
        wanted.begin_reading();
        wanted.end_reading(false, false);
        assert_eq!(waiting.next().now_or_never(), Some(Found::Failure));

        wanted.begin_reading();
        let mut waiting = wanted.ask(Instant::now()).unwrap();
        wanted.end_reading(true, true);
        assert_eq!(waiting.next().now_or_never(), Some(Found::OtherKeys));
        assert_eq!(waiting.next().now_or_never(), None, "not its key: it waits");
    }

    #[test]
    fn keys_that_changed_between_the_look_and_the_question_are_looked_at_again() {
        let wanted = of_url();
        let looked_after = Instant::now();
        read(&wanted, true, true);
        let mut early = wanted.ask(looked_after).unwrap();
        assert_eq!(early.next().now_or_never(), Some(Found::OtherKeys));
        assert_eq!(early.next().now_or_never(), None);
        let mut late = wanted.ask(Instant::now()).unwrap();
        assert_eq!(late.next().now_or_never(), None);
    }

    #[test]
    fn a_failure_after_the_answer_does_not_hide_it() {
        let wanted = of_url();
        let mut waiting = wanted.ask(Instant::now()).unwrap();
        read(&wanted, true, false);
        read(&wanted, false, false);
        assert_eq!(waiting.next().now_or_never(), Some(Found::Nothing));
    }

    #[test]
    fn as_many_wait_as_may_and_who_leaves_makes_room() {
        let wanted = of_url();
        let ask = || wanted.ask(Instant::now());
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| ask().unwrap()).collect();
        assert!(ask().is_none());
        assert_eq!(wanted.waiting(), WAITING_MAX);
        waiting.pop();
        assert!(ask().is_some());
        drop(waiting);
        assert_eq!(wanted.waiting(), 0);
    }
}
