//! The real thing under faults: the binary, a publisher and many clients over TCP, with a proxy
//! between that resets, stalls, half-closes, delays, splits and cuts connections at random moments.
//!
//! `cargo test --test chaos` is short; `scripts/chaos` runs it for a minute with 500 clients.
//!
//! In the first run histories are long enough: nothing may be lost, repeated, out of order or
//! declared missing. In the second they are short and the cuts are longer: what is lost must be
//! what was declared, number by number. In the third each client reads from two servers that are
//! fed with the same numbers; one of them is killed and started again, and nobody misses anything.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod client;
mod faults;
mod feed;
mod ledger;
mod options;
mod pair;
mod proxy;
mod report;
mod run;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use ahm::reactor::rlimit;

use crate::faults::Profile;
use crate::options::Options;
use crate::run::Plan;

fn plans(options: &Options) -> Vec<Plan> {
    let Options { clients, seconds, seed, .. } = *options;
    // A run of a minute has so many faults that each is seen in many states, and still most of the
    // time goes by without one; a short run must be rougher to see any.
    let every = Duration::from_millis(if seconds < 20 { 1500 } else { 5000 });
    let stall_max = Duration::from_secs(3);
    let long = Plan {
        title: "run 1, long histories",
        clients,
        seconds,
        seed,
        rate: 12,
        servers: 1,
        profile: Profile { every, stall_max, holes: 2, gentle: false },
        history: 1_000_000,
        linger: 60_000,
        lossy: false,
    };
    let short = Plan {
        title: "run 2, short histories and longer cuts",
        profile: Profile { stall_max: stall_max * 2, holes: 25, ..long.profile },
        history: 8,
        linger: 1_000,
        lossy: true,
        ..long.clone()
    };
    let kill = Plan {
        title: "run 3, two servers, one of them killed and started again",
        servers: 2,
        profile: Profile { stall_max: Duration::from_millis(200), holes: 0, gentle: true, every },
        ..long.clone()
    };
    vec![long, short, kill]
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("chaos: {problem}");
            return ExitCode::from(2);
        }
    };
    ledger::check_the_ledger();
    audit::check_the_audit();
    let _ = rlimit::raise_open_files();
    let (mut passed, mut failed) = (0, 0);
    for (number, plan) in (1..).zip(plans(&options)) {
        if options.run.is_some_and(|run| run != number) {
            continue;
        }
        let report = run::run(&plan);
        println!("{report}");
        let violations = report.violations();
        for violation in violations.iter().take(20) {
            println!("VIOLATION: {violation}");
        }
        if violations.is_empty() { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
