//! Who a client is and what it may read, without sockets, threads or sessions.

pub mod certificate;
pub mod identity;
pub mod passes;
pub mod pattern;
