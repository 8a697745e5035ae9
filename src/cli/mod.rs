//! The command line: one file per subcommand.

pub mod bench;
pub mod check_config;
pub mod config_args;
pub mod demo;
pub mod demo_feed;
pub mod merge;
pub mod packed;
pub mod pages;
pub mod papers;
pub mod passes;
pub mod print;
pub mod publish;
pub mod publish_served;
pub mod registry;
pub mod registry_list;
pub mod registry_table;
pub mod replay;
pub mod serve;
pub mod serving;
pub mod subscribe;
pub mod terminal;
pub mod ticks;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::terminal::{WRONG_USE, fail};

const EXAMPLES: &str = "\
Examples:
  ahm demo                                    server, recorded prices and a page, in one process
  ahm serve --config ahm.toml                 the server
  ahm check-config --print-defaults           every key of the configuration, explained
  ahm replay --url http://127.0.0.1:8081 FILE...
  ahm registry list                           resources that have registered, and where they are

`ahm SUBCOMMAND --help` has more of them.";

/// Asynchronous hypertext messaging: real-time data to many clients over plain HTTP.
#[derive(Debug, Parser)]
#[command(name = "ahm", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Demo(demo::Args),
    Subscribe(subscribe::Args),
    Publish(publish::Args),
    Replay(replay::Replay),
    Registry(registry::Args),
    Bench(Box<bench::Args>),
    CheckConfig(Box<check_config::Args>),
}

/// Runs the binary with `args` (the first is the program's name).
///
/// The exit code is 2 for wrong flags or a wrong configuration, 1 for what went wrong later.
pub fn run<I: IntoIterator<Item = OsString>>(args: I) -> ExitCode {
    let command = match Cli::try_parse_from(args) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version arrive here too, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_USE));
        }
    };
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Registry(args) => registry::run(&args),
        Command::Bench(args) => {
            bench::run(&args).map_or_else(|error| fail("bench", &error), |()| ExitCode::SUCCESS)
        }
        Command::CheckConfig(args) => check_config::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_subcommand_has_examples() {
        let mut cli = Cli::command();
        cli.build();
        for subcommand in cli.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let name = subcommand.get_name().to_owned();
            let help = subcommand.render_help().to_string();
            assert!(help.contains("Examples:") && help.contains(&format!("ahm {name}")), "{help}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
