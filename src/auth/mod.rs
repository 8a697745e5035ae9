//! Who a client is and what it may read, without sockets, threads or sessions.

pub mod access;
pub mod certificate;
pub mod identity;
pub mod list;
pub mod pattern;
pub mod rule;

#[cfg(test)]
mod tests;
