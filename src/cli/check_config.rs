//! `ahm check-config`: reads a configuration as `ahm serve` would, and says what is wrong with it.

use std::process::ExitCode;

use crate::cli::config_args::ConfigArgs;
use crate::cli::terminal::{complain, say};
use crate::server::config::Config;
use crate::server::config_print::print;

const EXAMPLES: &str = "\
Examples:
  ahm check-config --config ahm.toml          says what is wrong, or that nothing is
  ahm check-config --print-defaults > ahm.toml
  AHM_SHARDS=2 ahm check-config --print       the configuration as it would be used

The exit code is 2 if anything is wrong.";

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
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    if args.print_defaults {
        say(&print(&Config::default()));
        return ExitCode::SUCCESS;
    }
    match load(args) {
        Ok(config) if args.print => say(&print(&config)),
        Ok(_) => say(&match args.config.file() {
            Some(path) => format!("{}: nothing wrong\n", path.display()),
            None => "no file; nothing wrong in environment and flags\n".into(),
        }),
        Err(problems) => return complain("check-config", &problems),
    }
    ExitCode::SUCCESS
}

/// The configuration, whose files can be read and make sense.
fn load(args: &Args) -> Result<Config, String> {
    let config = args.config.load()?;
    config.passes().map_err(|error| error.to_string())?;
    config.auth.office().map_err(|error| error.to_string())?;
    Ok(config)
}
