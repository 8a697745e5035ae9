//! Connections of our own that TLS protects: whom we believe, and who must prove what name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::reactor::tls::Secure;
use crate::reactor::transport::Transport;

/// Where systems keep the authorities that they believe, the first that is there.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Somebody who is spoken to by TLS, and must prove its name.
#[derive(Clone)]
pub struct Beyond {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl fmt::Debug for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beyond").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Beyond {
    /// Somebody of that name (a DNS name or an address), as an authority of the file must have
    /// certified; without a file, one that this system believes.
    ///
    /// # Errors
    ///
    /// When that is no name, or the file cannot be read.
    ///
    /// ```
    /// use ahm::reactor::beyond::Beyond;
    /// assert!(Beyond::new("web.internal", Some("/no/such/file".as_ref())).is_err());
    /// assert!(Beyond::new("not a name", None).is_err());
    /// ```
    pub fn new(name: &str, authorities: Option<&Path>) -> io::Result<Self> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let name = parse_name(name).map_err(wrong)?;
        Ok(Self { config: trusting(authorities)?, name })
    }

    /// TLS over a connection that is made or being made.
    ///
    /// # Errors
    ///
    /// When it cannot begin.
    pub fn protect(&self, under: Transport) -> io::Result<Transport> {
        let secure = Secure::dial(under, &self.config, self.name.clone())?;
        Ok(Transport::Tls(Box::new(secure)))
    }
}

fn parse_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_string())
        .map_err(|_| format!("{text:?} is neither the name nor the address of a server"))
}

/// Whether a text can be what a server's certificate names.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    parse_name(text).map(drop)
}

/// How servers are spoken to whom an authority of the file has certified, or one that this system
/// believes.
///
/// # Errors
///
/// When the file cannot be read, or holds no certificate of an authority.
pub fn trusting(authorities: Option<&Path>) -> io::Result<Arc<ClientConfig>> {
    let path = authorities.map_or_else(system_file, Path::to_path_buf);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let roots = Arc::new(roots(&path)?);
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn system_file() -> PathBuf {
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        return path.into();
    }
    let there = SYSTEM_FILES.iter().find(|path| Path::new(path).exists());
    there.unwrap_or(&SYSTEM_FILES[0]).into()
}

/// The authorities of a file of PEM.
///
/// # Errors
///
/// When the file cannot be read, or holds no certificate of an authority.
pub fn roots(path: &Path) -> io::Result<RootCertStore> {
    let named = |what: String| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {what}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_file_iter(path).map_err(|error| named(error.to_string()))? {
        let one = one.map_err(|error| named(error.to_string()))?;
        if let Err(error) = roots.add(one) {
            log::debug!("{}: an authority is left out: {error}", path.display());
        }
    }
    if roots.is_empty() {
        return Err(named("it holds no certificate of an authority".into()));
    }
    Ok(roots)
}
