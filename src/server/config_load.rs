//! Reads a configuration: the file, then the environment, then flags; the later wins.

use std::collections::HashMap;

use crate::base::time::Span;
use crate::link::address::Address;
use crate::server::config::{Config, Listen, RegistryConfig, ResourceConfig, ResourceKind};
use crate::server::config_file::{self, Given, GivenResource};
use crate::server::config_key::Key;
use crate::server::config_keys::{Draft, RESOURCE_KEYS, keys};
use crate::server::config_print::print;
use crate::server::config_problem::{Origin, Problem, Problems, nearest};
pub use crate::server::config_sources::{Flag, Sources};
use crate::server::config_value::{Value, show_span};

/// Variables that begin with `AHM_` and are read elsewhere.
const VARIABLES_ELSEWHERE: [&str; 1] = ["AHM_CONFIG"];

/// Reads a configuration over [`Config::default`].
///
/// # Errors
/// Everything that is wrong, each with its place: unknown keys, values of the wrong type or out of
/// range, values that do not go together.
///
/// ```
/// use ahm::server::config_load::{Sources, load};
///
/// let file = "shards = 2\n[protocol]\nheartbeet = \"5s\"\n";
/// let sources = Sources { file: Some(("ahm.toml".into(), file.into())), ..Sources::default() };
/// let problems = load(&sources).unwrap_err().to_string();
/// assert!(problems.starts_with("ahm.toml:3: unknown key protocol.heartbeet"));
/// assert!(problems.contains("did you mean heartbeat?"));
/// ```
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    load_over(Config::default(), sources)
}

/// Reads a configuration over `base`, whose values count as defaults.
///
/// # Errors
/// As [`load`].
pub fn load_over(base: Config, sources: &Sources) -> Result<Config, Problems> {
    let mut loader =
        Loader { config: base, origins: HashMap::new(), resources: None, problems: Vec::new() };
    if let Some((name, text)) = &sources.file {
        loader.file(config_file::read(name, text));
    }
    for (name, value) in sources.variables.iter().filter(|(name, _)| name.starts_with("AHM_")) {
        loader.variable(name, value);
    }
    loader.flags(&sources.flags);
    loader.finish()
}

/// A configuration while it is read.
struct Loader {
    config: Config,
    origins: HashMap<&'static str, Origin>,
    resources: Option<Vec<GivenResource>>,
    problems: Vec<Problem>,
}

impl Loader {
    fn problem(&mut self, origin: Origin, what: impl Into<String>) {
        self.problems.push(Problem { origin, what: what.into() });
    }

    fn file(&mut self, given: Given) {
        self.problems.extend(given.problems);
        for (path, value, origin) in given.keys {
            self.set(&path, &value, origin);
        }
        if let Some(resources) = given.resources {
            self.resources(resources);
        }
    }

    fn set(&mut self, path: &str, value: &Value, origin: Origin) {
        let Some(key) = keys().find(|key| key.path == path) else {
            let what = format!("unknown key {path}{}", suggestion(path));
            return self.problem(origin, what);
        };
        match key.set(&mut self.config, value) {
            Ok(()) => {
                self.origins.insert(key.path, origin);
            }
            Err(what) => self.problem(origin, format!("{path}: {what}")),
        }
    }

    /// Replaces the resources; what an earlier source said about them is forgotten.
    fn resources(&mut self, given: Vec<GivenResource>) {
        self.resources = Some(given);
    }

    fn variable(&mut self, name: &str, text: &str) {
        let origin = Origin::Variable(name.into());
        let value = Value::Loose(text.into());
        if VARIABLES_ELSEWHERE.contains(&name) {
            return;
        }
        if name == "AHM_RESOURCE" {
            let words = text.split([',', ' ']).filter(|word| !word.is_empty());
            let given = words.map(|word| short_resource(word, &origin)).collect();
            return self.resources(given);
        }
        if let Some(key) = keys().find(|key| key.variable() == name) {
            return self.set(key.path, &value, origin);
        }
        self.unknown_variable(name, origin);
    }

