//! Consumer side: the client agent without sockets, its link over TCP.

pub mod agent;
pub mod answer;
pub mod calls;
pub mod channel;
pub mod consumer;
pub mod document;
pub mod event;
pub mod frames;
pub mod lane;
pub mod link;
pub mod merge;
pub mod outbox;
pub mod pipe;
pub mod schedule;
pub mod session;
pub mod settings;
pub mod track;
