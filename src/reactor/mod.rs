//! Sockets, clock and waker, without any HTTP.
//!
//! Everything that asks the operating system for bytes, time or readiness goes through this floor,
//! so that the protocol core can run without any of it. The vocabulary is mio's: a source is
//! registered with a registry under a token and an event comes back. Which token means what is the
//! shard's own affair. Readiness is edge-triggered: whoever is told that a socket is ready goes on
//! until the socket would block, or remembers by itself that it did not.

pub mod beyond;
pub mod blocking;
pub mod clock;
pub mod dialer;
pub mod entry;
pub mod front;
mod front_files;
pub mod listener;
pub mod poller;
pub mod privileges;
pub mod process;
pub(crate) mod records;
pub mod rlimit;
pub mod signals;
pub mod tls;
pub mod tls_shake;
pub mod transport;
pub mod unix;
pub mod url;
