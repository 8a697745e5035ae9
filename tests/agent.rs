//! The client agent against scripted bytes, and against a small model server that cuts, restarts,
//! repeats, trims and stalls from one seed.
//!
//! A failing seed is printed; `AHM_SEED=17 cargo test --test agent` runs that one alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "agent/link.rs"]
mod link;
#[path = "agent/model.rs"]
mod model;
#[path = "agent/script.rs"]
mod script;
#[path = "agent/served.rs"]
mod served;
