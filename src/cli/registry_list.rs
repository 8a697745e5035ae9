//! `ahm registry list`: asks registries what is registered.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use crate::base::id::Key;
use crate::base::time::{Instant, Span};
use crate::cli::papers::PaperArgs;
use crate::cli::registry_table::{json_line, table};
use crate::cli::terminal::{complain, fail, say};
use crate::link::address::Address;
use crate::link::handle::OwnedHandle;
use crate::link::links::Links;
use crate::link::peer::{End, Me, Other};
use crate::link::station::Station;
use crate::resource::driver::{Driver, Setup};
use crate::resource::protection::Protection;
use crate::server::registry::read_key;
use crate::wire::resource::{Frame, InstanceId, Role};

const EXAMPLES: &str = "\
Examples:
  ahm registry list                                what is registered at 127.0.0.1:8082
  ahm registry list unix:/run/ahm/registry
  ahm registry list 10.0.0.5:8082 10.0.0.6:8082 --key-file key
  ahm registry list 10.0.0.5:8082:tls --ca ca.pem --cert me.pem --key me.key
  ahm registry list --json | jq -r '.addresses[]'

With --json one object a line: registry, resource, instance, name, addresses, weight, capacity,
consumers, takes_messages, replicas, conversations, access, labels, heard_ms,
registered_ms.

The exit code is 1 if a registry does not answer; what the others say is printed all the same.";

/// Lists what is registered.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The registries to ask
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub registries: Vec<Address>,
    /// File with the key to show there
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// What proves whom it speaks to.
    #[command(flatten)]
    pub papers: PaperArgs,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// An instance of a resource, as a registry tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The resource.
    pub resource: String,
    /// The process.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// Its handle.
    pub handle: OwnedHandle,
    /// The consumers that it has reported.
    pub consumers: u64,
    /// How long ago it was heard.
    pub heard: Span,
    /// How long it has been registered.
    pub since: Span,
}

/// What came of asking a registry.
type List = Result<Vec<Listed>, String>;

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let key = match args.key_file.as_deref().map(read_key).transpose() {
        Ok(key) => key.unwrap_or_default(),
        Err(error) => return complain("registry list", &format!("--key-file: {error}")),
    };
    let tls = match args.papers.protection(&args.registries) {
        Ok(tls) => tls,
        Err(problem) => return complain("registry list", &problem),
    };
    let lists = match ask(&args.registries, key, tls) {
        Ok(lists) => lists,
        Err(error) => return fail("registry list", &error),
    };
    let (mut rows, mut failed) = (Vec::new(), false);
    for (registry, list) in args.registries.iter().zip(lists) {
        match list {
            Ok(mut list) => {
                // Numbers of processes are random: people look for names.
                list.sort_by(|a, b| (&a.resource, &a.name).cmp(&(&b.resource, &b.name)));
                rows.extend(list.into_iter().map(|listed| (registry, listed)));
            }
            Err(problem) => {
                fail("registry list", &format!("{registry}: {problem}"));
                failed = true;
            }
        }
    }
    if args.json {
        say(&rows.iter().map(|(registry, listed)| json_line(registry, listed)).collect::<String>());
    } else if !rows.is_empty() {
        say(&table(&rows, args.registries.len() > 1));
    } else if !failed {
        say("Nothing is registered.\n");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Asks all registries at once.
fn ask(registries: &[Address], key: String, tls: Protection) -> io::Result<Vec<List>> {
    let instance = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let me = Me {
        role: Role::Consumer,
        instance: InstanceId(instance),
        name: "ahm registry list".into(),
        heartbeat: Span::from_secs(1),
        key,
        demands: String::new(),
    };
    let (sender, told) = channel();
    let setup = Setup { tls, ..Setup::new("registry-list") };
    let now = setup.clock.now();
    let driver = Driver::start(setup, |_| Lister::new(me, registries, sender, now))?;
    let mut lists: Vec<List> =
        registries.iter().map(|_| Err("it has not answered".to_string())).collect();
    // Each is told of once, after the patience of its connection at the latest.
    for (at, list) in told.iter().take(registries.len()) {
        lists[at] = list;
    }
    driver.stop()?;
    Ok(lists)
}

/// Asks each registry once.
#[derive(Debug)]
struct Lister {
    links: Links,
    /// By connection, which registry it is of those that were given, and what it has told so far.
    asked: HashMap<Key, (usize, Vec<Listed>)>,
    told: Sender<(usize, List)>,
}

impl Lister {
    fn new(me: Me, registries: &[Address], told: Sender<(usize, List)>, now: Instant) -> Self {
        let mut links = Links::new(me, now);
        let dial =
            |(at, address): (usize, &Address)| (links.dial([address.clone()]), (at, Vec::new()));
        let asked = registries.iter().enumerate().map(dial).collect();
        Self { links, asked, told }
    }

    /// What came of one registry is clear.
    fn tell(&mut self, link: Key, outcome: impl FnOnce(Vec<Listed>) -> List) {
        if let Some((at, listed)) = self.asked.remove(&link) {
            // Nobody listens any more where this fails.
            let _ = self.told.send((at, outcome(listed)));
        }
    }
}

impl Station for Lister {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        if self.links.other(link).is_some_and(|other| other.role == Role::Registry) {
            self.links.send(link, &Frame::List { ask: 1 });
        } else {
            self.tell(link, |_| Err("who answers there is no registry".into()));
            self.links.leave(link, "a registry was looked for");
        }
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Entry { ask: 1, resource, instance, name, handle, consumers, heard, since } => {
                let Some((_, listed)) = self.asked.get_mut(&link) else { return };
                listed.push(Listed {
                    resource: (*resource).into(),
                    instance: *instance,
                    name: (*name).into(),
                    handle: handle.into(),
                    consumers: *consumers,
                    heard: *heard,
                    since: *since,
                });
            }
            Frame::ListEnd { ask: 1 } => {
                self.tell(link, Ok);
                self.links.leave(link, "that was all");
            }
            _ => self.links.break_off(link, "this was not asked for"),
        }
    }

    fn on_over(&mut self, link: Key, _other: Option<Other>, end: End) {
        self.tell(link, |_| {
            Err(match end {
                End::Unreachable => "nobody answers there".into(),
                end => end.to_string(),
            })
        });
    }
}
