//! Publisher side: the resources that ship with the server, and the publisher client.

pub mod batch;
pub mod board;
pub mod caller;
pub mod consumer;
pub mod consumer_builder;
pub mod deal;
pub mod driver;
pub mod driver_door;
mod driver_edge;
pub mod driver_loop;
pub mod driver_work;
pub mod echo;
pub mod feed;
pub mod inbox;
pub mod outcome;
pub mod post;
mod post_connect;
pub mod protection;
pub mod publisher;
pub mod publisher_builder;
pub mod single;
