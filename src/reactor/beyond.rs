//! Connections of our own that TLS protects: whom we believe, and who must prove what name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

use crate::reactor::tls::Secure;
use crate::reactor::transport::Transport;

/// Where systems keep the authorities that they believe, the first that is there.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What connections of our own believe, and what they show: files of PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Papers {
    /// The authorities that are believed; `None`: those that this system believes.
    pub authorities: Option<PathBuf>,
    /// What the other's certificate must name, where that is not the host of its address.
    pub server_name: Option<String>,
    /// The certificate to show where one is asked for, and those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// Its private key, where that is not in the file of the certificate.
    pub key: Option<PathBuf>,
}

/// Papers that were read: whoever is spoken to must prove its name, which no setting changes.
///
/// ```no_run
/// use ahm::reactor::beyond::{Papers, Trust};
/// let papers = Papers { authorities: Some("/etc/ahm/ca.pem".into()), ..Papers::default() };
/// let beyond = Trust::new(&papers)?.beyond("www.example.com")?;
/// # let _ = beyond;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    authorities: Arc<Path>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used, or the name is none; the text says which and why.
    pub fn new(papers: &Papers) -> io::Result<Self> {
        let name = papers.server_name.as_deref().map(parse_name).transpose().map_err(wrong)?;
        let shown = match (&papers.certificate, &papers.key) {
            (Some(chain), key) => Some((chain.as_path(), key.as_ref().unwrap_or(chain).as_path())),
            (None, Some(key)) => {
                let key = key.display();
                return Err(wrong(format!("{key}: a key without a certificate is of no use")));
            }
            (None, None) => None,
        };
        let authorities = papers.authorities.clone().unwrap_or_else(system_file);
        let config = config(&authorities, shown)?;
        Ok(Self { config, name, authorities: authorities.into() })
    }

    /// The same for those who speak another protocol than HTTP, by its name (ALPN, RFC 7301):
    /// whoever offers others only is no partner.
    #[must_use]
    pub fn speaking(self, protocol: &[u8]) -> Self {
        let mut config = Arc::unwrap_or_clone(self.config);
        config.alpn_protocols = vec![protocol.to_vec()];
        Self { config: Arc::new(config), ..self }
    }

    /// Whether a certificate is shown where one is asked for.
    pub fn shows_certificate(&self) -> bool {
        self.config.client_auth_cert_resolver.has_certs()
    }

    /// Somebody at that host, the name or address that stands in an URL.
    ///
    /// # Errors
    ///
    /// When that can be in no certificate.
    pub fn beyond(&self, host: &str) -> io::Result<Beyond> {
        let named = || parse_name(host).map_err(wrong);
        let name = self.name.clone().map_or_else(named, Ok)?;
        let (config, authorities) = (Arc::clone(&self.config), Arc::clone(&self.authorities));
        Ok(Beyond { config, name, authorities })
    }
}

/// Somebody who is spoken to by TLS, and must prove its name.
#[derive(Clone)]
pub struct Beyond {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// Where those stand who are believed.
    authorities: Arc<Path>,
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
        let name = parse_name(name).map_err(wrong)?;
        let authorities = authorities.map_or_else(system_file, Path::to_path_buf);
        Ok(Self { config: config(&authorities, None)?, name, authorities: authorities.into() })
    }

    /// How it is spoken to, and what it must prove to be.
    pub(crate) fn parts(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        (Arc::clone(&self.config), self.name.clone())
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

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
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
    config(&authorities.map_or_else(system_file, Path::to_path_buf), None)
}

/// The same; `shown` are the files of a certificate and its key, for who asks for one.
fn config(path: &Path, shown: Option<(&Path, &Path)>) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let roots = Arc::new(roots(path)?);
    let builder = builder.with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let (certificates, secret) = (read_chain(chain)?, read_key(key)?);
            builder.with_client_auth_cert(certificates, secret).map_err(|error| {
                let (chain, key) = (chain.display(), key.display());
                wrong(match error {
                    Error::InconsistentKeys(_) => {
                        format!("{key}: it is not the key of the certificate in {chain}")
                    }
                    other => format!("{key}: it cannot be used for {chain}: {other}"),
                })
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn read_chain(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(format!("{}: {error}", path.display())))?;
    match chain.is_empty() {
        true => Err(wrong(format!("{}: there is no certificate in it", path.display()))),
        false => Ok(chain),
    }
}

pub(crate) fn read_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        use rustls::pki_types::pem::Error::NoItemsFound;
        let what = match error {
            NoItemsFound => "there is no private key in it".to_owned(),
            other => other.to_string(),
        };
        wrong(format!("{}: {what}", path.display()))
    })
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
    let named = |what: String| wrong(format!("{}: {what}", path.display()));
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

/// Whether what came instead of a handshake is no TLS.
pub fn is_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidMessage(_)))
}

/// Why a connection to `beyond` has ended, in words, if it is for want of proof on one of its
/// sides: then it will end so however often it is tried, until somebody changes a certificate.
///
/// ```
/// use std::io;
/// use ahm::reactor::beyond::{Papers, Trust, unproved};
/// # let file = std::env::temp_dir().join(format!("ahm-unproved-{}", std::process::id()));
/// # let key = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap();
/// # std::fs::write(&file, key.cert.pem()).unwrap();
/// let papers = Papers { authorities: Some(file.clone()), ..Papers::default() };
/// let beyond = Trust::new(&papers)?.beyond("www.example.com")?;
/// assert_eq!(unproved(&beyond, &io::ErrorKind::ConnectionReset.into()), None);
/// let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
/// let words = unproved(&beyond, &io::Error::other(unknown)).unwrap();
/// assert!(words.contains("www.example.com") && words.contains(file.to_str().unwrap()));
/// # std::fs::remove_file(&file)?;
/// # Ok::<(), io::Error>(())
/// ```
pub fn unproved(beyond: &Beyond, error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let name = beyond.name.to_str();
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(format!(
            "the certificate of {name} is refused: no authority in {} has issued it",
            beyond.authorities.display()
        )),
        Error::InvalidCertificate(why) => {
            Some(format!("the certificate of {name} is refused: {why}"))
        }
        Error::AlertReceived(alert) => {
            let what = match alert {
                AlertDescription::CertificateRequired => "demands a certificate of us",
                AlertDescription::UnknownCA => "does not know the authority of our certificate",
                AlertDescription::CertificateRevoked => "says that our certificate was revoked",
                AlertDescription::CertificateExpired => "says that our certificate has expired",
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied => "refuses our certificate",
                AlertDescription::UnrecognisedName => "says that it does not go by that name",
                _ => return None,
            };
            Some(format!("{name} {what}"))
        }
        _ => None,
    }
}
