//! One way of a link: a server, its addresses, and the kept connection for commands.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use crate::client::event::{CallId, Request};
use crate::client::line::Line;
use crate::client::link::Link;
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

impl Link {
    /// Asks for the secrets of sealed sessions ([`seal`]) elsewhere than for documents: at these
    /// servers, over TLS, one for each route. Documents and commands, which are sealed, may then go
    /// over plain HTTP.
    ///
    /// [`seal`]: crate::client::settings::Settings::seal
    ///
    /// ```no_run
    /// use ahm::client::link::Link;
    /// use ahm::client::settings::Settings;
    /// use ahm::reactor::url::Server;
    /// use ahm::seal::key::Algorithm;
    ///
    /// let settings = Settings { seal: Some(Algorithm::Aes256Gcm), ..Settings::default() };
    /// let mut link =
    ///     Link::new(Server::parse("http://127.0.0.1:8080", "/ahm/").unwrap(), settings, 1)?;
    /// link.log_in_at(vec![Server::parse("http://127.0.0.1:8443", "/ahm/").unwrap()])?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there are not as many as routes.
    pub fn log_in_at(&mut self, servers: Vec<Server>) -> io::Result<()> {
        let routes = self.ways.len() / 2;
        if servers.len() != routes {
            let detail = "one server for the logins of each route is wanted";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, detail));
        }
        self.ways.splice(routes.., servers.into_iter().map(Way::to));
        Ok(())
    }
}
