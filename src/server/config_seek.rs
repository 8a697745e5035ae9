//! How a server finds resources that run in other processes.

use crate::base::time::Span;
use crate::link::peer::Me;
use crate::link::upstream::Seek;
use crate::server::config::Config;
use crate::wire::resource::{InstanceId, Role};

/// The registries that are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registries {
    /// Their addresses, `IP:PORT` or `unix:/PATH`, the one to be asked first in front; without any,
    /// only resources of this process are served.
    pub ask: Vec<String>,
    /// How long a registry that was lost, or a subject that nobody serves, is left alone.
    pub retry: Span,
    /// How long a subject may be without an instance before its channels end.
    pub patience: Span,
    /// How often this server lets itself be heard.
    pub heartbeat: Span,
}

impl Default for Registries {
    fn default() -> Self {
        Self {
            ask: Vec::new(),
            retry: Span::from_secs(1),
            patience: Span::from_secs(10),
            heartbeat: Span::from_secs(2),
        }
    }
}

impl Config {
    /// What a server of that instance says of itself, and how it seeks; `None` where it does not.
    pub(crate) fn upstream(&self, instance: InstanceId) -> Option<(Me, Seek)> {
        let found = &self.registries;
        let registries: Vec<_> = found.ask.iter().filter_map(|text| text.parse().ok()).collect();
        if registries.is_empty() {
            return None;
        }
        let me = Me {
            role: Role::Consumer,
            instance,
            name: self.protocol.scs.clone(),
            heartbeat: found.heartbeat,
            key: String::new(),
            demands: String::new(),
        };
        let Registries { retry, patience, .. } = *found;
        Some((me, Seek { registries, retry, patience }))
    }
}
