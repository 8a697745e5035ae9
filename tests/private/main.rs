//! The private listener of a running server: who may come in, what it may do, and the sessions that
//! a web server makes there.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

#[path = "../tls/authority.rs"]
mod authority;
mod control;
mod rights;
mod secrets;
mod support;
mod tls;
