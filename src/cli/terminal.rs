//! Talking to the person or program that started us, and messages to the operator.

use std::io::{self, Write as _};
use std::process::ExitCode;

use env_logger::fmt::Formatter;

use crate::relay::entry::TARGET;
use crate::server::config::{Log, LogFormat};
use crate::server::relay::AccessLog;

/// The exit code for a wrong configuration or wrong flags.
pub const WRONG_USE: u8 = 2;

/// Writes to the standard output at once. A reader that has gone away is no fault of ours.
pub fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Tells what is wrong with the use of the subcommand, and gives the exit code for that.
pub fn complain(subcommand: &str, problems: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "ahm {subcommand}: wrong configuration\n{problems}");
    ExitCode::from(WRONG_USE)
}

/// Tells what is wrong with the arguments of the subcommand, and gives the exit code for that.
pub fn wrong_use(subcommand: &str, what: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "ahm {subcommand}: {what}");
    ExitCode::from(WRONG_USE)
}

/// Tells what went wrong while running, and gives the exit code for that.
pub fn fail(subcommand: &str, error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "ahm {subcommand}: {error}");
    ExitCode::FAILURE
}

/// Sends messages of the `log` crate to the standard error, as configured. The first call counts.
/// Lines of the access log, if there is one, go there as they are, whatever else is told.
pub fn start_log(log: Log, access: AccessLog) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log.level.filter());
    if access != AccessLog::Off {
        builder.filter_module(TARGET, log::LevelFilter::Info);
        builder.format(move |out, record| match (record.target(), log.format) {
            (TARGET, _) => writeln!(out, "{}", record.args()),
            (_, LogFormat::Json) => json_line(out, record),
            (_, LogFormat::Text) => text_line(out, record),
        });
    } else if log.format == LogFormat::Json {
        builder.format(json_line);
    }
    let _ = builder.try_init();
}

fn text_line(out: &mut Formatter, record: &log::Record<'_>) -> io::Result<()> {
    let (time, level) = (out.timestamp(), record.level());
    writeln!(out, "[{time} {level:5} {}] {}", record.target(), record.args())
}

fn json_line(out: &mut Formatter, record: &log::Record<'_>) -> io::Result<()> {
    let line = serde_json::json!({
        "time": out.timestamp_micros().to_string(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "from": record.target(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{line}")
}
