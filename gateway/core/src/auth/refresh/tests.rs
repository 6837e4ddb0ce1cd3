use super::*;

const POLICY: RefreshPolicy = RefreshPolicy {
    interval: 300_000,
    interval_min: 30_000,
    interval_max: 3_600_000,
    cooldown_min: 1_000,
    cooldown_max: 4_000,
};
/// The draws that give the longest and the shortest pauses.
const LONGEST: u64 = 0;
const SHORTEST: u64 = u64::MAX;

fn due(refresh: &Refresh) -> Millis {
    refresh.next_fetch().expect("nothing is under way")
}

#[test]
fn an_answer_holds_for_as_long_as_it_says_within_the_bounds() {
    for (max_age, longest) in [
        (None, 300_000),
        (Some(0), 30_000),
        (Some(29_999), 30_000),
        (Some(60_000), 60_000),
        (Some(3_600_001), 3_600_000),
        (Some(Millis::MAX), 3_600_000),
    ] {
        for (random, expected) in [(LONGEST, longest), (SHORTEST, longest - longest / 10 + 1)] {
            let mut refresh = Refresh::new(POLICY, 0);
            refresh.begin(0);
            refresh.fetched(100, max_age, true, random);
            assert_eq!(due(&refresh), 100 + expected, "{max_age:?}");
        }
    }
}

#[test]
fn pauses_after_failures_double_up_to_a_bound_and_begin_anew_after_a_success() {
    let mut refresh = Refresh::new(POLICY, 0);
    for longest in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        refresh.begin(0);
        refresh.failed(0, LONGEST);
        assert_eq!(due(&refresh), longest);
    }
    for _ in 0..100 {
        refresh.begin(0);
        refresh.failed(0, SHORTEST);
        assert_eq!(due(&refresh), 15_001);
    }
    assert_eq!(refresh.failures(), 107);
    refresh.begin(0);
    refresh.fetched(0, None, false, LONGEST);
    refresh.begin(0);
    refresh.failed(0, LONGEST);
    assert_eq!(due(&refresh), 1_000);
}

#[test]
fn a_wanted_key_is_looked_for_at_once_unless_a_reading_has_just_ended() {
    let mut refresh = Refresh::new(POLICY, 0);
    refresh.begin(0);
    refresh.fetched(0, None, true, LONGEST);
    refresh.wanted(500);
    assert_eq!(due(&refresh), 1_000, "within the cooldown");
    assert_eq!(refresh.begin(1_000), Trigger::UnknownKey);
    refresh.fetched(1_000, None, true, LONGEST);
    assert_eq!(
        due(&refresh),
        301_000,
        "all that was wanted has been answered"
    );
    refresh.wanted(200_000);
    assert!(due(&refresh) <= 200_000);
}

#[test]
fn a_failure_is_followed_by_a_cooldown_too() {
    let mut refresh = Refresh::new(POLICY, 0);
    for _ in 0..6 {
        refresh.begin(0);
        refresh.failed(0, LONGEST);
    }
    assert_eq!(due(&refresh), 30_000);
    refresh.wanted(10);
    assert_eq!(due(&refresh), 1_000, "wanted keys wait for no long backoff");
    assert_eq!(refresh.begin(1_000), Trigger::UnknownKey);
    refresh.failed(1_000, LONGEST);
    refresh.wanted(1_001);
    assert_eq!(due(&refresh), 3_000);
}

