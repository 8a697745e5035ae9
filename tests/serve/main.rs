//! A running server on loopback, seen from outside.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod access;
mod documents;
mod drain;
mod flush;
mod requests;
mod slow;
mod support;
