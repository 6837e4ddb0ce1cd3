//! An upstream of limited capacity in simulated time, behind some workers: seeded, so that any
//! failure can be replayed.

mod world;

use crate::cluster::Priority;
use world::{Upstream, World};

use super::*;

/// Seeds that every load is played with.
const SEEDS: u64 = 4;
/// 50 requests at a time of 20 ms each: 2,500 a second.
const UPSTREAM: Upstream = Upstream {
    servers: 50,
    service_ms: 20.0,
};
const NORMAL: &[(Priority, f64)] = &[(Priority::Normal, 1.0)];

fn for_each_seed(play: impl Fn(u64)) {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        play(seed);
    }
}

/// The part of `whole` that this is.
#[expect(clippy::cast_precision_loss, reason = "counts of a test are small")]
fn share(part: u64, whole: f64) -> f64 {
    part as f64 / whole
}

#[test]
fn in_overload_goodput_stays_and_what_is_served_is_served_in_time() {
    println!("load | goodput | median | p99 | limit | without: goodput within 1 s");
    for load in [2.0, 3.0, 5.0] {
        for_each_seed(|seed| {
            let mut world = World::new(seed, UPSTREAM, load, NORMAL, 4);
            world.run(5);
            let limit = world.limit();
            let served = world.run(30);
            let goodput = share(served.count(), UPSTREAM.capacity() * 30.0);
            let (median, p99) = (served.quantile_ms(0.5), served.quantile_ms(0.99));
            let mut without = World::unlimited(seed, UPSTREAM, load, NORMAL, 4);
            without.run(5);
            let without = share(without.run(30).within_ms(1_000), UPSTREAM.capacity() * 30.0);
            println!(
                "{load} | {:.1} % | {median:.0} ms | {p99:.0} ms | {limit} | {:.1} %",
                goodput * 100.0,
                without * 100.0
            );
            assert!(goodput >= 0.9, "{load}, seed {seed}: {goodput}");
            assert!(
                median < 2.0 * UPSTREAM.service_ms,
                "{load}, seed {seed}: {median}"
            );
            assert!(
                p99 < 6.0 * UPSTREAM.service_ms,
                "{load}, seed {seed}: {p99}"
            );
            assert!(without < 0.1, "{load}, seed {seed}: {without}");
        });
    }
}

#[test]
fn fast_and_slow_small_and_large_upstreams_are_found_alike() {
    println!("servers | service | goodput | median | p99");
    for (servers, service_ms) in [(4, 5.0), (8, 1.0), (30, 500.0), (300, 100.0)] {
        for_each_seed(|seed| {
            let upstream = Upstream {
                servers,
                service_ms,
            };
            let mut world = World::new(seed, upstream, 3.0, NORMAL, 2);
            world.run(20);
            let served = world.run(30);
            let goodput = share(served.count(), upstream.capacity() * 30.0);
            let times = |quantile| served.quantile_ms(quantile) / service_ms;
            let (median, p99) = (times(0.5), times(0.99));
            println!(
                "{servers} | {service_ms} ms | {:.1} % | {median:.1} times | {p99:.1} times",
                goodput * 100.0
            );
            assert!(
                goodput >= 0.9,
                "{servers} {service_ms}, seed {seed}: {goodput}"
            );
            assert!(
                median < 4.0,
                "{servers} {service_ms}, seed {seed}: {median}"
            );
            assert!(p99 < 12.0, "{servers} {service_ms}, seed {seed}: {p99}");
        });
    }
}

#[test]
fn the_least_important_is_shed_first() {
    const MIX: &[(Priority, f64)] = &[
        (Priority::Critical, 0.2),
        (Priority::High, 0.1),
        (Priority::Normal, 0.3),
        (Priority::Low, 0.4),
    ];
    println!("load | critical | high | normal | low");
    for load in [1.5, 2.0, 3.0, 4.0] {
        for_each_seed(|seed| {
            let mut world = World::new(seed, UPSTREAM, load, MIX, 2);
            world.run(5);
            let served = world.run(30);
            let offered = UPSTREAM.capacity() * load * 30.0;
            let parts: Vec<f64> = MIX
                .iter()
                .map(|(priority, part)| share(served.of(*priority), offered * part))
                .collect();
            let percent: Vec<_> = parts
                .iter()
                .map(|it| format!("{:.1} %", it * 100.0))
                .collect();
            println!("{load} | {}", percent.join(" | "));
            for pair in parts.windows(2) {
                assert!(pair[0] >= pair[1] - 0.02, "{load}, seed {seed}: {parts:?}");
            }
            assert!(parts[0] > 0.9, "{load}, seed {seed}: {parts:?}");
            let all = share(served.count(), UPSTREAM.capacity() * 30.0);
            assert!(all >= 0.9, "{load}, seed {seed}: {all}");
        });
    }
}

