//! Whom a TLS client wants: its first message is read ahead, and the name in it decides whether it
//! is served here or passed on as it came.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::{Error, ServerConfig};

/// Bytes of a client's first message at most; those of browsers have about two thousand.
const HELLO_BYTES_MAX: usize = 32 * 1024;

/// What a TLS listener does with whom.
pub struct Front {
    config: Arc<ServerConfig>,
    passes: Vec<(String, usize)>,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("passes", &self.passes).finish_non_exhaustive()
    }
}

/// What becomes of a client.
#[derive(Debug)]
pub enum Choice {
    /// It is served here.
    Serve(Arc<ServerConfig>),
    /// It is passed on to that target, because it has asked for this name.
    Pass(String, usize),
}

/// A client that is passed on.
#[derive(Debug)]
pub struct Passed {
    /// The name that it asked for.
    pub name: String,
    /// Where it is passed on to.
    pub target: usize,
    /// What it has sent so far.
    pub heard: Vec<u8>,
}

impl Front {
    /// Serves all by `config`, in that protocol (ALPN), but those who ask for one of the names of
    /// `passes`, which are passed on to the number beside it. A name may begin with `*.`, for any
    /// one label.
    ///
    /// Each front has tickets of its own: who has shown no certificate at one listener, or one of
    /// another authority, cannot go on from there at a listener that asks for it.
    ///
    /// # Errors
    ///
    /// When there is no key for the tickets.
    pub fn new(
        mut config: ServerConfig,
        protocol: &[u8],
        passes: Vec<(String, usize)>,
    ) -> io::Result<Self> {
        config.alpn_protocols = vec![protocol.to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
        // What a client needs for its next connection is in its ticket, and nowhere here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), passes })
    }

    /// What becomes of a client that asks for `name`.
    pub fn choose(&self, name: Option<&str>) -> Choice {
        let pass = name.and_then(|name| {
            let target = self.passes.iter().find(|(pattern, _)| is_name_of(pattern, name));
            target.map(|(_, target)| (name, *target))
        });
        match pass {
            Some((name, target)) => Choice::Pass(name.to_string(), target),
            None => Choice::Serve(Arc::clone(&self.config)),
        }
    }
}

/// Whether `name` is the pattern, or lies directly below it (RFC 6125 section 6.4.3).
///
/// ```
/// use ahm::reactor::front::is_name_of;
/// assert!(is_name_of("Www.example.com", "www.example.COM"));
/// assert!(is_name_of("*.example.com", "www.example.com"));
/// assert!(!is_name_of("*.example.com", "a.www.example.com"));
/// assert!(!is_name_of("*.example.com", "example.com"));
/// ```
pub fn is_name_of(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("*.") {
        None => pattern.eq_ignore_ascii_case(name),
        Some(parent) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
    }
}

/// A client's first message while it comes.
pub(crate) struct Hello {
    front: Arc<Front>,
    acceptor: Acceptor,
    heard: Vec<u8>,
    alert: Vec<u8>,
}

impl Hello {
    pub(crate) fn new(front: Arc<Front>) -> Self {
        Self { front, acceptor: Acceptor::default(), heard: Vec::new(), alert: Vec::new() }
    }

    /// Takes what has come; says what becomes of the client once that is known.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Option<Choice>, Error> {
        self.heard.extend_from_slice(bytes);
        if self.heard.len() > HELLO_BYTES_MAX {
            return Err(Error::General("the first message is too long".into()));
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = self.acceptor.read_tls(&mut rest);
            read.map_err(|_| Error::General("the first message is too long".into()))?;
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    return Ok(Some(self.front.choose(accepted.client_hello().server_name())));
                }
                Err((error, mut alert)) => {
                    // Into memory, which takes all.
                    let _ = alert.write_all(&mut self.alert);
                    return Err(error);
                }
            }
        }
        Ok(None)
    }

    /// Whether the client speaks something that is no TLS, as far as its first byte tells.
    pub(crate) fn is_plain(&self) -> bool {
        self.heard.first().is_some_and(u8::is_ascii_alphabetic)
    }

    /// What it is told of an error.
    pub(crate) fn alert(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.alert)
    }

    /// All that has come.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.heard)
    }
}
