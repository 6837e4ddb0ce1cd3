//! The aperture: how much of a large set one worker uses, and which part.
//!
//! Requests that are spread over a thousand endpoints keep a thousand connections open and half
//! warm: each has a socket, buffers and a parser that no cache of the processor holds when its turn
//! comes again, and every worker of every gateway has as many. So a worker draws from a *window* of
//! the set, as wide as the load asks for. The idea is Finagle's ("Aperture Load Balancers" in its
//! user guide; "Deterministic Aperture: A distributed, load balancing algorithm", Twitter 2019):
//! there too the load that is under way sets the width. And as there, the set lies on a ring that
//! all gateways see alike, and a window is a stretch of it, so that an endpoint that comes or goes
//! moves each window by one place. What Finagle takes from its cluster's membership, how many peers
//! there are and which of them one is, nobody tells a gateway. It replaces that by two things:
//!
//! - Where its window begins is a hash of who it is, and its workers are spread evenly from there.
//! - The windows travel round the set, once in [`ROUND_MS`]. At any moment chance has left some
//!   endpoints with more windows than others; over a round each has had the same.
//!
//! The width is what the requests under way ask for, and as much more as endpoints of the window
//! are left out. It grows with the request that needs it, and narrows slowly: a window that follows
//! every lull would close connections that the next burst opens again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::key::{hash, mix};
use crate::words::time::Millis;

/// Time in which a window travels round the whole set, 70 minutes: a power of two, so that a place
/// is a shift and no division.
pub const ROUND_MS: Millis = 1 << ROUND_BITS;
const ROUND_BITS: u32 = 22;
/// Time between two looks at whether a window may be narrower.
const STEP_MS: Millis = 1_000;
/// What a window loses of its width in a step, as a share of it: half in eleven seconds.
const NARROWING: u32 = 16;
/// Fewer draws than this say nothing about the share of endpoints that are left out.
const DRAWN_MIN: u32 = 32;
/// No window is wider than this many times what the load asks for, however many are left out:
/// beyond it the choice itself looks through the whole set.
const STRETCH_MAX: u32 = 8;

/// How wide windows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApertureRules {
    /// No window is narrower; a set that has no more endpoints than this has no windows.
    pub endpoints_min: u32,
    /// Endpoints, in hundredths of the requests under way of one worker.
    pub width_percent: u32,
}

impl ApertureRules {
    /// The endpoints that so many requests under way ask for.
    fn wanted(self, in_flight: u32) -> u32 {
        let wanted = u64::from(in_flight) * u64::from(self.width_percent);
        let wanted = u32::try_from(wanted.div_ceil(100)).unwrap_or(u32::MAX);
        wanted.max(self.endpoints_min)
    }
}

/// Where the windows of one worker begin, as a part of the set in units of 2^-32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// The place of a worker of the gateway with this name, which should be no other gateway's.
    #[must_use]
    pub fn of(gateway: &[u8], worker: usize) -> Self {
        // Apart by the golden ratio, any number of workers is spread evenly.
        let apart = (worker as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(high(mix(hash(gateway)).wrapping_add(apart)))
    }
}

/// What one worker's choice among an upstream's endpoints is made by.
#[derive(Clone, Copy, Debug)]
pub struct Vantage<'a> {
    /// The worker's window of this upstream.
    pub aperture: &'a Aperture,
    /// Where the worker's windows begin.
    pub place: Place,
    /// Requests of the worker to this upstream that are under way, this one included.
    pub in_flight: u32,
}

impl Vantage<'_> {
    /// The part of a large set that this choice is made among.
    pub(super) fn open(&self, rules: ApertureRules, now: Millis) -> Opening {
        let travelled = low(now << (u32::BITS - ROUND_BITS));
        Opening {
            start: self.place.0.wrapping_add(travelled),
            width: self.aperture.widen(rules, self.in_flight, now),
        }
    }
}

/// A part of a set whose size is not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Where it begins, in units of 2^-32 of the set.
    pub(super) start: u32,
    /// Endpoints.
    pub(super) width: u32,
}

/// What a choice saw of its window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sightings {
    /// Endpoints drawn from it.
    pub(super) drawn: u32,
    /// Those of them that were left out.
    pub(super) left_out: u32,
}

/// The width of one worker's window of one upstream.
///
/// Its cells have one writer, that worker: plain loads and stores, no read-modify-write.
#[derive(Debug, Default)]
pub struct Aperture {
    width: AtomicU32,
    /// The most that was asked for in this step.
    wanted_max: AtomicU32,
    step_ends_at: AtomicU64,
    /// Draws of this step, and those that met an endpoint that is left out.
    drawn: AtomicU32,
    left_out: AtomicU32,
}

impl Aperture {
    /// Endpoints that the worker draws from at present, where the set has as many; 0 as long as no
    /// choice was made among a large set.
    #[must_use]
    pub fn width(&self) -> u32 {
        get(&self.width)
    }

    fn widen(&self, rules: ApertureRules, in_flight: u32, now: Millis) -> u32 {
        let wanted = rules.wanted(in_flight);
        if now >= self.step_ends_at.load(Ordering::Relaxed) {
            self.step(wanted, now);
        }
        if wanted > get(&self.wanted_max) {
            set(&self.wanted_max, wanted);
        }
        let width = get(&self.width);
        if wanted <= width {
            return width;
        }
        set(&self.width, wanted);
        wanted
    }