#[test]
fn when_capacity_goes_and_comes_back_goodput_is_back_within_seconds() {
    for_each_seed(|seed| {
        let mut world = World::new(seed, UPSTREAM, 2.0, NORMAL, 2);
        world.run(10);
        let tenth = Upstream {
            servers: 5,
            ..UPSTREAM
        };
        world.change(tenth);
        world.run(5);
        let served = world.run(10);
        let goodput = share(served.count(), tenth.capacity() * 10.0);
        assert!(goodput >= 0.9, "seed {seed}: {goodput} of a tenth");
        let p99 = served.quantile_ms(0.99);
        assert!(p99 < 12.0 * tenth.service_ms, "seed {seed}: {p99} ms");
        world.change(UPSTREAM);
        world.run(3);
        let goodput = share(world.run(10).count(), UPSTREAM.capacity() * 10.0);
        println!("{:.1} % from 3 s after capacity came back", goodput * 100.0);
        assert!(goodput >= 0.9, "seed {seed}: {goodput}");
    });
}

#[test]
fn an_upstream_that_becomes_slower_without_a_queue_is_not_starved() {
    for_each_seed(|seed| {
        let mut world = World::new(seed, UPSTREAM, 0.8, NORMAL, 2);
        world.run(10);
        // Five times slower, and as many more at a time.
        world.change(Upstream {
            servers: 250,
            service_ms: 100.0,
        });
        world.run(5);
        let shed = world.shed();
        let served = world.run(60);
        let goodput = share(served.count(), 0.8 * UPSTREAM.capacity() * 60.0);
        println!(
            "{:.2} % of what was offered from 5 s after",
            goodput * 100.0
        );
        assert!(
            goodput > 0.98,
            "seed {seed}: {goodput}, shed {}",
            world.shed() - shed
        );
    });
}

#[test]
fn a_base_that_is_far_too_low_starves_nobody() {
    for_each_seed(|seed| {
        for load in [0.8, 2.0] {
            let mut world = World::new(seed, UPSTREAM, load, NORMAL, 2);
            world.run(5);
            // For a second all is answered from some cache.
            world.change(Upstream {
                servers: 50,
                service_ms: 0.2,
            });
            world.run(1);
            world.change(UPSTREAM);
            world.run(3);
            let most = UPSTREAM.capacity() * f64::min(load, 1.0);
            let goodput = share(world.run(30).count(), most * 30.0);
            println!("load {load}: {:.1} %", goodput * 100.0);
            assert!(goodput >= 0.9, "{load}, seed {seed}: {goodput}");
        }
    });
}

#[test]
fn a_start_into_overload_finds_the_base_all_the_same() {
    for_each_seed(|seed| {
        let small = Upstream {
            servers: 4,
            service_ms: 20.0,
        };
        let mut world = World::new(seed, small, 5.0, NORMAL, 1);
        world.run(10);
        let served = world.run(60);
        let goodput = share(served.count(), small.capacity() * 60.0);
        let median = served.quantile_ms(0.5);
        println!("{:.1} %, median {median:.0} ms", goodput * 100.0);
        assert!(goodput >= 0.9, "seed {seed}: {goodput}");
        assert!(median < 3.0 * small.service_ms, "seed {seed}: {median}");
    });
}

#[test]
fn nothing_is_shed_where_there_is_no_overload() {
    for_each_seed(|seed| {
        for load in [0.1, 0.5, 0.8] {
            let mut world = World::new(seed, UPSTREAM, load, NORMAL, 2);
            world.run(5);
            let before = world.shed();
            world.run(60);
            let shed = world.shed() - before;
            let offered = UPSTREAM.capacity() * load * 60.0;
            println!("load {load}: {shed} of {offered}");
            assert!(share(shed, offered) < 0.001, "{load}, seed {seed}: {shed}");
        }
    });
}

#[test]
fn an_upstream_that_hangs_gets_less_and_all_of_it_again_when_it_is_back() {
    for_each_seed(|seed| {
        let mut world = World::new(seed, UPSTREAM, 1.2, NORMAL, 2);
        world.run(10);
        let before = world.limit();
        world.hang(true);
        world.run(60);
        let hanging = world.limit();
        world.hang(false);
        world.run(5);
        let goodput = share(world.run(10).count(), UPSTREAM.capacity() * 10.0);
        println!(
            "{before}, {hanging} while it hung, {:.1} % after",
            goodput * 100.0
        );
        assert!(hanging < before / 2, "seed {seed}: {hanging}");
        assert!(goodput >= 0.9, "seed {seed}: {goodput}");
    });
}

#[test]
fn the_limit_stays_within_its_bounds() {
    for (min, max, is_hanging, expected) in [(5, 9, false, 9), (30, 1_000, true, 30)] {
        let rules = AdaptiveRules {
            min,
            max,
            initial: min,
            ..AdaptiveRules::default()
        };
        let mut world = World::with_rules(1, rules, UPSTREAM, 3.0, NORMAL, 1);
        world.run(5);
        world.hang(is_hanging);
        world.run(60);
        assert_eq!(world.limit(), expected, "{rules:?}");
    }
}
