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
/// assert!("unix:rates".parse::<Address>().is_err(), "not from the root");
/// assert!("rates.example:9000".parse::<Address>().is_err(), "a name, not an address");
/// # Ok::<(), ahm::link::address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `IP:PORT`, `[IP]:PORT`.
    Tcp(SocketAddr),
    /// `unix:/PATH`.
    Unix(PathBuf),
}

/// A text is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an address: give IP:PORT or unix:/PATH", self.0)
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
            None => text.parse().map(Self::Tcp).map_err(|_| wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
