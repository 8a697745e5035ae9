//! A directory as a web server: what is behind the relay where there is no other.
//!
//! It speaks HTTP on a socket of its own, on a thread of its own, so that a disk that is slow holds
//! up no stream, and everything that holds for web servers behind us holds for it too. A request's
//! way: [`path`] finds the file, [`condition`] and [`range`] what of it is wanted, [`answer`] says
//! so; [`server`] sends it, piece by piece, as the reader takes it.

pub mod answer;
pub mod condition;
pub mod path;
pub mod range;
pub mod server;
