//! Consumer side: the client agent without sockets, its link over TCP.

pub mod agent;
pub mod answer;
mod arrange;
pub mod calls;
pub mod channel;
pub mod consumer;
pub mod document;
pub mod event;
pub(crate) mod flight;
pub mod frames;
mod holding;
pub mod lane;
pub mod leg;
mod line;
pub mod link;
pub mod merge;
pub mod outbox;
pub mod pipe;
pub mod raw;
pub mod reader;
pub mod schedule;
mod sends;
pub mod session;
pub mod settings;
mod sites;
mod stream;
pub mod track;
