//! `--ca`, `--server-name`, `--cert` and `--key`: TLS of subcommands that connect to a server.

use std::path::PathBuf;

use crate::client::link::Link;
use crate::link::address::Address;
use crate::reactor::beyond::{Papers, Trust};
use crate::reactor::url::Server;
use crate::resource::protection::Protection;

/// Flags of a program that speaks TLS to a server.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct PaperArgs {
    /// Believe the authorities in this file of PEM, instead of those that the system believes. A
    /// server must always prove its name
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The name that the server must prove, where it is not the host in the URL
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Show this certificate (PEM) where the server asks for one
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM) [default: in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl PaperArgs {
    /// The same for whoever connects.
    pub fn papers(&self) -> Papers {
        Papers {
            authorities: self.ca.clone(),
            server_name: self.server_name.clone(),
            certificate: self.cert.clone(),
            key: self.key.clone(),
        }
    }

    /// The same for the resource protocol, towards those addresses that say `:tls`.
    ///
    /// # Errors
    /// In words: a file that cannot be used, flags that would mean nothing, or one that is missing.
    pub fn protection(&self, dialled: &[Address]) -> Result<Protection, String> {
        match dialled.iter().find(|address| address.is_secure()) {
            Some(address) if self.ca.is_none() => {
                Err(format!("{address}: say by --ca who certifies whoever is there"))
            }
            Some(_) => Protection::read(&self.papers(), None).map_err(|error| error.to_string()),
            None => match self.first_given() {
                Some(flag) => Err(format!("{flag} means nothing without an address with :tls")),
                None => Ok(Protection::default()),
            },
        }
    }

    /// The first flag that was given.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let flags = [
            ("--ca", self.ca.is_some()),
            ("--server-name", self.server_name.is_some()),
            ("--cert", self.cert.is_some()),
        ];
        flags.iter().find(|(_, given)| *given).map(|(flag, _)| *flag)
    }

    /// Reads the certificate again, for a session that is about to end: a newer one may be there.
    ///
    /// # Errors
    /// As [`PaperArgs::trust`]; the link goes on with what it has.
    pub fn renew(&self, servers: &[Server], link: &mut Link) -> Result<(), String> {
        if self.cert.is_some()
            && let Some(trust) = self.trust(servers)?
        {
            link.trust(trust).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Reads the files; `None` where no server is spoken to by TLS.
    ///
    /// ```
    /// use ahm::cli::papers::PaperArgs;
    /// use ahm::reactor::url::Server;
    /// let args = PaperArgs { ca: Some("/no/such/file".into()), ..PaperArgs::default() };
    /// let plain = Server::parse("http://localhost", "/").unwrap();
    /// assert!(args.trust([&plain]).unwrap_err().contains("--ca"));
    /// assert!(PaperArgs::default().trust([&plain]).unwrap().is_none());
    /// ```
    ///
    /// # Errors
    /// In words: a file that cannot be used, flags that would mean nothing.
    pub fn trust<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a Server>,
    ) -> Result<Option<Trust>, String> {
        if servers.into_iter().any(Server::is_secure) {
            return Trust::new(&self.papers()).map(Some).map_err(|error| error.to_string());
        }
        match self.first_given() {
            Some(flag) => Err(format!("{flag} means nothing without an https:// or tls:// URL")),
            None => Ok(None),
        }
    }
}
