//! The client agent against scripted bytes, and against a small model server that cuts, restarts,
//! repeats, trims and stalls from one seed.
//!
//! A failing seed is printed; `AHM_SEED=17 cargo test --test agent` runs that one alone, and
//! `AHM_SEEDS=4000` so many from the first.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "agent/desk.rs"]
mod desk;
#[path = "agent/duplicates.rs"]
mod duplicates;
#[path = "agent/link.rs"]
mod link;
#[path = "agent/login.rs"]
mod login;
#[path = "agent/model.rs"]
mod model;
#[path = "agent/routes.rs"]
mod routes;
#[path = "agent/script.rs"]
mod script;
#[path = "agent/sealed.rs"]
mod sealed;
#[path = "agent/served.rs"]
mod served;
