//! The whole server without sockets, clock, threads or randomness.
//!
//! [`hub`] is the way in. A message's way: [`publishing`] takes it, [`topic`] holds its [`log`] of
//! [`run`]s, [`follow`] seals the turn's run and passes it to other shards, [`flushing`] says when
//! a document is to be written, [`pull`] gathers it for a document, [`transmit`] writes it. A
//! command's way: [`intake`] finds the request, [`routes`] says where it goes, [`commands`] carries
//! it out, [`exchange`] gives out the answer in its turn; one that comes as a line goes through
//! [`lines`] instead of the first two. Where clients prove who they are, the porter finds that out
//! before. Where there are web servers, whatever is no command goes there by [`relaying`].

pub mod access;
pub mod answer;
pub mod asking;
pub mod beating;
mod belonging;
pub mod commands;
pub mod connection;
pub mod control;
pub mod delivering;
pub mod directory;
pub mod document;
mod entering;
pub mod exchange;
pub mod flushing;
pub mod follow;
pub mod head;
pub mod history;
pub mod home;
pub mod hub;
pub mod inbox;
pub mod intake;
mod invariants;
pub mod leaving;
pub mod limiting;
pub mod limits;
pub mod lines;
pub mod linked;
pub mod log;
pub mod measures;
pub mod metrics;
pub mod opening;
mod opening_failed;
pub mod output;
pub mod parcel;
pub mod polling;
mod porter;
pub mod private;
pub mod publishing;
pub mod pull;
pub mod relaying;
pub mod remote;
mod remote_access;
mod remote_news;
mod remote_sends;
pub mod resource;
pub mod routes;
mod ruled;
pub mod ruling;
pub mod run;
pub mod scratch;
pub mod seal_counts;
pub mod sealing;
mod secured;
pub mod session;
pub mod sessions;
pub mod settings;
pub mod stalled;
pub mod stats;
pub mod streaming;
pub mod timer;
pub mod token;
pub mod topic;
pub mod transmit;
pub mod waking;

#[cfg(test)]
mod tests;
