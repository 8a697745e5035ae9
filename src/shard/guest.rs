//! A resource server that has dialled this one, on its way to the shard that it wants to talk to.

use crate::reactor::transport::Transport;

/// Its connection, and what is known of it.
#[derive(Debug)]
pub struct Guest {
    /// The connection; no poller knows it.
    pub transport: Transport,
    /// What was read from it so far.
    pub received: Vec<u8>,
    /// Resources that it is known to serve, before it has said so itself.
    pub expected: Vec<String>,
}
