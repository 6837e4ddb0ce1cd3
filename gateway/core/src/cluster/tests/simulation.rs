//! The cluster's logic in simulated time: seeded, so that any failure can be replayed.
//!
//! Many requests go to an upstream whose endpoints come, go, fail in every way and recover, while
//! the clock jumps; after every step the rules below must hold. `SIMULATION_SEED=<n>` runs one
//! seed alone.

mod world;

use world::World;

/// Seeds that every run of the tests plays through.
const SEEDS: u64 = 256;
/// Events of one seed.
const STEPS: usize = 1_000;

#[test]
fn the_rules_hold_for_every_seed() {
    let chosen = std::env::var("SIMULATION_SEED").ok();
    let chosen = chosen.map(|seed| seed.parse().expect("SIMULATION_SEED is a number"));
    let mut totals = world::Seen::default();
    for seed in chosen.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        let played = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step();
            }
            world.end()
        });
        match played {
            Ok(seen) => totals.add(&seen),
            Err(cause) => {
                let rule = cause.downcast_ref::<String>().map_or("", String::as_str);
                panic!("{rule}; replay it with SIMULATION_SEED={seed}");
            }
        }
    }
    if chosen.is_none() {
        totals.check_that_all_was_seen();
    }
}
