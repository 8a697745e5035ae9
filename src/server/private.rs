//! The private listener's sockets in the file system and its file of tokens, and what becomes of
//! the process's rights once everything is open.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::passes::Passes;
use crate::link::address::Address;
use crate::proto::connection::Door;
use crate::reactor::entry::Entry;
use crate::reactor::privileges::{self, Account};
use crate::reactor::unix::UnixListener;
use crate::server::builder::Opened;
use crate::server::config::{Config, Listen};
use crate::server::config_check::read_mode;

/// What others may do with a file.
const OTHERS: u32 = 0o002;

impl Config {
    /// Reads the file of tokens; nobody is known where there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a line of it is wrong; a token is never told.
    ///
    /// ```
    /// use ahm::server::config::Config;
    /// assert!(Config::default().passes()?.is_empty());
    /// let config = Config { token_file: "/no/such/file".into(), ..Config::default() };
    /// assert!(config.passes().is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn passes(&self) -> io::Result<Passes> {
        let path = self.token_file.as_str();
        if path.is_empty() {
            return Ok(Passes::default());
        }
        let named = |kind, what: &dyn std::fmt::Display| {
            io::Error::new(kind, format!("private.token_file: {path}: {what}"))
        };
        let text = std::fs::read_to_string(path).map_err(|error| named(error.kind(), &error))?;
        let passes = Passes::parse(&text);
        passes.map_err(|what| named(io::ErrorKind::InvalidData, &what))
    }

    /// What works and should not be so: where tokens travel for everybody on the way to read.
    ///
    /// ```
    /// use ahm::server::config::{Config, Token};
    /// let mut config = Config { token: Token::new("0123456789abcdef").ok(), ..Config::default() };
    /// assert!(config.warnings().is_empty());
    /// config.private_listen = vec!["10.0.0.5:8081".parse().unwrap()];
    /// assert!(config.warnings()[0].starts_with("private.listen: 10.0.0.5:8081 has no TLS"));
    /// ```
    pub fn warnings(&self) -> Vec<String> {
        let open = self.private_listen.iter().filter(|one| one.is_exposed() && one.tls.is_none());
        let told = open.map(|Listen { address, .. }| {
            format!(
                "private.listen: {address} has no TLS: whoever sees the network between reads the \
                 tokens that are shown there; give it as {address}:tls or {address}:tls=required"
            )
        });
        told.collect()
    }

    /// Listens on the sockets in the file system, on all shards.
    pub(crate) fn bind_sockets(&self, shards: u8) -> io::Result<Vec<Vec<Opened>>> {
        let mode = read_mode(&self.private_mode).unwrap_or(0o600);
        // What everybody may open is no better guarded than a loopback address.
        let door = if mode & OTHERS == 0 { Door::Local } else { Door::Private };
        let mut by_shard: Vec<_> = (0..shards).map(|_| Vec::new()).collect();
        for path in &self.private_sockets {
            let named = |error: io::Error| {
                let what = match (error.kind(), path.parent()) {
                    (io::ErrorKind::AddrInUse, _) => "somebody listens there already".into(),
                    (io::ErrorKind::NotFound, Some(folder)) => {
                        format!("there is no directory {}", folder.display())
                    }
                    _ => error.to_string(),
                };
                io::Error::new(error.kind(), format!("private.listen: {}: {what}", path.display()))
            };
            let first = UnixListener::bind_as(path, Some(mode)).map_err(named)?;
            let Some((last, others)) = by_shard.split_last_mut() else { break };
            for listeners in others {
                listeners.push((Entry::Unix(first.try_clone().map_err(named)?), door.into(), None));
            }
            last.push((Entry::Unix(first), door.into(), None));
        }
        Ok(by_shard)
    }

    /// Tells what should not be so, and gives up what only root may do where the configuration
    /// names a user: everything that needs it is open by now.
    pub(crate) fn give_up_rights(&self) -> io::Result<()> {
        self.warnings().iter().for_each(|what| log::warn!("{what}"));
        if self.user.is_empty() {
            return Ok(());
        }
        let refused =
            |what| io::Error::new(io::ErrorKind::PermissionDenied, format!("user: {what}"));
        let account = Account::find(&self.user, &self.group).map_err(refused)?;
        if Account::own().user == 0 {
            // Whoever has the name of the socket must be able to take it away at the end.
            for path in self.socket_files() {
                privileges::give_file(&path, account)?;
            }
        }
        privileges::become_account(account).map_err(refused)?;
        let Account { user, group } = account;
        log::info!("from now on user {} ({user}), group {group}, without a way back", self.user);
        Ok(())
    }

    fn socket_files(&self) -> Vec<PathBuf> {
        let doors = self.registry.listen.iter().chain(&self.registry.guests);
        let doors = doors.filter_map(|address| match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) | Address::Tls(_) => None,
        });
        self.private_sockets.iter().cloned().chain(doors).collect()
    }

    /// The same as an `Arc`, for the settings of all shards.
    pub(crate) fn shared_passes(&self) -> io::Result<Arc<Passes>> {
        self.passes().map(Arc::new)
    }
}
