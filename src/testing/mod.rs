//! The seeded world of the simulation: hubs with a virtual clock, a bad network, scripted clients,
//! and a shadow model that knows what each may see. One seed decides everything.
//!
//! [`swarm`] is the way in.

pub mod actions;
pub mod answers;
pub mod channel;
pub mod decode;
pub mod document;
pub mod frames;
pub mod lines;
pub mod model;
pub mod net;
pub mod peer;
pub mod probe;
pub mod publisher;
pub mod reader;
pub mod requests;
pub mod sends;
pub mod swarm;
pub mod world;
