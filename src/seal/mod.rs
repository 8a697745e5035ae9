//! The session seal: what is said between client and server, readable and changeable by nobody
//! between them, whatever carries it (section 5 of `wire::protocol`).
//!
//! A session has a [`Secret`](key::Secret), of which every key is derived: one for each document
//! ([`mod@line`]), one for the payloads of commands and two for what proves commands and answers
//! ([`mac`]). What a key was used for once it is never used for again: documents have numbers that
//! no other has, lines and commands are counted ([`replay`]).

pub mod cipher;
pub mod key;
pub mod line;
pub mod mac;
pub mod replay;
mod wiped;
