//! A listener of either kind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::{Registry, Token};

use crate::reactor::listener::Listener;
use crate::reactor::transport::Transport;
use crate::reactor::unix::UnixListener;

/// Where connections come in.
#[derive(Debug)]
pub enum Entry {
    /// On an address of the network.
    Tcp(Listener),
    /// On a socket in the file system.
    Unix(UnixListener),
}

impl Entry {
    /// The next connection and where it comes from; `None` when there is none, and then an edge
    /// tells of the next. What comes through a file has no address, and is said to come from this
    /// machine.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`]: call again by a timer.
    pub fn accept(&mut self) -> io::Result<Option<(Transport, SocketAddr)>> {
        match self {
            Self::Tcp(listener) => listener.accept(),
            Self::Unix(listener) => {
                let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Ok(listener.accept()?.map(|transport| (transport, here)))
            }
        }
    }

    /// Has every edge reported as `token`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.register(registry, token),
            Self::Unix(listener) => listener.register(registry, token),
        }
    }
}
