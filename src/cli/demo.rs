//! `ahm demo`: a server with recorded prices and a page that shows them, in one process.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::time::Span;
use crate::cli::config_args::variables;
use crate::cli::demo_feed::DemoFeed;
use crate::cli::pages;
use crate::cli::replay::WallPacer;
use crate::cli::serve::{addresses, wait};
use crate::cli::terminal::{complain, fail, say, start_log};
use crate::proto::settings::History;
use crate::reactor::signals::Signals;
use crate::resource::deal::Deal;
use crate::server::builder::{Builder, Server};
use crate::server::config::{Config, Level, Log, ResourceConfig, ResourceKind};
use crate::server::config_load::{Flag, Sources, load_over};
use crate::server::handle::Handle;

const EXAMPLES: &str = "\
Examples:
  ahm demo                             the page is at http://127.0.0.1:8080/
  ahm demo --listen 0.0.0.0:8080       for other machines too
  ahm demo --listen 127.0.0.1:0 --private 127.0.0.1:0 --shards 1

Resources: fx and crypto (recorded prices in an endless loop), board (what anybody sends reaches
all), echo (sends back), deal (a desk on which pages trade with each other). The environment
(AHM_PROTOCOL_HEARTBEAT=5s) counts as for `ahm serve`.";

/// Runs a server with recorded prices and a page that shows them.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where browsers connect; repeat it for several addresses
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<String>,
    /// Where publishers connect; repeat it for several addresses
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub private: Vec<String>,
    /// Reactor threads; 0 for one per core
    #[arg(long, value_name = "N")]
    pub shards: Option<String>,
}

impl Args {
    fn flags(&self) -> Vec<Flag> {
        let (listen, private) = (self.listen.join(","), self.private.join(","));
        let shards = self.shards.clone().unwrap_or_default();
        let all = [
            ("--listen", "listen", listen),
            ("--private", "private.listen", private),
            ("--shards", "shards", shards),
        ];
        let given = all.into_iter().filter(|(.., value)| !value.is_empty());
        given.map(|(flag, key, value)| Flag { flag: flag.into(), key: key.into(), value }).collect()
    }
}

/// The configuration of the demonstration before the environment and flags.
pub fn defaults() -> Config {
    let mut config =
        Config { log: Log { level: Level::Warn, ..Log::default() }, ..Config::default() };
    // Long enough for a page that was cut off for some seconds in the busiest minute.
    let history =
        History { messages_max: 20_000, bytes_max: 2 * 1024 * 1024, age_max: Span::from_secs(60) };
    for name in ["fx", "crypto", "replay"] {
        let mut resource = ResourceConfig::new(name, ResourceKind::Feed);
        resource.state = true;
        resource.history = Some(history);
        config.resources.push(resource);
    }
    config
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    // The resources are those of the recordings and of the page.
    let elsewhere = |name: &str| name == "AHM_RESOURCE";
    let variables = variables().into_iter().filter(|(name, _)| !elsewhere(name)).collect();
    let sources = Sources { file: None, variables, flags: args.flags() };
    let config = match load_over(defaults(), &sources) {
        Ok(config) => config,
        Err(problems) => return complain("demo", &problems.to_string()),
    };
    start_log(config.log, config.relay.log);
    let prefix = config.protocol.prefix.clone();
    let mut builder = Builder::new(config);
    builder.pages([pages::CLIENT]);
    builder.pages(pages::DEMO);
    if let Err(error) = builder.resource("deal", Arc::new(Deal::default())) {
        return fail("demo", &error);
    }
    match Signals::new().and_then(|signals| Ok((signals, builder.start()?))) {
        Ok((signals, server)) => play(server, signals, &prefix),
        Err(error) => fail("demo", &error),
    }
}

fn play(server: Server, signals: Signals, prefix: &str) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let (handle, stopped) = (server.handle(), Arc::clone(&stop));
    let thread = std::thread::Builder::new().name("recordings".into());
    let feed = match thread.spawn(move || publish(&handle, &stopped)) {
        Ok(feed) => feed,
        Err(error) => return fail("demo", &error),
    };
    say(&(addresses(&server) + &banner(&server, prefix)));
    let code = wait("demo", server, signals);
    stop.store(true, Ordering::Relaxed);
    if feed.join().is_err() {
        log::error!("the recordings have failed");
    }
    code
}

/// Publishes the recordings until `stopped`. A quote for which the server has no room is left out,
/// as a slow exchange gateway would; the next one replaces it.
fn publish(handle: &Handle, stopped: &AtomicBool) {
    let played = DemoFeed::shipped().and_then(|feed| {
        feed.run(&mut WallPacer::start(), |name, payload, snapshot| {
            if handle.publish(name, payload, snapshot).is_err() {
                log::debug!("{name}: the server is busy");
            }
            match stopped.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    if let Err(error) = played {
        log::error!("the recordings: {error}");
    }
}

fn banner(server: &Server, prefix: &str) -> String {
    let mut out = String::new();
    if let Some(address) = server.public_addrs().first() {
        let _ = writeln!(
            out,
            "\nRecorded prices are playing. Open http://{address}/ in a browser, or try\n\n  \
             curl -sN 'http://{address}{prefix}mux.html?open=fx/EURUSD'\n"
        );
    }
    if let Some(url) = server.private_urls().next() {
        let _ = writeln!(
            out,
            "Publish something of your own:\n\n  \
             curl --data 'hello' {url}/publish/board/lobby\n"
        );
    }
    out + "Ctrl-C stops it.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config_load::check;

    #[test]
    fn the_defaults_are_in_order_and_hold_what_the_recordings_publish() {
        let config = defaults();
        check(&config).unwrap();
        let feed = DemoFeed::shipped().unwrap();
        let served = |name: &str| config.resources.iter().any(|resource| resource.name == name);
        assert!(feed.quotes().all(|name| served(name.resource())));
    }

    #[test]
    fn flags_set_their_keys() {
        let args = Args {
            listen: vec!["127.0.0.1:0".into()],
            private: vec!["127.0.0.1:0".into()],
            shards: Some("1".into()),
        };
        let sources = Sources { flags: args.flags(), ..Sources::default() };
        let config = load_over(defaults(), &sources).unwrap();
        let (public, private) = (config.listen[0].address, config.private_listen[0].address);
        assert_eq!((public.port(), private.port()), (0, 0));
        assert_eq!(config.shards, 1);
    }
}
