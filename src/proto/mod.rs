//! The whole server without sockets, clock, threads or randomness.

pub mod settings;
