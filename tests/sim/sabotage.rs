//! The checks can fail: each deliberate fault is found, and a failing run is made small.

use std::time::Duration;

use ahm::testing::deed::What;
use ahm::testing::plan::Plan;
use ahm::testing::sabotage::Sabotage;
use ahm::testing::shrink::{attempt, shrink};

/// Seeds within which a deliberate fault must be found.
const SEEDS: u64 = 12;

/// The first seed whose run fails with the sabotage, and not without it.
fn caught(sabotage: Sabotage) -> Option<(u64, String)> {
    (1..=SEEDS).find_map(|seed| {
        let plan = Plan::new(seed);
        let failure = attempt(&plan, Some(sabotage), 0).err()?;
        attempt(&plan, None, 0).is_ok().then_some((seed, failure.message))
    })
}

#[test]
fn every_deliberate_fault_is_found() {
    for sabotage in Sabotage::ALL {
        let found = caught(sabotage);
        println!("{sabotage:?}: {found:?}");
        assert!(found.is_some(), "{sabotage:?} was not found within {SEEDS} seeds");
    }
}

#[test]
fn a_failing_run_is_made_small() {
    let failing = |seed| {
        let plan = Plan::new(seed);
        let failure = attempt(&plan, Some(Sabotage::WrongCheck), 0).err()?;
        Some((plan, failure))
    };
    let (plan, failure) = (1..).find_map(failing).unwrap();
    assert_eq!(failure.message, "a third cut");
    let small = shrink(&plan, &failure, Some(Sabotage::WrongCheck), Duration::from_secs(60));
    let deeds = &small.plan.deeds;
    assert_eq!(deeds.len(), 3, "{small}");
    assert!(deeds.iter().all(|deed| matches!(deed.what, What::Cut { .. })), "{small}");
    assert!(small.runs < 200, "{small}");
    assert!(small.to_string().lines().count() < 20, "{small}");
}
