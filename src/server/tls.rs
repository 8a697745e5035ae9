//! TLS as the configuration has it: certificates and their names, whom clients may be certified by,
//! who is passed on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::base::time::Span;
use crate::link::address::Address;
use crate::reactor::beyond::roots;
use crate::reactor::front::{Front, is_name_of};
use crate::resource::protection::PROTOCOL;
use crate::server::config::Config;
use crate::server::config_listen::{ClientCertificates, Listen};
use crate::server::tls_names::{Names, read_names};

/// What the operator lays down for all listeners with TLS.
///
/// ```
/// use ahm::server::tls::TlsConfig;
/// assert!(TlsConfig::default().certificates.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Files of each certificate: `CHAIN.pem KEY.pem` and maybe `OCSP.der`, the answer of its
    /// authority that is sent along (RFC 6066, section 8). A client gets the first whose names
    /// fit, else the first.
    pub certificates: Vec<String>,
    /// Authorities that may certify clients, a file of PEM; empty for none.
    pub client_authorities: String,
    /// What those authorities have revoked, a file of PEM; empty for none.
    pub client_revoked: String,
    /// `NAME=ADDRESS`: who asks for that name is passed on there, encrypted.
    pub pass: Vec<String>,
    /// The oldest version: `1.2` or `1.3`.
    pub oldest: String,
    /// How often the files are looked at, to be read again when they have changed; zero: never.
    pub watch: Span,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            client_authorities: String::new(),
            client_revoked: String::new(),
            pass: Vec::new(),
            oldest: "1.2".into(),
            watch: Span::from_secs(5),
        }
    }
}

impl TlsConfig {
    /// What public listeners do, in their order; nothing for those without TLS.
    ///
    /// # Errors
    ///
    /// Which file cannot be read or used, and why.
    pub fn fronts(&self, listen: &[Listen]) -> io::Result<Arc<[Option<Arc<Front>>]>> {
        self.fronts_of(listen, (&[], &Clients::of_public(self)))
    }

    /// The same, and behind them what private listeners do.
    pub(crate) fn fronts_of(
        &self,
        listen: &[Listen],
        (private, clients): (&[Listen], &Clients),
    ) -> io::Result<Fronts> {
        if listen.iter().chain(private).all(|one| one.tls.is_none()) {
            return Ok(listen.iter().chain(private).map(|_| None).collect());
        }
        let works = Works::new(self)?;
        let ours = Clients::of_public(self);
        let passes = self.pass.iter().filter_map(|text| parse_pass(text).ok());
        let passes: Vec<_> = passes.map(|(name, _)| name).zip(0..).collect();
        let front = |wanted, clients: &Clients, passes: &[_]| -> io::Result<Arc<Front>> {
            let verifier = clients.verifier(wanted, &works.provider)?;
            let config = works.config(self.versions(), verifier)?;
            Front::new(config, b"http/1.1", passes.to_vec()).map(Arc::new)
        };
        let public = listen.iter().map(|one| one.tls.map(|tls| front(tls, &ours, &passes)));
        // Nobody is passed on who comes to a private one.
        let private = private.iter().map(|one| one.tls.map(|tls| front(tls, clients, &[])));
        public.chain(private).map(Option::transpose).collect()
    }

    /// What is done with those who dial in to speak the resource protocol.
    ///
    /// # Errors
    ///
    /// Which file cannot be read or used, and why.
    pub(crate) fn link_front(&self, client_authorities: &str) -> io::Result<Arc<Front>> {
        let works = Works::new(self)?;
        let wanted = match client_authorities {
            "" => ClientCertificates::Ignored,
            _ => ClientCertificates::Required,
        };
        let authorities = ("registry.client_authorities", client_authorities.to_owned());
        let clients = Clients { authorities, revoked: ("registry", String::new()) };
        let verifier = clients.verifier(wanted, &works.provider)?;
        let config = works.config(self.versions(), verifier)?;
        Front::new(config, PROTOCOL, Vec::new()).map(Arc::new)
    }

