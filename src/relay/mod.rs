//! Requests that are no commands go to a web server behind us: relayed both ways, without sockets,
//! clock or threads.
//!
//! [`station`] is the way in: all relayed requests of a shard and its connections to web servers.
//! A request's way: [`request`] writes its head anew from what was parsed, [`transcode`] its body;
//! [`pool`] finds a connection to a [`backend`]; [`receiving`] brings the [`answer`] back, or
//! [`failing`] a [`page`] of ours. What one request has behind it and before it is an
//! [`exchange`]. What is laid down for all of them is the [`site`].
//! Where clients know other URLs than the web server, [`mapping`] says which, [`paging`] and
//! [`links`] bring them into answers and pages.
//!
//! Connections that ask by TLS for a name of somebody else are passed on whole: [`pass`].
//!
//! Nothing else that came is passed on as it came: heads are parsed once and written anew, bodies
//! are decoded and framed anew. So what the web server sees is what we believe that we sent.

pub mod answer;
pub mod backend;
pub mod counts;
pub mod entry;
pub mod exchange;
pub mod failing;
pub mod fields;
pub mod links;
pub mod mapping;
pub mod network;
pub mod outgoing;
pub mod output;
pub mod page;
pub mod paging;
pub mod pass;
pub mod pool;
pub mod receiving;
pub mod request;
pub mod site;
pub mod station;
pub mod transcode;

#[cfg(test)]
mod tests;
