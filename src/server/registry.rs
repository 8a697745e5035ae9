//! The registry that a server runs beside its shards, or that `ahm registry` runs alone, and those
//! that a server asks.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::base::time::Span;
use crate::link::address::Address;
use crate::link::peer::Me;
use crate::link::registry::Registry;
use crate::link::upstream::Seek;
use crate::resource::driver::{Driver, Setup};
use crate::resource::protection::Protection;
use crate::server::reception::Reception;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;
use crate::wire::resource::{InstanceId, Role};

/// The port of a registry that nobody has named: the one after those for clients and publishers.
pub const DEFAULT_PORT: u16 = 8082;
/// Shorter keys can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// Where a registry is found, and by whom.
///
/// ```
/// use ahm::server::registry::RegistryConfig;
/// assert_eq!(RegistryConfig::default().listen[0].to_string(), "127.0.0.1:8082");
/// let open = RegistryConfig { listen: vec!["0.0.0.0:8082".parse()?], ..RegistryConfig::off() };
/// assert!(open.exposed().is_some(), "without a key");
/// # Ok::<(), ahm::link::address::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Where resources and consumers connect; none for no registry.
    pub listen: Vec<Address>,
    /// The file with the key that all of them must show; empty for none.
    pub key_file: String,
    /// Who must have certified whoever dials an address with `:tls`, a file of PEM; empty: nobody
    /// must.
    pub client_authorities: String,
    /// Who certifies those whom this server dials at such addresses, a file of PEM; empty: they
    /// are not dialled.
    pub authorities: String,
    /// What their certificates must name; empty for the address that is dialled.
    pub server_name: String,
    /// What this server shows where they ask for a certificate, `CHAIN.pem KEY.pem`; empty for
    /// none.
    pub certificate: String,
    /// It lets itself be heard at least so often, and so does the server.
    pub heartbeat: Span,
    /// Where resource servers dial this server that it cannot dial; they need no registry.
    pub guests: Vec<Address>,
    /// Registries that this server asks for resources, the first one first: `IP:PORT`,
    /// `unix:/PATH`. None: its own.
    pub ask: Vec<String>,
    /// How long a registry that was lost, or a subject that nobody serves, is left alone.
    pub retry: Span,
    /// How long a subject may be without an instance before its channels end.
    pub patience: Span,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT));
        Self { listen: vec![Address::Tcp(address)], ..Self::off() }
    }
}

/// How resource servers are found.
pub(crate) struct Found {
    /// What a shard says of itself.
    pub(crate) me: Me,
    /// How it seeks them.
    pub(crate) seek: Seek,
    /// The registry beside the server.
    pub(crate) registry: Option<Driver<Registry>>,
    /// Where they dial in.
    pub(crate) reception: Option<Reception>,
}

impl RegistryConfig {
    /// No registry.
    pub const fn off() -> Self {
        Self {
            listen: Vec::new(),
            guests: Vec::new(),
            key_file: String::new(),
            client_authorities: String::new(),
            authorities: String::new(),
            server_name: String::new(),
            certificate: String::new(),
            heartbeat: Span::from_secs(5),
            ask: Vec::new(),
            retry: Span::from_secs(1),
            patience: Span::from_secs(10),
        }
    }

    /// An address that other machines can reach although no key is asked for.
    pub fn exposed(&self) -> Option<&Address> {
        let proves = !self.client_authorities.is_empty();
        let is_open = |address: &&Address| {
            let exposed = |socket: SocketAddr| !socket.ip().to_canonical().is_loopback();
            address.socket().is_some_and(exposed) && !(address.is_secure() && proves)
        };
        let mut all = self.listen.iter().chain(&self.guests);
        all.find(is_open).filter(|_| self.key_file.is_empty())
    }

    /// Starts a registry of this name, protected by `tls` at addresses that say so; `ended` is
    /// woken should it end by itself.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or the key cannot be read.
    pub fn start(
        &self,
        name: &str,
        tls: &Protection,
        ended: Option<Arc<mio::Waker>>,
    ) -> io::Result<Driver<Registry>> {
        let key = self.key()?;
        let instance = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let me = Me {
            role: Role::Registry,
            instance: InstanceId(instance),
            name: name.into(),
            heartbeat: self.heartbeat,
            demands: key.clone(),
            key,
        };
        let (listen, tls) = (self.listen.clone(), tls.clone());
        let setup = Setup { listen, tls, ended, ..Setup::new("registry") };
        let now = setup.clock.now();
        Driver::start(setup, |_| Registry::new(me, now))
    }

