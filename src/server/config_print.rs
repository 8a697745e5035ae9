//! The configuration as text: the commented file of defaults, and the list of keys for the help.

use std::fmt::Write as _;

use crate::server::config::{Config, ResourceConfig};
use crate::server::config_key::Key;
use crate::server::config_keys::{Draft, RESOURCE_KEYS, keys};

const INTRODUCTION: &str = "\
# Configuration of ahm. Each value here is the default; leave out what you do not change.
# The environment wins over this file (AHM_PROTOCOL_HEARTBEAT=5s), flags win over both.
";

/// Writes `config` as a file that reads back to the same, except for a token, which is left out.
pub fn print(config: &Config) -> String {
    let mut config = config.clone();
    let mut out = String::from(INTRODUCTION);
    let mut section = "";
    for key in keys() {
        if key.section() != section {
            section = key.section();
            let _ = write!(out, "\n[{section}]\n");
        }
        comment(&mut out, key);
        if key.path == "private.token" && config.token.is_some() {
            out.push_str("# token = (there is one; not shown)\n");
            continue;
        }
        let _ = writeln!(out, "{} = {}", key.name(), key.show(&mut config));
    }
    out.push_str("\n# Resources: sources of data by name. These replace the default ones.\n");
    for key in &RESOURCE_KEYS {
        let _ = writeln!(out, "#   {}: {}", key.path, key.meaning);
    }
    for resource in &config.resources {
        print_resource(&mut out, resource);
    }
    out
}

fn comment<T>(out: &mut String, key: &Key<T>) {
    let range = key.range();
    let _ = match range.is_empty() {
        true => writeln!(out, "# {}.", key.meaning),
        false => writeln!(out, "# {} ({range}).", key.meaning),
    };
}

fn print_resource(out: &mut String, resource: &ResourceConfig) {
    let default = ResourceConfig::new(resource.name.clone(), resource.kind);
    let history = resource.history.unwrap_or_default();
    let mut draft = Draft { resource: resource.clone(), history };
    out.push_str("\n[[resource]]\n");
    for key in &RESOURCE_KEYS {
        let is_needed = match key.path {
            "latest" => resource.latest != default.latest,
            "state" => resource.state,
            "access" => !resource.access.is_empty(),
            path if path.starts_with("history") => resource.history.is_some(),
            _ => true,
        };
        if is_needed {
            let _ = writeln!(out, "{} = {}", key.path, key.show(&mut draft));
        }
    }
}

/// The list of all keys with their defaults, for the help of `ahm serve`.
pub fn key_list() -> String {
    let mut config = Config::default();
    let mut out = String::from("Keys of the file (--set KEY=VALUE, AHM_KEY=VALUE):\n");
    for key in keys() {
        let range = key.range();
        let _ = write!(out, "  {} = {}\n      {}", key.path, key.show(&mut config), key.meaning);
        let _ = if range.is_empty() { writeln!(out) } else { writeln!(out, " ({range})") };
    }
    out.push_str("\nKeys of a [[resource]]:\n");
    for key in &RESOURCE_KEYS {
        let _ = write!(out, "  {}\n      {}\n", key.path, key.meaning);
    }
    out
}