    /// Where connections are passed on to, in the order of their numbers.
    pub fn targets(&self) -> Vec<Address> {
        let passes = self.pass.iter().filter_map(|text| parse_pass(text).ok());
        passes.map(|(_, address)| address).collect()
    }

    /// The files of certificates.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.certificates.iter().flat_map(|text| text.split_whitespace())
    }

    fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static NEW: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
        match self.oldest.as_str() {
            "1.3" => &NEW,
            _ => rustls::ALL_VERSIONS,
        }
    }

    fn names(&self, provider: &CryptoProvider) -> io::Result<ByName> {
        let keys = self.certificates.iter().map(|text| read_certificate(text, provider));
        let keys = keys.collect::<io::Result<Vec<_>>>()?;
        if keys.is_empty() {
            return Err(wrong("tls.certificates: a listener with TLS needs a certificate"));
        }
        Ok(ByName { keys })
    }
}

/// What the listeners do, in their order; nothing for those without TLS.
pub(crate) type Fronts = Arc<[Option<Arc<Front>>]>;

/// What the configurations of all listeners share.
struct Works {
    provider: Arc<CryptoProvider>,
    names: Arc<ByName>,
}

impl Works {
    fn new(config: &TlsConfig) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let names = Arc::new(config.names(&provider)?);
        Ok(Self { provider, names })
    }

    /// One that looks at the certificates of clients by `verifier`.
    fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        verifier: Option<Arc<dyn ClientCertVerifier>>,
    ) -> io::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let resolver = Arc::clone(&self.names) as Arc<dyn ResolvesServerCert>;
        Ok(builder.with_cert_resolver(resolver))
    }
}

/// Who may certify clients, and what was revoked of that: files of PEM, as keys of the
/// configuration name them.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    /// The key and its value.
    authorities: (&'static str, String),
    /// Likewise.
    revoked: (&'static str, String),
}

impl Clients {
    /// Those of public listeners.
    pub(crate) fn of_public(config: &TlsConfig) -> Self {
        Self {
            authorities: ("tls.client_authorities", config.client_authorities.clone()),
            revoked: ("tls.client_revoked", config.client_revoked.clone()),
        }
    }

    /// Those of private listeners.
    pub(crate) fn of_private(config: &Config) -> Self {
        if config.private_authorities.is_empty() {
            return Self::of_public(&config.tls);
        }
        Self {
            authorities: ("private.client_authorities", config.private_authorities.clone()),
            revoked: ("private.client_revoked", config.private_revoked.clone()),
        }
    }

    /// The files that there are.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let all = [self.authorities.1.as_str(), self.revoked.1.as_str()];
        all.into_iter().filter(|path| !path.is_empty())
    }

    /// What looks at the certificates of clients, if they are wanted.
    fn verifier(
        &self,
        wanted: ClientCertificates,
        provider: &Arc<CryptoProvider>,
    ) -> io::Result<Option<Arc<dyn ClientCertVerifier>>> {
        if wanted == ClientCertificates::Ignored {
            return Ok(None);
        }
        let (key, path) = &self.authorities;
        if path.is_empty() {
            let what = "listeners that ask for certificates need authorities";
            return Err(wrong(&format!("{key}: {what}")));
        }
        let roots = roots(Path::new(path)).map_err(|error| named(key, &error))?;
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let (key, path) = &self.revoked;
        if !path.is_empty() {
            builder = builder.with_crls(read_revoked(key, path)?);
        }
        if wanted == ClientCertificates::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Some(verifier))
    }
}

/// Certificates, found by the names in them.
#[derive(Debug)]
struct ByName {
    keys: Vec<(Names, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |(names, _): &&(Names, Arc<CertifiedKey>)| {
            hello
                .server_name()
                .is_some_and(|wanted| names.dns.iter().any(|pattern| is_name_of(pattern, wanted)))
        };
        let found = self.keys.iter().find(fits).or_else(|| self.keys.first());
        found.map(|(_, key)| Arc::clone(key))
    }
}