    /// Starts it beside a server; `None` if there is to be none. Where the default address is taken
    /// there is none either, and a warning: most likely another server of this machine has come
    /// first, and its registry serves both. An address that was chosen is had, or it is an error.
    ///
    /// # Errors
    ///
    /// As [`RegistryConfig::start`].
    pub(crate) fn start_beside(
        &self,
        name: &str,
        tls: &Protection,
    ) -> io::Result<Option<Driver<Registry>>> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let choose = "set registry.listen to another address, or to off for no registry";
        match self.start(name, tls, None) {
            Ok(driver) => Ok(Some(driver)),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && self.listen == Self::default().listen =>
            {
                log::warn!("this server runs without a registry: {error} ({choose})");
                Ok(None)
            }
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("registry: {error} ({choose})")))
            }
        }
    }

    /// Starts what lets resource servers be found by a server of that name: its registry, and
    /// where they dial in; and says how its shards seek.
    ///
    /// # Errors
    ///
    /// As [`RegistryConfig::start_beside`], [`RegistryConfig::receive`] and
    /// [`RegistryConfig::seek`].
    pub(crate) fn found(
        &self,
        name: &str,
        shards: u8,
        (senders, tls): (&[Sender<Mail>], &Protection),
    ) -> io::Result<Found> {
        let registry = self.start_beside(name, tls)?;
        let own = registry.as_ref().map_or(&[][..], |registry| registry.addresses());
        let (me, seek) = self.seek(name, shards, own)?;
        let reception = self.receive(senders, tls)?;
        Ok(Found { me, seek, registry, reception })
    }

    /// Lets resource servers in for these shards; `None` if none are to dial this server.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or the key cannot be read.
    pub(crate) fn receive(
        &self,
        shards: &[Sender<Mail>],
        tls: &Protection,
    ) -> io::Result<Option<Reception>> {
        if self.guests.is_empty() {
            return Ok(None);
        }
        let reception = Reception::start((&self.guests, tls), self.key()?, shards.to_vec());
        let named = |error: io::Error| {
            let choose = "set registry.guests to another address, or to off";
            io::Error::new(error.kind(), format!("registry.guests: {error} ({choose})"))
        };
        reception.map(Some).map_err(named)
    }

    /// What a server of that name and so many shards says of itself, and how it seeks; `own` is
    /// where its own registry is found. Without a registry that is named the own one is asked, or
    /// the one that has its address; without any there are only guests.
    ///
    /// # Errors
    ///
    /// When the key cannot be read.
    pub(crate) fn seek(&self, name: &str, shards: u8, own: &[Address]) -> io::Result<(Me, Seek)> {
        let named: Vec<Address> = self.ask.iter().filter_map(|text| text.parse().ok()).collect();
        let registries = match (named.is_empty(), own.is_empty()) {
            (false, _) => named,
            (true, false) => nearest(own).into_iter().cloned().collect(),
            (true, true) => nearest(&self.listen).into_iter().cloned().collect(),
        };
        let key = self.key()?;
        let instance = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let me = Me {
            role: Role::Consumer,
            instance: InstanceId(instance),
            name: name.into(),
            heartbeat: self.heartbeat,
            key,
            demands: String::new(),
        };
        let Self { retry, patience, .. } = *self;
        let (guests, parts) = (!self.guests.is_empty(), u32::from(shards));
        Ok((me, Seek { registries, guests, parts, retry, patience }))
    }

    /// The key that is shown and asked for; empty for none.
    fn key(&self) -> io::Result<String> {
        match self.key_file.as_str() {
            "" => Ok(String::new()),
            path => read_key(Path::new(path)),
        }
    }
}

/// The address at which a server asks its own registry: one that needs no proof, if there is any.
pub(crate) fn nearest(own: &[Address]) -> Option<&Address> {
    own.iter().find(|address| !address.is_secure()).or_else(|| own.first())
}

/// Reads the key of a registry from a file: its one line, without the end of the line.
///
/// # Errors
///
/// When it cannot be read or is no key; the key itself is not told.
pub fn read_key(path: &Path) -> io::Result<String> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), named(&error)))?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.len() < KEY_BYTES_MIN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "a key is one line of at least 16 visible ASCII characters";
        return Err(io::Error::new(io::ErrorKind::InvalidData, named(&what)));
    }
    Ok(key.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_can_reach_asks_for_a_key() {
        let with = |address: &str, key_file: &str| RegistryConfig {
            listen: vec!["127.0.0.1:1".parse().unwrap(), address.parse().unwrap()],
            key_file: key_file.into(),
            ..RegistryConfig::off()
        };
        for (address, is_open) in
            [("127.0.0.2:1", false), ("[::1]:1", false), ("unix:/a", false), ("[::]:1", true)]
        {
            assert_eq!(with(address, "").exposed().is_some(), is_open, "{address}");
            assert_eq!(with(address, "key").exposed(), None);
        }
    }

    #[test]
    fn a_key_is_read_without_its_line_end_and_never_told() {
        let path = std::env::temp_dir().join(format!("ahm-key-{}", std::process::id()));
        std::fs::write(&path, "correct-horse-battery\r\n").unwrap();
        assert_eq!(read_key(&path).unwrap(), "correct-horse-battery");
        for bad in ["", "hush\n", "correct horse battery\n", "correct-horse-\nbattery-staple\n"] {
            std::fs::write(&path, bad).unwrap();
            let said = read_key(&path).unwrap_err().to_string();
            assert!(said.ends_with("a key is one line of at least 16 visible ASCII characters"));
        }
        std::fs::remove_file(&path).unwrap();
        let said = read_key(&path).unwrap_err().to_string();
        assert!(said.starts_with(&format!("{}: No such file", path.display())), "{said}");
    }
}
