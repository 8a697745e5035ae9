//! `ahm serve`: the server.

use std::fmt::Write as _;
use std::process::ExitCode;

use crate::cli::config_args::ConfigArgs;
use crate::cli::pages;
use crate::cli::terminal::{complain, fail, say, start_log};
use crate::link::address::Address;
use crate::reactor::privileges::forbid_core_files;
use crate::reactor::signals::Signals;
use crate::server::builder::{Builder, Server};
use crate::server::config_print::key_list;

const EXAMPLES: &str = "\
Examples:
  ahm serve                                   echo and board on 127.0.0.1:8080 and [::1]:8080
  ahm serve --config ahm.toml
  ahm serve --listen 0.0.0.0:80 --listen '[::]:80' --resource fx:feed:state
  ahm serve --listen 0.0.0.0:80 --listen 0.0.0.0:81:flush=20ms    the second for those who need
                                              no hurry: fewer writes, 10 ms later on average
  ahm serve --listen 0.0.0.0:80 --set relay.to=http://127.0.0.1:3000    the web site itself: what
                                              is no command goes to the web server there
  AHM_SHARDS=2 AHM_LOG_FORMAT=json ahm serve --set protocol.heartbeat=5s

Then, in other terminals:
  curl -N 'http://127.0.0.1:8080/ahm/mux.html?open=board/lobby'
  ahm subscribe http://127.0.0.1:8080 board/lobby
  curl --data 'hello' http://127.0.0.1:8081/publish/board/lobby

Prints `listening http://ADDRESS` (https:// with TLS, tcp:// and tls:// for raw TCP),
`private http://ADDRESS` (https:// with TLS) or `private unix:/PATH`, for the registry that it runs
`registry ADDRESS`, and where resource servers dial in `guests ADDRESS`, when it is ready.
`--set registry.listen=off` is for no registry, and `ahm registry --help` tells more of it;
`--set registry.guests=127.0.0.1:8083` lets resource servers dial in that cannot be dialled.
SIGTERM drains the server: clients go elsewhere while their streams go on, and it stops when none is
left or after the span of the key `drain`. SIGINT, or a second signal, stops it at once; clients are
told to come back. A wrong configuration ends with exit code 2.
--help lists every key of the file, -h does not.";

/// Runs the server.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub struct Args {
    /// Where the configuration comes from
    #[command(flatten)]
    pub config: ConfigArgs,
}

fn long_help() -> String {
    format!("{EXAMPLES}\n\n{}", key_list())
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let config = match args.config.load() {
        Ok(config) => config,
        Err(problems) => return complain("serve", &problems),
    };
    start_log(config.log, config.relay.log);
    if !config.core_files
        && let Err(error) = forbid_core_files()
    {
        log::warn!("a crash may leave a core file: {error}");
    }
    let mut builder = Builder::new(config);
    builder.pages([pages::CLIENT]);
    // A signal that comes as soon as the addresses are told must find its handler.
    match Signals::new().and_then(|signals| Ok((signals, builder.start()?))) {
        Ok((signals, server)) => {
            say(&addresses(&server));
            wait("serve", server, signals)
        }
        Err(error) => fail("serve", &error),
    }
}

/// The lines that tell where the server is.
pub fn addresses(server: &Server) -> String {
    let mut out = String::new();
    for url in server.public_urls() {
        let _ = writeln!(out, "listening {url}");
    }
    for url in server.private_urls() {
        let _ = writeln!(out, "private {url}");
    }
    for path in server.private_sockets() {
        let _ = writeln!(out, "private unix:{}", path.display());
    }
    out += &registry_lines(server.registry_addrs());
    for address in server.guest_addrs() {
        let _ = writeln!(out, "guests {address}");
    }
    out
}

/// The lines that tell where a registry is.
pub fn registry_lines(addresses: &[Address]) -> String {
    addresses.iter().map(|address| format!("registry {address}\n")).collect()
}

/// Waits for a signal and stops the server.
pub fn wait(subcommand: &str, server: Server, signals: Signals) -> ExitCode {
    match server.wait_on(signals) {
        Ok(stats) => {
            log::info!("stopped: {stats}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(subcommand, &error),
    }
}
