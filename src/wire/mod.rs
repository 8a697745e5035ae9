//! The command grammar and the protocol of record.
