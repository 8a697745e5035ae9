//! Tmp.
use std::time::Duration;
use ahm::testing::plan::Plan;
use ahm::testing::shrink::{attempt, shrink};
#[test]
fn probe() {
    let number = |name: &str, or: u64| std::env::var(name).ok().map_or(or, |t| t.parse().unwrap());
    let (from, seeds, small) = (number("FROM", 1), number("SEEDS", 32), number("SHRINK", 0));
    for seed in from..from + seeds {
        let plan = Plan::new(seed);
        if let Err(failure) = attempt(&plan, None, 0) {
            if small > 0 {
                let shrunk = shrink(&plan, &failure, None, Duration::from_secs(small));
                println!("{shrunk}\n");
                if number("FULL", 0) > 0 {
                    println!("{}", attempt(&shrunk.plan, None, 3000).unwrap_err().trace);
                }
            } else {
                println!("seed {seed}: {} {} {}", failure.check, failure.message, failure.who);
            }
        }
    }
}
