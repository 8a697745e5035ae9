//! TLS of the publisher: what it believes, and what it shows.

use crate::cli::bench::Args;
use crate::cli::bench::address::Server;
use crate::cli::bench::plan::Twin;
use crate::reactor::beyond::Trust;
use crate::resource::protection::Protection;

/// How the publisher speaks TLS.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// With private listeners.
    pub trust: Option<Trust>,
    /// With a registry.
    pub registry: Protection,
}

impl Tls {
    /// As `args` say, for this private listener and that of a second server.
    ///
    /// # Errors
    /// A sentence: a file that cannot be used, or a flag that would mean nothing.
    pub fn new(args: &Args, private: Option<&Server>, twin: Option<&Twin>) -> Result<Self, String> {
        let privates = [private, twin.and_then(|twin| twin.private.as_ref())];
        let secure = privates.iter().flatten().any(|server| server.secure);
        let registry: Vec<_> =
            args.registry.iter().filter(|one| one.is_secure()).cloned().collect();
        if !secure && registry.is_empty() {
            let given = args.papers.first_given();
            let what =
                |flag| format!("{flag} means nothing without https:// or an address with :tls");
            return given.map_or_else(|| Ok(Self::default()), |flag| Err(what(flag)));
        }
        let trust = secure.then(|| Trust::new(&args.papers.papers())).transpose();
        let trust = trust.map_err(|error| error.to_string())?;
        let registry = match registry.is_empty() {
            true => Protection::default(),
            false => args.papers.protection(&registry)?,
        };
        Ok(Self { trust, registry })
    }
}
