//! Many seeds on all cores, and what the environment says about them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The seeds to run: one alone, or as many as asked for.
pub fn wanted(usual: u64) -> std::ops::Range<u64> {
    if let Some(only) = number("AHM_SIM_SEED") {
        return only..only + 1;
    }
    let from = number("AHM_SIM_FROM").unwrap_or(1);
    from..from + number("AHM_SIM_SEEDS").unwrap_or(usual)
}

/// Runs `each` for all seeds, on all cores; returns the seeds that failed, in order.
pub fn failing(seeds: std::ops::Range<u64>, each: impl Fn(u64) -> bool + Sync) -> Vec<u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if !each(seed) {
                        failed.lock().expect("a list").push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("a list");
    failed.sort_unstable();
    failed
}
