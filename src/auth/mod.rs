//! Who a client is and what it may read, without sockets, threads or sessions.

pub mod access;
pub mod answer;
pub mod basic;
pub mod certificate;
pub mod evidence;
pub mod guard;
pub mod htpasswd;
pub mod identity;
pub mod list;
pub mod office;
pub mod passes;
pub mod pattern;
pub mod proved;
pub mod rule;
pub mod secret;
pub mod token;
pub mod token_key;
pub mod verdict;

#[cfg(test)]
mod tests;
