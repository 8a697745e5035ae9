//! `ahm check-config`: reads a configuration as `ahm serve` would, and says what is wrong with it.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use crate::auth::access::Asking;
use crate::auth::identity::{Identity, Means};
use crate::base::name::TopicName;
use crate::cli::config_args::ConfigArgs;
use crate::cli::terminal::{complain, say, wrong_use};
use crate::server::config::Config;
use crate::server::config_print::print;
use crate::server::explain::explain;

const EXAMPLES: &str = "\
Examples:
  ahm check-config --config ahm.toml          says what is wrong, or that nothing is
  ahm check-config --print-defaults > ahm.toml
  AHM_SHARDS=2 ahm check-config --print       the configuration as it would be used
  ahm check-config --explain anna:desk,traders 10.1.2.3 fx/EURUSD --tls
                                              which rule decides whether she may read it
  ahm check-config --explain - ::1 fx/EURUSD  the same for somebody who has proved nothing

The exit code is 2 if anything is wrong. With --explain it is 0 where the topic may be read, and 1
where it may not.";

/// Checks a configuration without starting anything.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where the configuration comes from
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print a commented file with every key and its default
    #[arg(long, conflicts_with = "print")]
    pub print_defaults: bool,
    /// Print the configuration as it would be used, without the token
    #[arg(long)]
    pub print: bool,
    /// Say whether somebody may read a topic, and which rule decides
    #[arg(
        long,
        num_args = 3,
        value_names = ["USER[:GROUP,GROUP]", "ADDRESS", "RESOURCE/SUBJECT"],
        conflicts_with_all = ["print", "print_defaults"]
    )]
    pub explain: Vec<String>,
    /// With --explain: the client's connections are protected by TLS
    #[arg(long, requires = "explain")]
    pub tls: bool,
    /// With --explain: its session is sealed
    #[arg(long, requires = "explain")]
    pub seal: bool,
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    if args.print_defaults {
        say(&print(&Config::default()));
        return ExitCode::SUCCESS;
    }
    match load(args) {
        Ok(config) if !args.explain.is_empty() => return explain_to(args, &config),
        Ok(config) if args.print => {
            warn(&config);
            say(&print(&config));
        }
        Ok(config) => {
            let verdict = match warn(&config) {
                true => "it works, with the warnings above",
                false => "nothing wrong",
            };
            say(&match args.config.file() {
                Some(path) => format!("{}: {verdict}\n", path.display()),
                None => format!("no file, environment and flags: {verdict}\n"),
            });
        }
        Err(problems) => return complain("check-config", &problems),
    }
    ExitCode::SUCCESS
}

/// The configuration, whose files can be read and make sense.
fn load(args: &Args) -> Result<Config, String> {
    let config = args.config.load()?;
    config.passes().map_err(|error| error.to_string())?;
    config.auth.office().map_err(|error| error.to_string())?;
    config.try_tls_files().map_err(|error| error.to_string())?;
    Ok(config)
}

/// Tells what works and should not be so; whether there is any.
fn warn(config: &Config) -> bool {
    let all = config.warnings();
    all.iter().for_each(|what| eprintln!("ahm check-config: warning: {what}"));
    !all.is_empty()
}

/// The word for somebody who has proved nothing.
const NOBODY: &str = "-";

fn explain_to(args: &Args, config: &Config) -> ExitCode {
    let told = asked(args).and_then(|(asking, name)| explain(config, &asking, &name));
    match told {
        Ok(told) => {
            say(&told.text);
            if told.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(what) => wrong_use("check-config", &format!("--explain: {what}")),
    }
}

/// Who asks, and for what.
fn asked(args: &Args) -> Result<(Asking, TopicName), String> {
    let [user, address, topic] = args.explain.as_slice() else {
        return Err("who, from where and what is asked for are needed".into());
    };
    let address: IpAddr =
        address.parse().map_err(|_| format!("{address:?} is no address: 10.1.2.3, 2001:db8::1"))?;
    let (resource, subject) = topic
        .split_once('/')
        .ok_or_else(|| format!("{topic:?} is no RESOURCE/SUBJECT, as in {topic}/EURUSD"))?;
    let name = TopicName::new(resource, subject).map_err(|error| format!("{topic:?}: {error}"))?;
    let asking = Asking { tls: args.tls, seal: args.seal, ..Asking::from_address(address) };
    if user == NOBODY {
        return Ok((asking, name));
    }
    let (user, groups) = user.split_once(':').unwrap_or((user, ""));
    let identity = Identity::new(user, Means::Basic)
        .ok_or_else(|| format!("{user:?} is no name of a user; {NOBODY} stands for nobody"))?;
    let groups = groups.split(',').filter(|group| !group.is_empty()).map(Into::into).collect();
    let identity = Some(Arc::new(Identity { groups, ..identity }));
    Ok((Asking { identity, ..asking }, name))
}