    /// Ends a step: as wide as its busiest moment asked for, but not narrower at once.
    fn step(&self, wanted: u32, now: Millis) {
        self.step_ends_at.store(now + STEP_MS, Ordering::Relaxed);
        let needed = self.stretched(get(&self.wanted_max).max(wanted));
        let width = get(&self.width);
        let narrower = width - width.div_ceil(NARROWING);
        set(&self.width, narrower.max(needed));
        set(&self.wanted_max, wanted);
        set(&self.drawn, 0);
        set(&self.left_out, 0);
    }

    /// Enough for so many endpoints in use, if as many are left out as were met in this step.
    fn stretched(&self, wanted: u32) -> u32 {
        let (drawn, left_out) = (get(&self.drawn), get(&self.left_out));
        if drawn < DRAWN_MIN || left_out == 0 {
            return wanted;
        }
        let in_use = drawn.saturating_sub(left_out).max(drawn / STRETCH_MAX);
        let stretched = u64::from(wanted) * u64::from(drawn) / u64::from(in_use.max(1));
        u32::try_from(stretched).unwrap_or(u32::MAX)
    }

    pub(super) fn count(&self, seen: Sightings) {
        set(&self.drawn, get(&self.drawn).saturating_add(seen.drawn));
        if seen.left_out > 0 {
            let left_out = get(&self.left_out).saturating_add(seen.left_out);
            set(&self.left_out, left_out);
        }
    }
}

fn get(cell: &AtomicU32) -> u32 {
    cell.load(Ordering::Relaxed)
}

fn set(cell: &AtomicU32, value: u32) {
    cell.store(value, Ordering::Relaxed);
}

fn high(bits: u64) -> u32 {
    low(bits >> 32)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is wanted")]
fn low(bits: u64) -> u32 {
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ApertureRules = ApertureRules {
        endpoints_min: 64,
        width_percent: 200,
    };

    /// Requests under way, at a time in milliseconds, and the width that this gives.
    type Moment = (u32, Millis, u32);

    fn play(aperture: &Aperture, moments: &[Moment]) {
        for &(in_flight, now, expected) in moments {
            let width = aperture.widen(RULES, in_flight, now);
            assert_eq!(width, expected, "{in_flight} at {now}");
            assert_eq!(aperture.width(), width);
        }
    }

    #[test]
    fn a_window_widens_at_once_and_narrows_by_a_sixteenth_a_second() {
        let table: &[&[Moment]] = &[
            // Never narrower than the least, and as wide as the load asks for.
            &[(1, 0, 64), (32, 1, 64), (33, 2, 66), (500, 3, 1_000)],
            // What was asked for within a step holds until its end, and then yields slowly.
            &[
                (500, 0, 1_000),
                (1, 999, 1_000),
                (1, 1_000, 1_000),
                (1, 1_999, 1_000),
                (1, 2_000, 937),
                (1, 3_000, 878),
                (600, 3_001, 1_200),
                (1, 4_001, 1_200),
                (1, 5_001, 1_125),
            ],
            // A worker that had nothing to do for long is no quicker, nor is one whose clock jumped.
            &[(500, 0, 1_000), (1, 500_000, 1_000), (1, 900_000, 937)],
            &[(u32::MAX, 0, u32::MAX)],
        ];
        for moments in table {
            play(&Aperture::default(), moments);
        }
    }

    #[test]
    fn a_window_comes_back_to_its_least_width() {
        let aperture = Aperture::default();
        aperture.widen(RULES, 5_000, 0);
        let seconds = (1..100).find(|second| aperture.widen(RULES, 1, second * 1_000) == 64);
        assert_eq!(seconds, Some(78), "from 10,000");
    }

    #[test]
    fn endpoints_that_are_left_out_are_made_up_for() {
        // Draws and those that met nothing good, and the width that 64 endpoints in use take.
        let table = [
            (100, 0, 64),
            (100, 50, 128),
            (100, 75, 256),
            (31, 31, 64),
            (96, 96, 512),
            (0, 0, 64),
        ];
        for (drawn, left_out, expected) in table {
            let aperture = Aperture::default();
            aperture.widen(RULES, 1, 0);
            aperture.count(Sightings { drawn, left_out });
            let width = aperture.widen(RULES, 1, STEP_MS);
            assert_eq!(width, expected, "{left_out} of {drawn}");
        }
    }

    #[test]
    fn a_window_travels_round_the_set() {
        let aperture = Aperture::default();
        let vantage = Vantage {
            aperture: &aperture,
            place: Place(7),
            in_flight: 1,
        };
        let start = |now| vantage.open(RULES, now).start;
        assert_eq!(start(0), 7);
        assert_eq!(start(ROUND_MS / 4), 7 + (1 << 30));
        assert_eq!(start(ROUND_MS), 7);
        assert_eq!(start(3 * ROUND_MS + ROUND_MS / 2), 7 + (1 << 31));
    }

    #[test]
    fn workers_and_gateways_are_apart() {
        let mut places: Vec<u32> = (0..8).map(|worker| Place::of(b"a", worker).0).collect();
        places.sort_unstable();
        let gaps = places.windows(2).map(|pair| pair[1] - pair[0]);
        let least = gaps.min().unwrap();
        assert!(least > u32::MAX / 16, "{places:?}");
        assert_ne!(Place::of(b"a", 0), Place::of(b"b", 0));
        assert_eq!(Place::of(b"a", 3), Place::of(b"a", 3));
    }
}
