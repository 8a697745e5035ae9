//! Many seeds, each a server with clients, publishers, and a bad network.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ahm::testing::swarm::Swarm;

const SEEDS: u64 = 64;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Whether the seed's story ends well; with `trace`, prints what came before the end.
fn run(seed: u64, trace: bool) -> bool {
    let mut swarm = Swarm::new(seed);
    if trace {
        swarm.world.keep_trace();
    }
    let passed = catch_unwind(AssertUnwindSafe(|| swarm.run())).is_ok();
    if trace && !passed {
        println!("{}", swarm.world.trace());
    }
    passed
}

#[test]
fn nothing_is_lost_repeated_or_out_of_order() {
    let first = number("AHM_SIM_SEED").unwrap_or(1);
    let count =
        if number("AHM_SIM_SEED").is_some() { 1 } else { number("AHM_SIM_SEEDS").unwrap_or(SEEDS) };
    let failed: Vec<u64> = (first..first + count).filter(|&seed| !run(seed, false)).collect();
    if let Some(&seed) = failed.first() {
        println!("--- the last of seed {seed}:");
        run(seed, true);
    }
    assert!(failed.is_empty(), "replay with AHM_SIM_SEED=n; seeds that failed: {failed:?}");
}
