//! Many seeds, each a server with clients, publishers, and a bad network.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ahm::testing::swarm::Swarm;

const SEEDS: u64 = 64;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Tells the seed's story; why it ended badly, if it did, with the last of the trace if wanted.
fn run(seed: u64, trace: bool) -> Result<(), String> {
    let mut swarm = Swarm::new(seed);
    if trace {
        swarm.world.keep_trace();
    }
    catch_unwind(AssertUnwindSafe(|| swarm.run())).map_err(|why| {
        if trace {
            println!("{}", swarm.world.trace());
        }
        let text = why.downcast_ref::<String>().cloned();
        let text = text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_string()));
        text.unwrap_or_default()
    })
}

#[test]
fn nothing_is_lost_repeated_or_out_of_order() {
    let only = number("AHM_SIM_SEED");
    let count = if only.is_some() { 1 } else { number("AHM_SIM_SEEDS").unwrap_or(SEEDS) };
    let first = only.unwrap_or(1);
    let mut failed = Vec::new();
    for seed in first..first + count {
        if let Err(why) = run(seed, false) {
            println!("seed {seed}: {why}");
            failed.push(seed);
        }
    }
    if let Some(&seed) = failed.first() {
        println!("--- the last of seed {seed}:");
        let again = run(seed, true);
        println!("--- {again:?}");
    }
    assert!(failed.is_empty(), "replay with AHM_SIM_SEED=n; seeds that failed: {failed:?}");
}
