//! The `ahm` binary: everything it does lives in `ahm::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ahm::cli::run(std::env::args_os())
}
