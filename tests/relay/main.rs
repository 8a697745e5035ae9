//! A server before web servers that record what they see, on loopback.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod answers;
mod flow;
mod log;
mod mapping;
mod recorder;
mod requests;
mod root;
mod support;
mod ways;
