//! One way of a link: a server, its addresses, and the kept connection for commands.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::client::event::{CallId, Request};
use crate::client::line::Line;
use crate::reactor::url::Server;

/// One way to a server.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) server: Server,
    /// Not yet tried, the next last; looked up again when all were tried.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) line: Option<Line>,
    pub(crate) waiting: VecDeque<(CallId, Request)>,
}

impl Way {
    /// The way to that server.
    pub(crate) fn to(server: Server) -> Self {
        Self { server, addresses: vec![], line: None, waiting: [].into() }
    }

    /// Where to connect.
    pub(crate) fn address(&mut self) -> Result<SocketAddr, String> {
        if self.addresses.is_empty() {
            self.addresses = self.server.resolve().map_err(|error| error.to_string())?;
            self.addresses.reverse();
        }
        self.addresses.last().copied().ok_or_else(|| "the host has no address".into())
    }
}
