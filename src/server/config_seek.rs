//! How a server finds resources that run in other processes.

use std::io;
use std::path::Path;

use crate::link::address::Address;
use crate::link::peer::Me;
use crate::link::upstream::Seek;
use crate::server::registry::{RegistryConfig, read_key};
use crate::wire::resource::{InstanceId, Role};

impl RegistryConfig {
    /// What a server of that name says of itself, and how it seeks, if it does; `own` is where its
    /// own registry is found. Without a registry that is named the own one is asked, or the one
    /// that has its address.
    ///
    /// # Errors
    ///
    /// When the key cannot be read.
    pub(crate) fn seek(&self, name: &str, own: &[Address]) -> io::Result<Option<(Me, Seek)>> {
        let named: Vec<Address> = self.ask.iter().filter_map(|text| text.parse().ok()).collect();
        let registries = match (named.is_empty(), own.is_empty()) {
            (false, _) => named,
            (true, false) => own[..1].to_vec(),
            (true, true) => self.listen.iter().take(1).cloned().collect(),
        };
        if registries.is_empty() {
            return Ok(None);
        }
        let key = match self.key_file.as_str() {
            "" => String::new(),
            path => read_key(Path::new(path))?,
        };
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
        Ok(Some((me, Seek { registries, retry, patience })))
    }
}
