//! The bridge: one thread that drives the protocol core with the reactor.

pub mod affinity;
pub mod mailbox;