fn read_certificate(
    text: &str,
    provider: &CryptoProvider,
) -> io::Result<(Names, Arc<CertifiedKey>)> {
    let (chain_path, key_path, ocsp_path) =
        parse_files(text).map_err(|what| wrong(&format!("tls.certificates: {what}")))?;
    let in_file = |path: &str, what: String| wrong(&format!("tls.certificates: {path}: {what}"));
    let chain = CertificateDer::pem_file_iter(chain_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| in_file(chain_path, error.to_string()))?;
    let first = chain.first().ok_or_else(|| in_file(chain_path, "no certificate in it".into()))?;
    let names = read_names(first).map_err(|what| in_file(chain_path, what))?;
    names.warn_of_age(chain_path);
    let key = PrivateKeyDer::from_pem_file(key_path)
        .map_err(|error| in_file(key_path, error.to_string()))?;
    let mut certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        in_file(key_path, format!("it is no key of the certificate in {chain_path}: {error}"))
    })?;
    if let Some(path) = ocsp_path {
        let answer = std::fs::read(path).map_err(|error| in_file(path, error.to_string()))?;
        if !is_ocsp_answer(&answer) {
            let what = "it is no successful OCSP answer in DER, or not a whole one";
            return Err(in_file(path, what.into()));
        }
        certified.ocsp = Some(answer);
    }
    Ok((names, Arc::new(certified)))
}

/// Whether it is an `OCSPResponse` that was successful (RFC 6960, 4.2.1), and whole: clients end a
/// handshake in which they are sent anything else.
fn is_ocsp_answer(bytes: &[u8]) -> bool {
    const SUCCESSFUL: [u8; 3] = [0x0a, 1, 0];
    let (length, inside) = match bytes {
        [0x30, length @ ..=0x7f, inside @ ..] => (usize::from(*length), inside),
        [0x30, 0x81, length, inside @ ..] => (usize::from(*length), inside),
        [0x30, 0x82, high, low, inside @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), inside)
        }
        _ => return false,
    };
    inside.len() == length && inside.starts_with(&SUCCESSFUL)
}

fn read_revoked(key: &str, path: &str) -> io::Result<Vec<CertificateRevocationListDer<'static>>> {
    CertificateRevocationListDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&format!("{key}: {path}: {error}")))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

fn named(key: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{key}: {error}"))
}

fn parse_files(text: &str) -> Result<(&str, &str, Option<&str>), String> {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(chain), Some(key), ocsp, None) => Ok((chain, key, ocsp)),
        _ => Err(format!("{text:?} is not \"CHAIN.pem KEY.pem\", with OCSP.der behind or without")),
    }
}

fn parse_pass(text: &str) -> Result<(String, Address), String> {
    let wrong = || format!("{text:?} is not NAME=IP:PORT or NAME=unix:/PATH");
    let (name, address) = text.split_once('=').ok_or_else(wrong)?;
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(legal) {
        return Err(wrong());
    }
    let address: Address = address.parse().map_err(|_| wrong())?;
    match address {
        Address::Tcp(tcp) if tcp.port() == 0 => Err(wrong()),
        Address::Tls(_) => Err(wrong()),
        address => Ok((name.to_string(), address)),
    }
}

/// Whether each text names the files of a certificate.
pub(crate) fn check_certificates(texts: &[&str]) -> Result<(), String> {
    texts.iter().try_for_each(|text| parse_files(text).map(drop))
}

/// Whether a text says who is passed on where.
pub(crate) fn check_pass(text: &str) -> Result<(), String> {
    parse_pass(text).map(drop)
}

/// Whether a text is a version of TLS that can be the oldest.
pub(crate) fn check_oldest(text: &str) -> Result<(), String> {
    let known = ["1.2", "1.3"].contains(&text);
    known.then_some(()).ok_or_else(|| format!("{text:?} is neither 1.2 nor 1.3"))
}
