//! A front from files of PEM, for whoever has one certificate and one purpose.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use crate::reactor::beyond::{read_chain, read_key, roots};
use crate::reactor::front::Front;

impl Front {
    /// Shows the certificate (with those between it and its authority) of these two files, speaks
    /// that protocol (ALPN), and lets in whom one of `clients` has certified, if that is given.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why.
    pub fn showing(
        (chain, key): (&Path, &Path),
        clients: Option<&Path>,
        protocol: &[u8],
    ) -> io::Result<Self> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier.build().map_err(|error| wrong(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let config = builder.with_single_cert(read_chain(chain)?, read_key(key)?);
        let config = config.map_err(|error| {
            let (chain, key) = (chain.display(), key.display());
            wrong(format!("{key}: it is no key of the certificate in {chain}: {error}"))
        })?;
        Self::new(config, protocol, Vec::new())
    }
}
