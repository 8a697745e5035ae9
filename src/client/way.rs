//! One way of a link: a server, its addresses, and the kept connection for commands.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use mio::{Registry, Token};

use crate::base::time::Instant;
use crate::client::event::{CallId, Failure, Request};
use crate::client::line::Line;
use crate::client::pipe::Peer;
use crate::reactor::beyond::{Beyond, Papers, Trust};
use crate::reactor::url::Server;

/// One way to a server.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) server: Server,
    /// What must be proved there, where it is spoken to by TLS.
    beyond: Option<Beyond>,
    /// Not yet tried, the next last; looked up again when all were tried.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) line: Option<Line>,
    pub(crate) waiting: VecDeque<(CallId, Request)>,
}

impl Way {
    /// The way to that server.
    pub(crate) fn to(server: Server) -> Self {
        Self { server, beyond: None, addresses: vec![], line: None, waiting: [].into() }
    }

    /// Whom to believe there from now on.
    ///
    /// # Errors
    /// When the host can be in no certificate.
    pub(crate) fn trust(&mut self, trust: &Trust) -> io::Result<()> {
        if self.server.is_secure() {
            self.beyond = Some(trust.beyond(self.server.host())?);
        }
        Ok(())
    }

    /// Puts commands that wait on its connection, which is made where there is none.
    ///
    /// # Errors
    /// Why that is over, or cannot be made; the next attempt goes to the next address.
    pub(crate) fn send(&mut self, wait: (&Registry, Token), now: Instant) -> Result<(), Failure> {
        if self.line.is_none() {
            let dialed = self.peer().and_then(|peer| {
                let broken = |error: io::Error| Failure::Broken(error.to_string());
                Line::dial(peer, wait, now).map_err(broken)
            });
            if dialed.is_err() {
                self.addresses.pop();
            }
            self.line = Some(dialed?);
        }
        let Self { server, line, waiting, .. } = self;
        line.as_mut().map_or(Ok(()), |line| line.send(waiting, server, now))
    }

    /// Where to connect.
    ///
    /// # Errors
    /// Why there is nowhere.
    pub(crate) fn peer(&mut self) -> Result<Peer<'_>, Failure> {
        let broken = |error: io::Error| Failure::Broken(error.to_string());
        if self.server.is_secure() && self.beyond.is_none() {
            let untrusted = |error: io::Error| Failure::Untrusted(error.to_string());
            let trust = Trust::new(&Papers::default()).map_err(untrusted)?;
            self.trust(&trust).map_err(untrusted)?;
        }
        if self.addresses.is_empty() {
            self.addresses = self.server.resolve().map_err(broken)?;
            self.addresses.reverse();
        }
        let Self { server, beyond, addresses, .. } = self;
        match addresses.last() {
            Some(&address) => Ok(Peer { server, beyond: beyond.as_ref(), address }),
            None => Err(Failure::Broken("the host has no address".into())),
        }
    }
}
