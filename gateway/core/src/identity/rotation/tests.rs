//! The schedule over simulated time. Keys are numbers; a token is the key that signed it and the
//! time at which it ends.

use std::collections::VecDeque;
use std::convert::Infallible;

use super::*;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

fn rotation(period: Millis, lifetime: Millis) -> Rotation {
    Rotation::new(
        Duration::from_millis(period),
        Duration::from_millis(lifetime),
    )
}

/// A process that makes keys 0, 1, 2, … and does its work at given times.
struct Process {
    schedule: KeySchedule<u32>,
    made: u32,
}

impl Process {
    fn new(period: Millis, lifetime: Millis) -> Self {
        Self {
            schedule: KeySchedule::new(rotation(period, lifetime), 0, 0),
            made: 1,
        }
    }

    fn advance(&mut self, now: Millis) -> bool {
        let next = &mut self.made;
        let changed = self.schedule.advance(now, || {
            *next += 1;
            Ok::<_, Infallible>(*next - 1)
        });
        let Ok(is_changed) = changed;
        is_changed
    }

    fn published(&self) -> Vec<u32> {
        self.schedule.published().copied().collect()
    }
}

#[test]
fn a_key_is_published_before_it_signs_and_until_its_tokens_have_ended() {
    let mut process = Process::new(24 * HOUR, MINUTE);
    let table: &[(Millis, &[u32], bool)] = &[
        (0, &[0], false),
        (24 * HOUR - 15 * MINUTE - 1, &[0], false),
        (24 * HOUR - 15 * MINUTE, &[0, 1], true),
        (24 * HOUR - 1, &[0, 1], false),
        (24 * HOUR, &[1, 0], true),
        (24 * HOUR + 2 * MINUTE - 1, &[1, 0], false),
        (24 * HOUR + 2 * MINUTE, &[1], true),
        (48 * HOUR - 15 * MINUTE, &[1, 2], true),
        (48 * HOUR, &[2, 1], true),
    ];
    for (now, published, is_changed) in table {
        assert_eq!(process.advance(*now), *is_changed, "{now}");
        assert_eq!(process.published(), *published, "{now}");
        assert_eq!(*process.schedule.signing(), published[0], "{now}");
        assert!(process.schedule.next_change() > *now, "{now}");
    }
}

#[test]
fn a_late_process_publishes_first_and_signs_later() {
    let mut process = Process::new(HOUR, MINUTE);
    // Suspended for a day.
    process.advance(24 * HOUR);
    assert_eq!(process.published(), [0, 1], "not yet signing");
    assert_eq!(process.schedule.next_change(), 24 * HOUR + 15 * MINUTE);
    process.advance(24 * HOUR + 15 * MINUTE);
    assert_eq!(process.published(), [1, 0]);
}

#[test]
fn a_key_that_cannot_be_made_is_tried_for_again_and_the_old_one_signs_on() {
    let mut schedule = KeySchedule::new(rotation(HOUR, MINUTE), 0, 0);
    for now in [45 * MINUTE, HOUR, 2 * HOUR] {
        assert_eq!(
            schedule.advance(now, || Err("no random numbers")),
            Err("no random numbers")
        );
        assert_eq!(schedule.published().collect::<Vec<_>>(), [&0]);
    }
    assert_eq!(schedule.advance(3 * HOUR, || Ok::<_, &str>(1)), Ok(true));
    assert_eq!(schedule.published().collect::<Vec<_>>(), [&0, &1]);
}

#[test]
fn verifiers_may_keep_the_set_for_a_third_of_the_time_ahead() {
    for (period, seconds) in [
        (MINUTE, 10),
        (10 * MINUTE, 100),
        (HOUR, 300),
        (30 * 24 * HOUR, 300),
    ] {
        let rotation = rotation(period, MINUTE);
        assert_eq!(rotation.max_age_seconds(), seconds, "{period}");
    }
}

/// Verifiers that keep the set for as long as they may, and tokens that arrive as late as they
/// may: each is verified, at any time but the first moments, whenever the process does its work.
#[test]
fn no_token_ever_meets_a_verifier_that_lacks_its_key() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for (period, lifetime) in [
        (MINUTE, 5 * SECOND),
        (MINUTE, MINUTE),
        (10 * MINUTE, 10 * MINUTE),
        (HOUR, MINUTE),
        (24 * HOUR, 10 * MINUTE),
    ] {
        let max_age = rotation(period, lifetime).max_age_seconds() * SECOND;
        let mut process = Process::new(period, lifetime);
        let mut tokens: VecDeque<(u32, Millis)> = VecDeque::new();
        let (mut cached, mut cached_at) = (process.published(), 0);
        let (mut now, mut signed) = (0, 0);
        while *process.schedule.signing() < 20 {
            now += random.u64(1..=period / 40);
            // Mostly in time, sometimes late by up to two periods.
            if random.u32(..50) == 0 {
                now += random.u64(..2 * period);
            }
            process.advance(now);
            let published = process.published();
            assert!(published.len() <= 5, "{published:?}");
            if now - cached_at >= max_age {
                (cached, cached_at) = (published.clone(), now);
            }
            let signing = *process.schedule.signing();
            assert!(
                cached.contains(&signing),
                "{period}: key {signing} at {now}"
            );
            signed += 1;
            tokens.push_back((signing, now + lifetime));
            tokens.retain(|(_, end)| now < *end);
            for (key, end) in &tokens {
                assert!(
                    published.contains(key),
                    "{period}: key {key} until {end} at {now}"
                );
            }
        }
        assert!(signed > 20 * 5, "{signed}");
    }
}
