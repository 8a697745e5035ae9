//! The command grammar and the protocol of record.

pub mod command;
pub mod control;
pub mod error;
pub mod fields;
pub mod open;
pub mod position;
pub mod protocol;
pub mod publish;
pub mod query;
pub mod resource;
pub mod resource_decode;
pub mod resource_encode;
