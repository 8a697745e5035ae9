//! TLS of the resource protocol: what a process shows to those who dial it, whom of them it lets
//! in, and whom it believes whom it dials.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::link::address::Address;
use crate::reactor::beyond::{Papers, Trust, unproved};
use crate::reactor::dialer;
use crate::reactor::front::Front;
use crate::reactor::tls::Secure;
use crate::reactor::transport::Transport;
use crate::resource::driver_door::dial;

/// The name of the protocol (ALPN, RFC 7301): whoever offers others only has come to the wrong
/// place, and is sent away before a byte of his is taken for something else.
pub const PROTOCOL: &[u8] = b"ahm-resource";

/// Sentences that are remembered, so that each is told once.
const TOLD_MAX: usize = 100;

/// TLS on both sides. Clones are the same one, also when what it holds is replaced: connections
/// that are made from then on have the new.
///
/// ```
/// use ahm::resource::protection::Protection;
/// assert!(!Protection::default().accepts(), "without a certificate");
/// ```
#[derive(Clone, Default)]
pub struct Protection(Arc<Mutex<Sides>>);

#[derive(Default)]
struct Sides {
    front: Option<Arc<Front>>,
    trust: Option<Trust>,
    /// What was told already.
    told: HashSet<String>,
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = self.lock();
        f.debug_struct("Protection")
            .field("front", &sides.front)
            .field("trust", &sides.trust)
            .finish_non_exhaustive()
    }
}

impl Protection {
    /// Accepts by `front`, and dials by `trust`.
    pub fn new(front: Option<Arc<Front>>, trust: Option<Trust>) -> Self {
        let protection = Self::default();
        protection.replace(front, trust);
        protection
    }

    /// The same from files of PEM. The certificate of `papers` is shown on both sides; whoever
    /// dials in must be certified by `client_authorities`, if they are given; without the
    /// authorities of `papers` nobody can be dialled by TLS.
    ///
    /// # Errors
    ///
    /// When a file cannot be used; the text says which and why.
    pub fn read(papers: &Papers, client_authorities: Option<&Path>) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let front = match &papers.certificate {
            None if client_authorities.is_some() => {
                let what = "whoever demands certificates of clients needs one of its own";
                return Err(wrong(what));
            }
            None => None,
            Some(chain) => {
                let key = papers.key.as_deref().unwrap_or(chain);
                let front = Front::showing((chain, key), client_authorities, PROTOCOL)?;
                Some(Arc::new(front))
            }
        };
        let trust = papers.authorities.is_some().then(|| Trust::new(papers)).transpose()?;
        Ok(Self::new(front, trust))
    }

    /// Other certificates and authorities from now on.
    pub fn replace(&self, front: Option<Arc<Front>>, trust: Option<Trust>) {
        let trust = trust.map(|trust| trust.speaking(PROTOCOL));
        *self.lock() = Sides { front, trust, told: HashSet::new() };
    }

    /// The same as another holds from now on.
    pub fn renew(&self, other: &Self) {
        let (front, trust) = {
            let other = other.lock();
            (other.front.clone(), other.trust.clone())
        };
        self.replace(front, trust);
    }

    /// Whether connections can be accepted.
    pub fn accepts(&self) -> bool {
        self.lock().front.is_some()
    }

    /// TLS over a connection that was accepted.
    pub(crate) fn accept(&self, under: Transport) -> io::Result<Transport> {
        let front = self.lock().front.clone();
        let front = front.ok_or_else(|| io::Error::other("there is no certificate for TLS"))?;
        Ok(Transport::Tls(Box::new(Secure::accept(under, front))))
    }

    /// Begins to connect, by TLS where the address says so. Its handshake comes after the connect.
    pub(crate) fn dial(&self, address: &Address) -> io::Result<Transport> {
        let Address::Tls(socket) = address else { return dial(address) };
        let trust = self.lock().trust.clone();
        let Some(trust) = trust else {
            let what = "it is spoken to by TLS, and no authority is known that certifies it";
            self.tell(format!("{address}: {what}"));
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        };
        trust.beyond(&host(socket))?.protect(dialer::dial(*socket)?)
    }

    /// A connection is lost. Where that is for want of proof, which no second attempt changes, the
    /// operator is told, once.
    pub(crate) fn note_failed(&self, transport: &Transport, error: &io::Error) {
        let (Transport::Tls(_), Ok(address)) = (transport, transport.peer_addr()) else { return };
        let beyond = self.lock().trust.as_ref().map(|trust| trust.beyond(&host(&address)));
        if let Some(Ok(beyond)) = beyond
            && let Some(words) = unproved(&beyond, error)
        {
            self.tell(format!("{address}: {words}"));
        }
    }

    fn tell(&self, sentence: String) {
        let mut sides = self.lock();
        if sides.told.len() < TOLD_MAX && !sides.told.contains(&sentence) {
            log::warn!("{sentence}");
            sides.told.insert(sentence);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sides> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address as certificates name it.
fn host(address: &SocketAddr) -> String {
    address.ip().to_string()
}
