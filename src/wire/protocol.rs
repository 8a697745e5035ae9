//! The protocol of record: the contract between communication server, clients and resources.
#![doc = include_str!("protocol.md")]
