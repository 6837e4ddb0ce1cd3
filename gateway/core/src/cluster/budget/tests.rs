use super::*;

const PERCENT: u32 = 20;
const RESERVE: u32 = 3;
const SEEDS: u64 = 32;
/// Tries that a request gets where there is a budget for them.
const TRIES_MAX: u64 = 3;

/// What an upstream got: requests, and retries beside them.
#[derive(Debug, Default)]
struct Load {
    offered: u64,
    retries: u64,
}

impl Load {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn amplification(&self) -> f64 {
        (self.offered + self.retries) as f64 / self.offered as f64
    }

    /// One request, which fails while the upstream is down, each try at once.
    fn send(&mut self, budget: Option<&RetryBudget>, now: Millis, is_down: bool) {
        self.offered += 1;
        if let Some(budget) = budget {
            budget.deposit(PERCENT, now);
        }
        let wanted = if is_down { TRIES_MAX - 1 } else { 0 };
        for _ in 0..wanted {
            if !budget.is_none_or(|budget| budget.withdraw(RESERVE, now)) {
                break;
            }
            self.retries += 1;
        }
    }
}

/// Sends requests at an even rate, each at some moment of its step.
fn send(
    budget: Option<&RetryBudget>,
    random: &mut fastrand::Rng,
    rate: u64,
    seconds: std::ops::Range<u64>,
    is_down: bool,
) -> Load {
    let mut load = Load::default();
    for nth in 0..rate * (seconds.end - seconds.start) {
        let (begins, ends) = (1000 * nth / rate, 1000 * (nth + 1) / rate);
        let now = seconds.start * 1000 + random.u64(begins..ends.max(begins + 1));
        load.send(budget, now, is_down);
    }
    load
}

#[test]
fn an_outage_after_good_hours_is_met_with_a_fifth_more_than_is_offered_and_the_reserve() {
    println!("requests/s | seconds down | most tries per request | without a budget");
    for rate in [1, 10, 100, 1_000] {
        for down in [10, 60] {
            let mut most = 0.0_f64;
            for seed in 0..SEEDS {
                let mut random = fastrand::Rng::with_seed(seed);
                // More than two seconds are saved by nobody; the first seed shows it.
                let good = if seed == 0 { 3_600 } else { 60 };
                let budget = RetryBudget::default();
                let before = send(Some(&budget), &mut random, rate, 0..good, false);
                assert_eq!(before.retries, 0);
                let outage = send(Some(&budget), &mut random, rate, good..good + down, true);
                let share = outage.offered * u64::from(PERCENT) / 100;
                assert!(
                    outage.retries <= share + u64::from(RESERVE),
                    "seed {seed}, {rate}/s, {down} s: {outage:?}"
                );
                most = most.max(outage.amplification());
            }
            let mut random = fastrand::Rng::with_seed(0);
            let without = send(None, &mut random, rate, 0..down, true).amplification();
            println!("{rate:>10} | {down:>12} | {most:.3} | {without:.3}");
            // Nor is it much less: the budget is there to be used.
            assert!(most > 1.16, "{rate}/s, {down} s: {most}");
            assert!(without > 2.9);
        }
    }
}

#[test]
fn whatever_the_traffic_retries_are_a_share_of_it_in_any_span() {
    const STEP_MS: usize = 100;
    const STEPS: usize = 600;
    for seed in 0..SEEDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let budget = RetryBudget::default();
        // Sums up to each step, so that a span is a difference.
        let mut sums = vec![(0, 0)];
        let (mut load, mut rate, mut is_down) = (Load::default(), 0, false);
        for step in 0..STEPS {
            if random.u32(..20) == 0 {
                rate = [0, 0, 1, 3, 40][random.usize(..5)];
                is_down = random.bool();
            }
            let count = if rate == 0 { 0 } else { random.usize(..=rate) };
            for nth in 0..count {
                let now = STEP_MS * step + STEP_MS * nth / count;
                load.send(Some(&budget), now as Millis, is_down);
            }
            sums.push((load.offered, load.retries));
        }
        let saved_steps = 2 * 1000 / STEP_MS;
        for begins in 0..STEPS {
            for ends in begins + 1..=STEPS {
                let counted = sums[ends].0 - sums[begins.saturating_sub(saved_steps)].0;
                let retries = sums[ends].1 - sums[begins].1;
                let most = counted * u64::from(PERCENT) * 10 / 1_200 + u64::from(RESERVE);
                assert!(
                    retries <= most,
                    "seed {seed}, steps {begins} to {ends}: {retries}"
                );
            }
        }
    }
}

#[test]
fn an_upstream_with_little_traffic_has_its_reserve_until_that_is_paid_back() {
    let budget = RetryBudget::default();
    let granted = |now| (0..10).filter(|_| budget.withdraw(RESERVE, now)).count();
    assert_eq!(granted(0), RESERVE as usize);
    // Time alone brings nothing.
    assert_eq!(granted(3_600_000), 0);
    // Eighteen requests bring three retries, however far apart they come.
    let minutes = (61..=78).map(|minute| {
        let now = minute * 60_000;
        budget.deposit(PERCENT, now);
        now
    });
    let last = minutes.last().unwrap();
    assert_eq!(granted(last), RESERVE as usize);
}

#[test]
fn without_a_reserve_only_what_requests_brought_is_spent() {
    let budget = RetryBudget::default();
    assert!(!budget.withdraw(0, 0));
    for _ in 0..6 {
        budget.deposit(PERCENT, 0);
    }
    assert!(budget.withdraw(0, 0));
    assert!(!budget.withdraw(0, 0));
    // Nothing, ever, where a share of 0 is asked for.
    for now in 0..100 {
        budget.deposit(0, now);
        assert!(!budget.withdraw(0, now));
    }
}

#[test]
fn savings_expire() {
    let table = [(999, true), (1_999, true), (2_000, false), (60_000, false)];
    for (now, is_granted) in table {
        let budget = RetryBudget::default();
        budget.deposit(100, 0);
        budget.deposit(100, 0);
        assert_eq!(budget.withdraw(0, now), is_granted, "{now}");
    }
}
