//! The flags that decide the configuration, the same for every subcommand that reads one.

use std::path::{Path, PathBuf};

use crate::server::config::Config;
use crate::server::config_load::{Flag, Sources, load};

/// Flags over environment over file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// File to read; without it AHM_CONFIG names it, and without that there is none
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients connect, as in 0.0.0.0:80; in 0.0.0.0:81:flush=20ms messages may wait that
    /// long for more, and 10.0.0.5:82:proxy is behind a load balancer that speaks the PROXY
    /// protocol; repeat it for several addresses
    #[arg(long, value_name = "ADDRESS:PORT[:flush=SPAN][:proxy]")]
    pub listen: Vec<String>,
    /// Where publishers connect, an address or the file of a Unix socket; repeat it for several
    #[arg(long, value_name = "ADDRESS:PORT|/PATH")]
    pub private: Vec<String>,
    /// Reactor threads; 0 for one per core
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
    /// Keep each shard on a core of its own
    #[arg(long)]
    pub pin: bool,
    /// This server's id
    #[arg(long, value_name = "ID")]
    pub scs: Option<String>,
    /// A resource, as in fx:feed, board:board or fx:feed:state:history.messages=500; repeat it for
    /// several; these replace the resources of the file
    #[arg(long, value_name = "NAME:KIND")]
    pub resource: Vec<String>,
    /// off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORM")]
    pub log_format: Option<String>,
    /// Any key of the file; repeat it for several
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ConfigArgs {
    /// The configuration of file, environment and these flags.
    ///
    /// # Errors
    /// What to tell the operator, a line or more for each mistake.
    pub fn load(&self) -> Result<Config, String> {
        let file = match self.file() {
            Some(path) => Some((path.display().to_string(), read(&path)?)),
            None => None,
        };
        let sources = Sources { file, variables: variables(), flags: self.flags()? };
        load(&sources).map_err(|problems| problems.to_string())
    }

    /// The file that is read, if any.
    pub fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| std::env::var_os("AHM_CONFIG").map(PathBuf::from))
    }

    fn flags(&self) -> Result<Vec<Flag>, String> {
        let mut flags = Vec::new();
        let mut add = |name: &str, key: &str, value: &str| {
            flags.push(Flag { flag: name.into(), key: key.into(), value: value.into() });
        };
        for assignment in &self.set {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| format!("--set {assignment}: write --set KEY=VALUE"))?;
            add(&format!("--set {key}"), key, value);
        }
        if !self.listen.is_empty() {
            add("--listen", "listen", &self.listen.join(","));
        }
        if !self.private.is_empty() {
            add("--private", "private.listen", &self.private.join(","));
        }
        if self.pin {
            add("--pin", "pin", "true");
        }
        for (name, key, value) in [
            ("--shards", "shards", &self.shards),
            ("--scs", "protocol.scs", &self.scs),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ] {
            if let Some(value) = value {
                add(name, key, value);
            }
        }
        for resource in &self.resource {
            add("--resource", "resource", resource);
        }
        Ok(flags)
    }
}

/// The environment's `AHM_*`.
pub fn variables() -> Vec<(String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let all = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let mut ours: Vec<_> = all.filter(|(name, _)| name.starts_with("AHM_")).collect();
    ours.sort();
    ours
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_sets_its_key() {
        let args = ConfigArgs {
            listen: vec!["127.0.0.1:0".into(), "[::1]:0".into()],
            private: vec!["127.0.0.1:0".into()],
            shards: Some("2".into()),
            pin: true,
            scs: Some("here".into()),
            resource: vec!["fx:feed:state".into(), "talk:board".into()],
            log_level: Some("debug".into()),
            log_format: Some("json".into()),
            set: vec!["protocol.linger=5s".into()],
            config: None,
        };
        let sources = Sources { flags: args.flags().unwrap(), ..Sources::default() };
        let config = load(&sources).unwrap();
        assert_eq!((config.listen.len(), config.private_listen.len(), config.shards), (2, 1, 2));
        assert_eq!((config.resources.len(), config.pin), (2, true));
        assert_eq!(config.protocol.linger.as_secs(), 5);
        assert_eq!(config.protocol.scs, "here");
        assert_eq!((config.log.level.word(), config.log.format.word()), ("debug", "json"));
    }

    #[test]
    fn a_setting_without_a_value_is_told() {
        let args = ConfigArgs { set: vec!["shards".into()], ..ConfigArgs::default() };
        assert_eq!(args.flags().unwrap_err(), "--set shards: write --set KEY=VALUE");
    }
}
