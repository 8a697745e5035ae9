//! The seeded simulation: one seed decides the server, its clients and all that goes wrong.
//!
//! `AHM_SIM_SEEDS=1000` runs more seeds, `AHM_SIM_SEED=7` one of them with its trace.

mod desk;
mod realm;
mod short_writes;
mod splits;
mod swarm;
