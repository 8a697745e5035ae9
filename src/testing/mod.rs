//! The seeded world of the simulation: hubs with a virtual clock, a bad network, scripted clients,
//! and a shadow model that knows what each may see. One seed decides everything.
//!
//! [`swarm`] is the way in.

pub mod actions;
pub mod answers;
pub mod cable;
pub mod caller;
pub mod carriage;
pub mod channel;
pub mod consumer;
pub mod decode;
pub mod deed;
pub mod document;
pub mod frames;
pub mod gateway;
pub mod house;
pub mod inbound;
pub mod keyring;
pub mod ledger;
pub mod lines;
pub mod model;
pub mod net;
pub mod network;
pub mod news;
pub mod offices;
pub mod peer;
pub mod phrase;
pub mod pilot;
pub mod plan;
pub mod probe;
pub mod publisher;
pub mod reader;
pub mod realm;
pub mod requests;
pub mod sabotage;
pub mod schedule;
pub mod sends;
pub mod shadow;
pub mod shrink;
pub mod site;
pub mod source;
pub mod swarm;
pub mod switchboard;
pub mod tamper;
pub mod trace;
pub mod world;
mod writing;
