//! The seeded simulation: one seed decides the servers, their clients and all that goes wrong.
//!
//! `AHM_SIM_SEEDS=1000` runs more seeds, `AHM_SIM_FROM=500` others, `AHM_SIM_SEED=7` one of them.

mod desk;
mod realm;
mod regressions;
mod sabotage;
mod seeds;
mod short_writes;
mod splits;
mod swarm;
