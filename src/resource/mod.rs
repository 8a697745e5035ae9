//! Publisher side: the resources that ship with the server, and the publisher client.

pub mod board;
pub mod echo;
pub mod feed;
