//! Several servers and real agents: every event is checked, and every failure is made small.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahm::testing::plan::Plan;
use ahm::testing::realm::Tally;
use ahm::testing::shrink::{attempt, shrink};

use crate::seeds::{failing, number, wanted};

const SEEDS: u64 = 192;
/// How long a failing run is made smaller.
const SHRINK: Duration = Duration::from_secs(40);
/// Failures that are made small; the rest are only named.
const SHRINKS_MAX: usize = 2;

#[test]
fn consumers_are_told_what_happened_and_nothing_else() {
    let seeds = wanted(SEEDS);
    let count = seeds.end - seeds.start;
    let (total, done) = (Mutex::new(Tally::default()), AtomicU64::new(0));
    let progress = number("AHM_SIM_PROGRESS").unwrap_or(0);
    let failed = failing(seeds, |seed| {
        let outcome = attempt(&Plan::new(seed), None, 0);
        let done = 1 + done.fetch_add(1, Ordering::Relaxed);
        if progress > 0 && done.is_multiple_of(progress) {
            println!("{done} of {count} seeds");
        }
        match outcome {
            Ok(tally) => total.lock().unwrap().add(&tally),
            Err(failure) => {
                println!("seed {seed}: {} ({})", failure.message, failure.check);
                return false;
            }
        }
        true
    });
    let total = *total.lock().unwrap();
    let seconds = total.time.as_secs();
    println!("{count} seeds, {seconds} s of virtual time, {} events checked", total.events);
    println!("{total:?}");
    for &seed in failed.iter().take(SHRINKS_MAX) {
        let plan = Plan::new(seed);
        if let Err(failure) = attempt(&plan, None, 0) {
            println!("\n--- {}", shrink(&plan, &failure, None, SHRINK));
        }
    }
    assert!(failed.is_empty(), "replay with AHM_SIM_SEED=n; seeds that failed: {failed:?}");
    if count >= SEEDS {
        // The run means something only if all of this happened.
        assert!(total.messages > 100_000 && total.duplicates > 50_000, "{total:?}");
        assert!(total.gaps > 500 && total.turns > 500 && total.folded > 5_000, "{total:?}");
        assert!(total.refreshes > 1_000 && total.sessions > 500, "{total:?}");
        assert!(total.sends > 10_000 && total.resends > 500, "{total:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 45] {
        let plan = Plan::new(seed);
        assert_eq!(attempt(&plan, None, 0), attempt(&plan, None, 0), "seed {seed}");
    }
}
