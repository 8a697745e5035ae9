//! Many seeds, each a server with clients, publishers, and a bad network.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ahm::testing::swarm::Swarm;

use crate::seeds::{failing, wanted};

const SEEDS: u64 = 64;

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
    let failed = failing(wanted(SEEDS), |seed| match run(seed, false) {
        Ok(()) => true,
        Err(why) => {
            println!("seed {seed}: {why}");
            false
        }
    });
    if let Some(&seed) = failed.first() {
        println!("--- the last of seed {seed}:");
        let again = run(seed, true);
        println!("--- {again:?}");
    }
    assert!(failed.is_empty(), "replay with AHM_SIM_SEED=n; seeds that failed: {failed:?}");
}

/// The world's own mistake: a document tells of what another one asked for and was refused; come
/// late, it was taken for the refusal of what had been asked for since.
#[test]
fn a_refusal_counts_on_the_document_that_asked() {
    assert_eq!(run(6_763, false), Ok(()));
}
