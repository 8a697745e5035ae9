//! The command grammar and the protocol of record.

pub mod command;
pub mod error;
pub mod open;
pub mod position;
pub mod protocol;
pub mod publish;
pub mod query;
