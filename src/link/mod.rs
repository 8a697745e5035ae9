//! The resource protocol's connections and what sits at their ends, without sockets, clock and
//! threads: resource servers, registries, and the servers that consume.
//!
//! [`links`] keeps the connections of one process, [`peer`] is one of them, [`greeting`] how it
//! begins; [`station`] is what every end of them has in common, and what drives it. [`registry`] is
//! where instances of resources are found, [`balance`] how one of them is chosen; [`source`] is a
//! resource server, for which a [`handler`] decides; [`upstream`] consumes them, and tells
//! [`news`].

pub mod address;
pub mod balance;
pub mod greeting;
mod guesses;
mod guests;
pub mod handle;
pub mod handler;
mod instances;
pub mod links;
mod listing;
pub mod news;
pub mod peer;
pub mod registry;
pub mod registry_book;
mod seeking;
pub mod source;
mod source_dial;
pub mod source_error;
mod source_lane;
pub mod source_log;
mod source_open;
mod source_parts;
mod source_pull;
pub mod source_settings;
pub mod source_topic;
pub mod station;
pub mod upstream;
