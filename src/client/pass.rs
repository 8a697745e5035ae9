//! How a link proves who the client is, and whom it believes.

use std::fmt;
use std::io;

use crate::base::time::Instant;
use crate::client::credentials::Credentials;
use crate::client::event::{CallId, Failure, Request, RouteId};
use crate::client::line::Line;
use crate::client::link::Link;
use crate::client::way::Way;
use crate::reactor::beyond::Trust;
use crate::reactor::url::Server;

/// Where credentials come from.
type Source = Box<dyn FnMut() -> Result<Credentials, String> + Send>;

/// What proves who the client is.
#[derive(Default)]
pub(crate) struct Pass {
    source: Option<Source>,
    trust: Option<Trust>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("trust", &self.trust).finish_non_exhaustive()
    }
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Link {
    /// Whom to believe where a server is spoken to by TLS, and what to show it; without it the
    /// authorities that this system believes. It may be called again, as with a newer certificate:
    /// connections that are made from then on have it.
    ///
    /// ```no_run
    /// use ahm::client::link::Link;
    /// use ahm::client::settings::Settings;
    /// use ahm::reactor::beyond::{Papers, Trust};
    /// use ahm::reactor::url::Server;
    ///
    /// let server = Server::parse("https://10.0.0.5:8443", "/ahm/").unwrap();
    /// let mut link = Link::new(server, Settings::default(), 1)?;
    /// let papers = Papers {
    ///     authorities: Some("/etc/ahm/internal.pem".into()),
    ///     server_name: Some("ahm.internal".into()),
    ///     ..Papers::default()
    /// };
    /// link.trust(Trust::new(&papers)?)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the host of a server can be in no certificate, and no other name was given.
    pub fn trust(&mut self, trust: Trust) -> io::Result<()> {
        for way in &mut self.ways {
            way.trust(&trust)?;
        }
        if trust.shows_certificate() {
            // What it proves is looked at when the session is made.
            self.agent.settings.login = true;
        }
        self.pass.trust = Some(trust);
        Ok(())
    }

    /// Logs in with `credentials` from now on: they are shown when a session is made or renewed,
    /// and with nothing else. Before anything is subscribed to, as that asks for the session.
    ///
    /// ```no_run
    /// use ahm::client::credentials::Credentials;
    /// use ahm::client::link::Link;
    /// use ahm::client::settings::Settings;
    /// use ahm::reactor::url::Server;
    ///
    /// let server = Server::parse("https://www.example.com", "/ahm/").unwrap();
    /// let mut link = Link::new(server, Settings::default(), 1)?;
    /// let token = std::env::var("TOKEN").unwrap();
    /// link.log_in_with(Credentials::bearer(&token).unwrap())?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Where they would be seen on the way: logins go over plain HTTP, and
    /// [`Settings::in_clear`] does not allow that. Where they cannot be carried: a sealed session
    /// cannot be renewed so over raw TCP; [`Link::log_in_at`] has logins go elsewhere.
    ///
    /// [`Settings::in_clear`]: crate::client::settings::Settings::in_clear
    pub fn log_in_with(&mut self, credentials: Credentials) -> io::Result<()> {
        if credentials.authorization().is_none() {
            self.pass.source = None;
            self.agent.settings.login = true;
            return Ok(());
        }
        self.log_in_by(move || Ok(credentials.clone()))
    }

    /// Asks `source` for credentials whenever a session is made, and when one is about to end: then
    /// it is renewed with what `source` gives, and goes on as if nothing had been. The link waits
    /// for `source`, which may read a file, but should not be slow. Where it has nothing to give it
    /// says so in words, and is asked again.
    ///
    /// ```no_run
    /// use ahm::client::credentials::Credentials;
    /// use ahm::client::link::Link;
    /// use ahm::client::settings::Settings;
    /// use ahm::reactor::url::Server;
    ///
    /// let server = Server::parse("https://www.example.com", "/ahm/").unwrap();
    /// let mut link = Link::new(server, Settings::default(), 1)?;
    /// link.log_in_by(|| {
    ///     let token = std::fs::read_to_string("/run/token").map_err(|error| error.to_string())?;
    ///     Credentials::bearer(token.trim())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Link::log_in_with`].
    pub fn log_in_by(
        &mut self,
        source: impl FnMut() -> Result<Credentials, String> + Send + 'static,
    ) -> io::Result<()> {
        self.check_logins(&self.ways)?;
        self.pass.source = Some(Box::new(source));
        self.agent.settings.login = true;
        Ok(())
    }

    /// Renews the session with other credentials, which count for later logins too. Channels and
    /// documents go on; what came of it is an event, `Known` or `NotRenewed`.
    ///
    /// # Errors
    /// As [`Link::log_in_with`].
    pub fn renew(&mut self, credentials: Credentials) -> io::Result<()> {
        self.log_in_with(credentials)?;
        let now = self.now();
        self.agent.renew(now);
        Ok(())
    }

    /// Logs in elsewhere than documents are asked for: at these servers, one for each route. With
    /// [`Settings::seal`] that is over TLS, and documents and commands, which are sealed, may go
    /// over plain HTTP or raw TCP.
    ///
    /// [`Settings::seal`]: crate::client::settings::Settings::seal
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
    /// link.log_in_at(vec![Server::parse("https://127.0.0.1:8443", "/ahm/").unwrap()])?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there are not as many as routes; and as [`Link::log_in_with`].
    pub fn log_in_at(&mut self, servers: Vec<Server>) -> io::Result<()> {
        let routes = self.ways.len() / 2;
        if servers.len() != routes {
            return Err(wrong("one server for the logins of each route is wanted".into()));
        }
        let mut logins: Vec<Way> = servers.into_iter().map(Way::to).collect();
        if let Some(trust) = &self.pass.trust {
            logins.iter_mut().try_for_each(|way| way.trust(trust))?;
        }
        if self.pass.source.is_some() {
            self.check_logins(&logins)?;
        }
        self.ways.splice(routes.., logins);
        self.agent.settings.login = true;
        Ok(())
    }

    /// Whether credentials may go where `ways` lead, the last half of which are those for logins,
    /// and the session's key where its documents go.
    fn check_logins(&self, ways: &[Way]) -> io::Result<()> {
        let routes = self.ways.len() / 2;
        let settings = &self.agent.settings;
        for (way, login) in self.ways[..routes].iter().zip(&ways[ways.len() - routes..]) {
            let (server, at) = (&way.server, &login.server);
            if at.is_raw() && settings.seal.is_some() {
                return Err(wrong(format!(
                    "{at}: a sealed session cannot be renewed by raw TCP with a password or token: \
                     log in at an https:// address"
                )));
            }
            if settings.in_clear {
                continue;
            }
            if !at.is_confidential() {
                return Err(wrong(format!(
                    "{at}: everybody on the way would see the password or token: https:// is wanted"
                )));
            }
            if settings.seal.is_none() && !server.is_confidential() {
                return Err(wrong(format!(
                    "{server}: everybody on the way would see the session's key: https://, tls:// \
                     or a seal is wanted"
                )));
            }
        }
        Ok(())
    }

    /// Puts a login on its way, with what proves who the client is.
    pub(crate) fn log_in(
        &mut self,
        route: RouteId,
        (call, mut request): (CallId, Request),
        now: Instant,
    ) {
        if let Some(source) = &mut self.pass.source {
            match source() {
                Ok(credentials) => request.authorization = credentials.authorization().cloned(),
                Err(detail) => {
                    return self.agent.handle_lost(call, Failure::Broken(detail), now);
                }
            }
        }
        let at = self.ways.len() / 2 + usize::from(route.0);
        let way = &mut self.ways[at];
        way.line = way.line.take().filter(Line::is_waiting);
        way.waiting.push_back((call, request));
    }
}
