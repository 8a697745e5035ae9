//! The list of HTTP pitfalls that the tests name by number.
#![doc = ""]
#![doc = include_str!("http_pitfalls.md")]
