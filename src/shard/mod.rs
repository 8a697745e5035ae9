//! The bridge: one thread that drives the protocol core with the reactor.
//!
//! [`turn`] is the loop, in seven steps; [`drive`] does what the core asks for; [`mail`] is what
//! shards and other threads send each other through a [`mailbox`].

mod accepting;
pub mod affinity;
pub mod asking;
pub mod budget;
pub mod drive;
pub mod guest;
pub mod leaving;
mod linking;
pub mod mail;
pub mod mailbox;
pub mod reading;
pub mod shaking;
pub mod turn;
pub mod turns;
mod upstreams;
pub mod wires;
