//! A running server on loopback, seen from outside.

mod documents;
mod requests;
mod support;