    /// A variable that looks like a slip of the pen is a mistake. Others are none of ours: some
    /// platforms put `AHM_SERVICE_HOST` and the like into the environment of each process.
    fn unknown_variable(&mut self, name: &str, origin: Origin) {
        let known: Vec<String> = keys().map(Key::variable).collect();
        let in_section = |key: &Key<Config>| {
            let section = key.section().to_uppercase();
            let rest = name.strip_prefix("AHM_").and_then(|rest| rest.strip_prefix(&section));
            !section.is_empty() && rest.is_some_and(|rest| rest.starts_with('_'))
        };
        match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => self.problem(origin, format!("unknown variable; did you mean {near}?")),
            None if keys().any(in_section) => {
                self.problem(origin, "unknown variable");
            }
            None => {}
        }
    }

    fn flags(&mut self, flags: &[Flag]) {
        let mut resources = Vec::new();
        for Flag { flag, key, value } in flags {
            let origin = Origin::Flag(flag.clone());
            if key == "resource" {
                resources.push(short_resource(value, &origin));
            } else {
                self.set(key, &Value::Loose(value.clone()), origin);
            }
        }
        if !resources.is_empty() {
            self.resources(resources);
        }
    }

    fn origin(&self, paths: &[&str]) -> Origin {
        let given = paths.iter().find_map(|path| self.origins.get(path));
        given.cloned().unwrap_or(Origin::Default)
    }

    fn finish(mut self) -> Result<Config, Problems> {
        if let Some(given) = self.resources.take() {
            self.config.resources = self.read_resources(given);
        }
        self.check_relations();
        self.check_flush();
        self.check_addresses();
        if let Err((path, what)) = self.config.relay.check() {
            self.problem(self.origin(&[path]), format!("{path}: {what}"));
        }
        if let Err((path, what)) = self.config.registry.check_tls() {
            self.problem(self.origin(&[path]), format!("{path}: {what}"));
        }
        if let Err((path, what)) = self.config.auth.check(&self.config.relay) {
            self.problem(self.origin(&[path]), format!("{path}: {what}"));
        }
        if self.problems.is_empty() { Ok(self.config) } else { Err(Problems(self.problems)) }
    }

    fn read_resources(&mut self, given: Vec<GivenResource>) -> Vec<ResourceConfig> {
        let mut resources: Vec<ResourceConfig> = Vec::new();
        for one in given {
            let origin = one.origin.clone();
            let Some(resource) = self.read_resource(one) else { continue };
            if resources.iter().any(|other| other.name == resource.name) {
                self.problem(origin, format!("resource {:?} is there twice", resource.name));
            } else {
                resources.push(resource);
            }
        }
        resources
    }

    fn read_resource(&mut self, given: GivenResource) -> Option<ResourceConfig> {
        let history = self.config.protocol.history;
        let resource = ResourceConfig::new(String::new(), ResourceKind::Feed);
        let mut draft = Draft { resource, history };
        let problems_before = self.problems.len();
        let is_first = |path: &str| path == "name" || path == "kind";
        let (first, rest): (Vec<_>, Vec<_>) =
            given.keys.into_iter().partition(|(path, ..)| is_first(path));
        for needed in ["name", "kind"] {
            if !first.iter().any(|(path, ..)| path == needed) {
                self.problem(given.origin.clone(), format!("a resource needs a {needed}"));
            }
        }
        for (path, value, origin) in first {
            self.set_in_resource(&mut draft, &path, &value, origin);
        }
        draft.resource = ResourceConfig::new(draft.resource.name, draft.resource.kind);
        for (path, value, origin) in rest {
            self.set_in_resource(&mut draft, &path, &value, origin);
        }
        draft.resource.history = (draft.history != history).then_some(draft.history);
        (self.problems.len() == problems_before).then_some(draft.resource)
    }

    fn set_in_resource(&mut self, draft: &mut Draft, path: &str, value: &Value, origin: Origin) {
        let Some(key) = RESOURCE_KEYS.iter().find(|key| key.path == path) else {
            let hint = nearest(path, RESOURCE_KEYS.iter().map(|key| key.path))
                .map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return self.problem(origin, format!("unknown key {path} of a resource{hint}"));
        };
        if let Err(what) = key.set(draft, value) {
            self.problem(origin, format!("{path}: {what}"));
        }
    }

    fn check_relations(&mut self) {
        let protocol = &self.config.protocol;
        let relations = [
            (protocol.heartbeat_min <= protocol.heartbeat, "heartbeat_min", "heartbeat"),
            (protocol.heartbeat <= protocol.heartbeat_max, "heartbeat", "heartbeat_max"),
            (protocol.flush <= protocol.flush_max, "flush", "flush_max"),
            (
                protocol.warn_intervals <= protocol.drop_intervals,
                "warn_intervals",
                "drop_intervals",
            ),
            (
                protocol.payload_bytes_max <= protocol.batch_bytes_max,
                "payload_bytes_max",
                "batch_bytes_max",
            ),
            (
                protocol.payload_bytes_max <= protocol.send_window_bytes,
                "payload_bytes_max",
                "send_window_bytes",
            ),
            (
                protocol.history.bytes_max as usize <= protocol.history_bytes_max,
                "history.bytes",
                "history_bytes_max",
            ),
        ];
        for (holds, small, large) in relations {
            if !holds {
                let (small, large) = (format!("protocol.{small}"), format!("protocol.{large}"));
                let origin = self.origin(&[&small, &large]);
                self.problem(origin, format!("{small} must not be above {large}"));
            }
        }
    }

    /// What a listener lays down is within what is allowed, and the clock can count each span.
    fn check_flush(&mut self) {
        let flush_max = self.config.protocol.flush_max;
        let is_whole = |span: Span| span == Span::from_millis(span.as_millis());
        for (path, span) in
            [("protocol.flush", self.config.protocol.flush), ("protocol.flush_max", flush_max)]
        {
            if !is_whole(span) {
                let what =
                    format!("{path}: {} is no whole number of milliseconds", show_span(span));
                self.problem(self.origin(&[path]), what);
            }
        }
        let own: Vec<_> = self.config.listen.iter().filter_map(|listen| listen.flush).collect();
        for span in own {
            let shown = format!("listen: flush={}", show_span(span));
            let what = if !is_whole(span) {
                format!("{shown} is no whole number of milliseconds")
            } else if span > flush_max {
                let most = show_span(flush_max);
                format!("{shown} must not be above protocol.flush_max ({most})")
            } else {
                continue;
            };
            self.problem(self.origin(&["listen", "protocol.flush_max"]), what);
        }
    }

    fn check_addresses(&mut self) {
        if self.config.user.is_empty() && !self.config.group.is_empty() {
            self.problem(self.origin(&["group"]), "group: it goes with a `user`");
        }
        let config = &self.config;
        if config.listen.is_empty() {
            let origin = self.origin(&["listen"]);
            return self.problem(origin, "listen: at least one address is needed");
        }
        let exposed = config.private_listen.iter().find(|listen| listen.is_exposed());
        let asks = config.token.is_some() || !config.token_file.is_empty();
        if let Some(Listen { address, .. }) = exposed.filter(|_| !asks) {
            let origin = self.origin(&["private.listen"]);
            let what = format!(
                "private.listen: {address} can be reached from other machines; \
                 set private.token or private.token_file, or listen on a loopback address \
                 or a Unix socket"
            );
            self.problem(origin, what);
        }
        if let Some(address) = self.config.registry.exposed() {
            let key = match self.config.registry.listen.contains(address) {
                true => "registry.listen",
                false => "registry.guests",
            };
            let what = format!(
                "{key}: {address} can be reached from other machines; \
                 set registry.key_file, or listen on a loopback address or a Unix socket"
            );
            self.problem(self.origin(&[key]), what);
        }
        let config = &self.config;
        let public = config.listen.iter().map(|listen| Address::Tcp(listen.address));
        let private = config.private_listen.iter().map(|listen| Address::Tcp(listen.address));
        let private = private.chain(config.private_sockets.iter().cloned().map(Address::Unix));
        // The default of the registry gives way: there is none where the address is taken.
        let chosen = config.registry.listen != RegistryConfig::default().listen;
        let registry = config.registry.listen.iter().filter(|_| chosen);
        let guests = config.registry.guests.iter();
        let bare = |one: &Address| one.socket().map_or_else(|| one.clone(), Address::Tcp);
        let (registry, guests) = (registry.map(bare), guests.map(bare));
        let all: Vec<_> = public.chain(private).chain(registry).chain(guests).collect();
        let is_free = |address: &Address| matches!(address, Address::Tcp(any) if any.port() == 0);
        let twice =
            |(at, address): &(usize, &Address)| !is_free(address) && all[..*at].contains(*address);
        if let Some((_, address)) = all.iter().enumerate().find(twice) {
            let keys = ["private.listen", "listen", "registry.listen", "registry.guests"];
            let origin = self.origin(&keys);
            self.problem(origin, format!("{address} is listened on twice"));
        }
    }
}