#[test]
fn the_cooldown_doubles_while_keys_are_wanted_in_vain() {
    let mut refresh = Refresh::new(POLICY, 0);
    refresh.begin(0);
    refresh.fetched(0, None, true, LONGEST);
    let mut now = 0;
    for cooldown in [1_000, 2_000, 4_000, 4_000] {
        refresh.wanted(now);
        assert_eq!(due(&refresh), now + cooldown);
        now += cooldown;
        refresh.begin(now);
        refresh.fetched(now, None, false, LONGEST);
    }
    // A change ends it.
    refresh.wanted(now);
    now += 4_000;
    refresh.begin(now);
    refresh.fetched(now, None, true, LONGEST);
    refresh.wanted(now);
    assert_eq!(due(&refresh), now + 1_000);
    // So does a minute in which nothing was wanted.
    for _ in 0..4 {
        refresh.begin(now);
        refresh.fetched(now, None, false, LONGEST);
        refresh.wanted(now);
    }
    assert_eq!(due(&refresh), now + 4_000);
    refresh.begin(now);
    refresh.fetched(now, None, false, LONGEST);
    let later = now + COOLDOWN_MEMORY;
    refresh.wanted(later);
    assert_eq!(refresh.cooldown, 1_000);
    assert!(due(&refresh) <= later);
}

#[test]
fn a_key_wanted_during_a_reading_gets_the_next_one() {
    let mut refresh = Refresh::new(POLICY, 0);
    refresh.begin(0);
    refresh.wanted(50);
    assert_eq!(refresh.next_fetch(), None, "one at a time");
    refresh.fetched(100, None, false, LONGEST);
    assert_eq!(due(&refresh), 1_100);
    assert_eq!(refresh.begin(1_100), Trigger::UnknownKey);
}

#[test]
fn a_reading_that_is_due_anyway_is_no_answer_to_a_wanted_key() {
    let mut refresh = Refresh::new(POLICY, 0);
    refresh.wanted(0);
    assert_eq!(refresh.begin(0), Trigger::Refresh);
    refresh.fetched(0, None, false, LONGEST);
    assert_eq!(refresh.cooldown, 1_000);
}

/// Hours of a provider that answers, fails and changes as chance has it, and of requests that
/// want keys in bursts.
#[test]
fn whatever_happens_readings_are_apart_and_nobody_waits_for_long() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut refresh = Refresh::new(POLICY, 0);
        let (mut now, mut last_end, mut fetches) = (0, None, 0_u64);
        let mut wanted_since = None;
        while now < 6 * 3_600_000 {
            let next = due(&refresh);
            // A request may come before.
            if random.u8(..) < 100 {
                let comes = now + random.u64(0..20_000);
                if comes < next {
                    now = comes;
                    refresh.wanted(now);
                    wanted_since = wanted_since.or(Some(now));
                    continue;
                }
            }
            now = now.max(next);
            let trigger = refresh.begin(now);
            fetches += 1;
            let rest = last_end.map_or(Millis::MAX, |end| now - end);
            let rest_min = match trigger {
                Trigger::Refresh => BACKOFF_MIN / 2,
                Trigger::UnknownKey => POLICY.cooldown_min,
            };
            assert!(
                rest >= rest_min,
                "seed {seed} at {now}: {rest} ms after the last"
            );
            assert!(
                last_end.is_none() || rest <= POLICY.interval_max,
                "seed {seed} at {now}: {rest} ms without a reading"
            );
            if let Some(since) = wanted_since.take() {
                let from = last_end.map_or(since, |end: Millis| end.max(since));
                assert!(
                    now - from <= POLICY.cooldown_max,
                    "seed {seed}: wanted at {since}, read at {now}"
                );
            }
            // Requests come while it is under way.
            if random.u8(..) < 50 {
                refresh.wanted(now);
                wanted_since = Some(now);
            }
            assert_eq!(refresh.next_fetch(), None, "seed {seed}: one at a time");
            now += random.u64(1..5_000);
            last_end = Some(now);
            if random.u8(..) < 120 {
                refresh.failed(now, random.u64(..));
            } else {
                let max_age = random.bool().then(|| random.u64(0..10_000_000));
                refresh.fetched(now, max_age, random.u8(..) < 20, random.u64(..));
            }
        }
        let most = 6 * 3_600_000 / (BACKOFF_MIN / 2);
        assert!(fetches < most, "seed {seed}: {fetches} readings");
    }
}
