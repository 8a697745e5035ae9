//! Where a resource server or a registry listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where to dial.
///
/// ```
/// use ahm::link::address::Address;
/// let address: Address = "unix:/run/ahm/rates".parse()?;
/// assert_eq!(address.to_string(), "unix:/run/ahm/rates");
/// assert!("127.0.0.1:9000".parse::<Address>().is_ok());
/// let address: Address = "[::1]:9000:tls".parse()?;
/// assert!(address.is_secure() && address.to_string() == "[::1]:9000:tls");
/// assert!("unix:rates".parse::<Address>().is_err(), "not from the root");
/// assert!("rates.example:9000".parse::<Address>().is_err(), "a name, not an address");
/// # Ok::<(), ahm::link::address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `IP:PORT`, `[IP]:PORT`.
    Tcp(SocketAddr),
    /// `IP:PORT:tls`: the same, protected by TLS.
    Tls(SocketAddr),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

/// What stands behind an address that is protected by TLS.
const TLS: &str = ":tls";

impl Address {
    /// Its place in the network, if it has one.
    pub const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether TLS protects it.
    pub const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// A text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an address: give IP:PORT, IP:PORT:tls or unix:/PATH", self.0)
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_string());
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(wrong()),
            None => match text.strip_suffix(TLS) {
                Some(address) => address.parse().map(Self::Tls).map_err(|_| wrong()),
                None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Tls(address) => write!(f, "{address}{TLS}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