/// Reads `NAME:KIND[:KEY=VALUE]...`, the form of a resource in the environment and in flags.
fn short_resource(word: &str, origin: &Origin) -> GivenResource {
    let mut parts = word.split(':');
    let mut keys = Vec::new();
    for needed in ["name", "kind"] {
        if let Some(part) = parts.next() {
            keys.push((needed.into(), Value::Loose(part.into()), origin.clone()));
        }
    }
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        keys.push((key.into(), Value::Loose(value.into()), origin.clone()));
    }
    GivenResource { origin: origin.clone(), keys }
}

/// What was probably meant by an unknown key: the same name in another table, a similar name in
/// its own table, or a similar full name.
fn suggestion(path: &str) -> String {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let elsewhere = keys().find(|key| key.name() == name).map(|key| key.path);
    let siblings = keys().filter(|key| key.section() == section).map(Key::name);
    let meant = elsewhere
        .or_else(|| nearest(name, siblings))
        .or_else(|| nearest(path, keys().map(|key| key.path)))
        .or_else(|| nearest(name, keys().map(Key::name)));
    meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"))
}

/// Checks a configuration that was made in Rust as [`load`] checks one that was read.
///
/// # Errors
/// As [`load`], without places.
pub fn check(config: &Config) -> Result<(), Problems> {
    let base = Config { token: config.token.clone(), ..Config::default() };
    let file = Some(("configuration".into(), print(config)));
    let without_place = |problem: Problem| Problem { origin: Origin::Default, ..problem };
    match load_over(base, &Sources { file, ..Sources::default() }) {
        Ok(_) => Ok(()),
        Err(found) => Err(Problems(found.0.into_iter().map(without_place).collect())),
    }
}
