//! Where a driven station is reached: a listener of either kind.

use std::io;
use std::net::SocketAddr;

use mio::{Registry, Token};

use crate::link::address::Address;
use crate::reactor::dialer;
use crate::reactor::listener::Listener;
use crate::reactor::transport::Transport;
use crate::reactor::unix::UnixListener;
use crate::resource::protection::Protection;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: u32 = 1_024;

/// A listener.
#[derive(Debug)]
pub(crate) enum Door {
    /// On an address of the network.
    Tcp(Listener),
    /// The same, protected by TLS.
    Tls(Listener, Protection),
    /// On a socket in the file system.
    Unix(UnixListener),
}

impl Door {
    /// Listens on `wanted`; also says on what, as port 0 takes a free one.
    pub(crate) fn open(wanted: &Address, tls: &Protection) -> io::Result<(Self, Address)> {
        let opened = match wanted {
            Address::Tcp(address) => {
                bind(*address).map(|(one, address)| (Address::Tcp(address), Self::Tcp(one)))
            }
            Address::Tls(_) if !tls.accepts() => {
                let what = "TLS needs a certificate and its key";
                Err(io::Error::new(io::ErrorKind::InvalidInput, what))
            }
            Address::Tls(address) => bind(*address)
                .map(|(one, address)| (Address::Tls(address), Self::Tls(one, tls.clone()))),
            Address::Unix(path) => {
                UnixListener::bind(path).map(|one| (wanted.clone(), Self::Unix(one)))
            }
        };
        opened.map(|(address, door)| (door, address)).map_err(|error| named(wanted, &error))
    }

    /// The next connection, on which TLS may still have to be set up; `None` when there is none,
    /// and then an edge tells of the next.
    pub(crate) fn accept(&mut self) -> io::Result<Option<Transport>> {
        match self {
            Self::Tcp(listener) => Ok(listener.accept()?.map(|(transport, _)| transport)),
            Self::Tls(listener, tls) => match listener.accept()? {
                Some((transport, _)) => tls.accept(transport).map(Some),
                None => Ok(None),
            },
            Self::Unix(listener) => listener.accept(),
        }
    }

    /// Has every edge reported as `token`.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.register(registry, token),
            Self::Unix(listener) => listener.register(registry, token),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<(Listener, SocketAddr)> {
    if address.port() != 0 {
        Listener::probe(address)?;
    }
    let listener = Listener::bind(address, BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The error with the address, in words that say what to do about it.
fn named(wanted: &Address, error: &io::Error) -> io::Error {
    let what = match (error.kind(), wanted) {
        (io::ErrorKind::AddrInUse, _) => "somebody listens there already".to_string(),
        (io::ErrorKind::AddrNotAvailable, _) => "this machine has no such address".to_string(),
        (io::ErrorKind::NotFound, Address::Unix(path)) => match path.parent() {
            Some(folder) => format!("there is no directory {}", folder.display()),
            None => error.to_string(),
        },
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("{wanted}: {what}"))
}

/// Begins to connect, without waiting; [`dialer::finish`] tells the outcome. Not by TLS: for that
/// there is a [`Protection`].
///
/// # Errors
///
/// As for [`dialer::dial`] and [`dialer::dial_unix`].
pub fn dial(address: &Address) -> io::Result<Transport> {
    match address {
        Address::Tcp(address) => dialer::dial(*address),
        Address::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        Address::Unix(path) => dialer::dial_unix(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(wanted: &Address) -> io::Result<(Door, Address)> {
        Door::open(wanted, &Protection::default())
    }

    fn refusal(wanted: &Address) -> String {
        open(wanted).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_listened_on_is_told_with_its_address() {
        let (_held, taken) = open(&"127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(refusal(&taken), format!("{taken}: somebody listens there already"));
        // An address for documentation, which no machine has.
        let away: Address = "192.0.2.1:1".parse().unwrap();
        assert_eq!(refusal(&away), "192.0.2.1:1: this machine has no such address");

        let said = "127.0.0.1:0:tls: TLS needs a certificate and its key";
        assert_eq!(refusal(&"127.0.0.1:0:tls".parse().unwrap()), said);

        let folder = std::env::temp_dir().join(format!("ahm-door-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let missing = Address::Unix(folder.join("no/such"));
        let said = format!("{missing}: there is no directory {}/no", folder.display());
        assert_eq!(refusal(&missing), said);
        let file = Address::Unix(folder.join("file"));
        std::fs::write(folder.join("file"), "kept").unwrap();
        let said = format!("{file}: there is a file of that name, and it is no socket");
        assert_eq!(refusal(&file), said);
        assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"kept");

        let socket = Address::Unix(folder.join("socket"));
        let (held, _) = open(&socket).unwrap();
        assert_eq!(refusal(&socket), format!("{socket}: somebody listens there already"));
        drop(held);
        assert!(!folder.join("socket").exists(), "its file goes with it");
        // What a process leaves that was killed: a socket that nobody listens on.
        drop(std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap());
        assert!(folder.join("socket").exists());
        drop(open(&socket).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
