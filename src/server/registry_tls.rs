//! TLS of the resource protocol, as the configuration has it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::link::address::Address;
use crate::reactor::beyond::{Papers, Trust};
use crate::reactor::front::Front;
use crate::resource::protection::Protection;
use crate::server::registry::{RegistryConfig, nearest};
use crate::server::tls::TlsConfig;

/// What both sides of TLS are made of.
type Sides = (Option<Arc<Front>>, Option<Trust>);

impl RegistryConfig {
    /// TLS for the registry, for resource servers that dial in, and for whom this server dials; the
    /// certificates of `tls` are shown to whoever dials in.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub(crate) fn protection(&self, tls: &TlsConfig) -> io::Result<Protection> {
        self.sides(tls).map(|(front, trust)| Protection::new(front, trust))
    }

    /// The same as the files are now, for one that is in use.
    ///
    /// # Errors
    ///
    /// As for [`RegistryConfig::protection`].
    pub(crate) fn sides(&self, tls: &TlsConfig) -> io::Result<Sides> {
        let listens = self.listen.iter().chain(&self.guests).any(|address| address.is_secure());
        let front = listens.then(|| tls.link_front(&self.client_authorities)).transpose()?;
        if self.authorities.is_empty() {
            return Ok((front, None));
        }
        let (certificate, key) = match self.certificate.split_once(' ') {
            Some((chain, key)) => (Some(PathBuf::from(chain)), Some(PathBuf::from(key.trim()))),
            None => (None, None),
        };
        let papers = Papers {
            authorities: Some(PathBuf::from(&self.authorities)),
            server_name: Some(self.server_name.clone()).filter(|name| !name.is_empty()),
            certificate,
            key,
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("registry: {error}"));
        Ok((front, Some(Trust::new(&papers).map_err(named)?)))
    }

    /// The files that there are, beside the certificates of all listeners.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let own = self.certificate.split_whitespace();
        let authorities = [self.client_authorities.as_str(), self.authorities.as_str()];
        authorities.into_iter().filter(|path| !path.is_empty()).chain(own)
    }

    /// What the values do not say each for itself.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(crate) fn check_tls(&self) -> Result<(), (&'static str, String)> {
        let asks = self.ask.iter().any(|text| text.ends_with(":tls"));
        let own = nearest(&self.listen).filter(|own| self.ask.is_empty() && own.is_secure());
        let vague = |own: &&Address| own.socket().is_some_and(|own| own.ip().is_unspecified());
        if let Some(own) = own.filter(|own| self.authorities.is_empty() || vague(own))
            && self.server_name.is_empty()
        {
            let what = format!(
                "the server itself asks its registry, at {own}: say by registry.authorities who \
                 certifies it and by registry.server_name what its certificate names, or add an \
                 address without TLS such as unix:/run/ahm/registry"
            );
            return Err(("registry.listen", what));
        }
        if self.authorities.is_empty() {
            let needed = "say by registry.authorities who certifies those whom this server dials";
            let others = [
                ("registry.server_name", &self.server_name),
                ("registry.certificate", &self.certificate),
            ];
            let lonely = others.iter().find(|(_, value)| !value.is_empty());
            let key = lonely.map(|(key, _)| *key).or_else(|| asks.then_some("registry.ask"));
            return key.map_or(Ok(()), |key| Err((key, needed.into())));
        }
        Ok(())
    }
}

/// Whether a text names the files of a certificate and its key, or none.
pub(crate) fn check_certificate(text: &str) -> Result<(), String> {
    let words = text.split_whitespace().count();
    match words {
        0 | 2 => Ok(()),
        _ => Err(format!("{text:?} is not \"CHAIN.pem KEY.pem\"")),
    }
}
