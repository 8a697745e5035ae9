//! `ahm registry`: a registry by itself, and what is registered at one.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use mio::Token;

use crate::base::time::Span;
use crate::cli::registry_list;
use crate::cli::serve::registry_lines;
use crate::cli::terminal::{complain, fail, say, start_log};
use crate::link::address::Address;
use crate::reactor::beyond::Papers;
use crate::reactor::poller::Poller;
use crate::reactor::signals::{Signal, Signals};
use crate::resource::protection::Protection;
use crate::server::config::{Level, Log};
use crate::server::config_value::Value;
use crate::server::registry::{RegistryConfig, read_key};
use crate::server::relay::AccessLog;

const EXAMPLES: &str = "\
Examples:
  ahm registry                                          on 127.0.0.1:8082
  ahm registry --listen 10.0.0.5:8082 --key-file key    for other machines, which show the key
  ahm registry --listen unix:/run/ahm/registry --listen 127.0.0.1:8082
  ahm registry --listen 10.0.0.5:8082:tls --cert r.pem --key r.key --client-ca ca.pem
                                                        TLS, for whom that authority has certified
  ahm registry list                                     what is registered there
  ahm registry list 10.0.0.5:8082 10.0.0.6:8082 --key-file key --json | jq .resource

Resource servers register at it for as long as they are connected, and servers ask it where a
resource is. It keeps nothing on disk: started anew it knows everything again as soon as they have
come back. Run two where one must not be missed; each resource registers at both. A registry is part
of `ahm serve` and `ahm demo` too.

Prints `registry ADDRESS` for each address when it is ready. SIGHUP has it read the files of TLS
again, SIGTERM and SIGINT stop it.";

/// Readiness of this token: a signal has come.
const SIGNALS: Token = Token(0);
/// Readiness of this token: the registry has ended.
const ENDED: Token = Token(1);

/// Runs a registry of resources, or lists what is registered at some.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do instead
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where resources and servers connect, as in 10.0.0.5:8082, with TLS 10.0.0.5:8082:tls, or
    /// unix:/run/ahm/registry; port 0 takes a free one; repeat it for several
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    pub listen: Vec<Address>,
    /// File with the key that all must show, one line of 16 characters or more; needed where other
    /// machines can connect
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// TLS: the certificate (PEM) to show, and those between it and its authority
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// TLS: its private key (PEM) [default: in the file of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// TLS: let in only whom one of the authorities in this file (PEM) has certified
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub client_ca: Option<PathBuf>,
    /// How often it lets itself be heard; others take three times that in silence for its end
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = parse_heartbeat)]
    pub heartbeat: Span,
    /// off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_level)]
    pub log_level: Level,
}

/// What else there is to do with registries.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Lists what is registered.
    List(registry_list::Args),
}

fn parse_heartbeat(text: &str) -> Result<Span, String> {
    Value::Loose(text.into()).span(Span::from_millis(100), Span::from_secs(3600))
}

fn parse_level(word: &str) -> Result<Level, String> {
    let level = Level::ALL.into_iter().find(|level| level.word() == word);
    level.ok_or_else(|| Level::ALL.map(Level::word).join(", "))
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    if let Some(Command::List(args)) = &args.command {
        return registry_list::run(args);
    }
    let config = match check(args) {
        Ok(config) => config,
        Err(problem) => return complain("registry", &problem),
    };
    start_log(Log { level: args.log_level, ..Log::default() }, AccessLog::Off);
    match serve(args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail("registry", &error),
    }
}

fn check(args: &Args) -> Result<RegistryConfig, String> {
    let key_file = match &args.key_file {
        Some(path) => {
            read_key(path).map_err(|error| format!("--key-file: {error}"))?;
            let text = path.to_str().ok_or_else(|| format!("--key-file: {}", path.display()))?;
            text.to_owned()
        }
        None => String::new(),
    };
    let (listen, heartbeat) = (args.listen.clone(), args.heartbeat);
    if let Some(address) = listen.iter().find(|one| one.is_secure()).filter(|_| args.cert.is_none())
    {
        return Err(format!("--listen {address}: TLS needs a certificate: --cert and --key"));
    }
    let client_ca = args.client_ca.as_ref().map(|path| path.display().to_string());
    let client_authorities = client_ca.unwrap_or_default();
    let config =
        RegistryConfig { listen, key_file, client_authorities, heartbeat, ..RegistryConfig::off() };
    match config.exposed() {
        Some(address) => Err(format!(
            "--listen {address}: other machines can reach it; demand a key with --key-file, \
             or by TLS certificates with --client-ca, or listen on a loopback address or a \
             Unix socket"
        )),
        None => Ok(config),
    }
}

fn protection(args: &Args) -> io::Result<Protection> {
    let (certificate, key) = (args.cert.clone(), args.key.clone());
    let papers = Papers { certificate, key, ..Papers::default() };
    Protection::read(&papers, args.client_ca.as_deref())
}

fn serve(args: &Args, config: &RegistryConfig) -> io::Result<()> {
    let tls = protection(args)?;
    // A signal that comes as soon as the addresses are told must find its handler.
    let mut signals = Signals::new()?;
    let mut poller = Poller::new(8)?;
    signals.register(poller.registry(), SIGNALS)?;
    let ended = poller.waker(ENDED)?;
    let registry = config.start("registry", &tls, Some(ended))?;
    say(&registry_lines(registry.addresses()));
    while !registry.is_over() {
        poller.poll(None)?;
        let pending: Vec<_> = signals.pending().collect();
        if pending.iter().any(|signal| *signal != Signal::Hangup) {
            log::info!("stopping");
            break;
        }
        if !pending.is_empty() {
            match protection(args) {
                Ok(new) => tls.renew(&new),
                Err(error) => log::error!("everything stays as it is: {error}"),
            }
        }
    }
    registry.stop().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn read(words: &[&str]) -> Result<RegistryConfig, String> {
        let line = Line::try_parse_from([&["registry"][..], words].concat());
        check(&line.map_err(|error| error.to_string())?.args)
    }

    #[test]
    fn the_flags_say_where_and_how() {
        assert_eq!(read(&[]), Ok(RegistryConfig::default()));
        let words = ["--listen", "unix:/a", "--listen", "[::1]:0", "--heartbeat", "250ms"];
        let config = read(&words).unwrap();
        let addresses: Vec<_> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["unix:/a", "[::1]:0"]);
        assert_eq!(config.heartbeat, Span::from_millis(250));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (words, wanted) in [
            (
                &["--listen", "rates:1"][..],
                "\"rates:1\" is not an address: give IP:PORT, IP:PORT:tls",
            ),
            (&["--heartbeat", "5"], "\"5\" is not a length of time such as \"15s\""),
            (&["--heartbeat", "2h"], "2h is not between 100ms and 1h"),
            (&["--listen", "[::]:1:tls", "--cert", "a"], "other machines can reach it"),
            (&["--listen", "127.0.0.1:1:tls"], "127.0.0.1:1:tls: TLS needs a certificate"),
            (&["--listen", "0.0.0.0:1"], "--listen 0.0.0.0:1: other machines can reach it"),
            (&["--key-file", "no/such"], "--key-file: no/such: No such file"),
            (&["--log-level", "loud"], "off, error, warn, info, debug, trace"),
        ] {
            let said = read(words).unwrap_err();
            assert!(said.contains(wanted), "{words:?}: {said}");
        }
    }
}
