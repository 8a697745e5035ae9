//! Several servers and real agents.

use std::time::Duration;

use ahm::testing::plan::Plan;
use ahm::testing::realm::Tally;
use ahm::testing::shrink::{attempt, shrink};

#[test]
fn probe() {
    let number = |name: &str, or: u64| std::env::var(name).ok().map_or(or, |t| t.parse().unwrap());
    let (from, seeds, small) = (number("FROM", 1), number("SEEDS", 32), number("SHRINK", 0));
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for seed in from..from + seeds {
        let plan = Plan::new(seed);
        match attempt(&plan, None, 0) {
            Ok(tally) => total.add(&tally),
            Err(failure) => {
                failed.push(seed);
                if small > 0 {
                    let shrunk = shrink(&plan, &failure, None, Duration::from_secs(small));
                    println!("{shrunk}\n");
                    if number("FULL", 0) > 0 {
                        let again = attempt(&shrunk.plan, None, 3000);
                        println!("{}", again.unwrap_err().trace);
                    }
                } else {
                    println!("seed {seed}: {} {} {}", failure.check, failure.message, failure.who);
                }
            }
        }
    }
    println!("{total:?}");
    assert!(failed.is_empty(), "{failed:?}");
}
