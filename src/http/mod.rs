//! HTTP/1.1 on httparse: heads, bodies, chunks, answers. Pure functions on byte slices; the
//! sockets are elsewhere. What httparse lets pass and RFC 9112 does not is refused here.

pub mod body;
pub mod chunk;
pub mod date;
pub mod exchange;
pub mod head;
pub mod proxy;
pub mod request;
pub mod response;
pub mod status;
pub mod target;
