//! `--user`, `--token-file` and their like: who the person at the terminal is to the server.
//! Nothing secret stands on the command line, which every user of the machine can see.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cli::papers::PaperArgs;
use crate::client::credentials::Credentials;
use crate::client::link::Link;
use crate::reactor::url::Server;

/// The password, where no file has it.
const PASSWORD_VARIABLE: &str = "AHM_PASSWORD";
/// The token, where no file has it.
const TOKEN_VARIABLE: &str = "AHM_TOKEN";
/// Bytes of a file with a password or a token.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Flags that say who logs in.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Who you are")]
pub struct PassArgs {
    /// Log in as this user, with the password in --password-file or the environment's AHM_PASSWORD
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub user: Option<String>,
    /// File whose first line is the password
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// Log in with the token in this file, which is read again when the server warns that the
    /// session is about to end; without it with that of the environment's AHM_TOKEN, if there is
    /// one
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Let this script or program of the server's configuration say who you are
    #[arg(long = "auth", value_name = "NAME")]
    pub script: Option<String>,
    /// Let the password or token go where everybody on the way can read it, as over http://
    #[arg(long)]
    pub in_clear: bool,
}

/// Where credentials are read from, each time that they are needed.
#[derive(Clone, Debug)]
enum Source {
    Password { user: String, file: Option<PathBuf> },
    TokenFile(PathBuf),
    TokenVariable,
}

impl PassArgs {
    fn source(&self) -> Option<Source> {
        match (&self.user, &self.token_file) {
            (Some(user), _) => {
                Some(Source::Password { user: user.clone(), file: self.password_file.clone() })
            }
            (None, Some(file)) => Some(Source::TokenFile(file.clone())),
            (None, None) if variable(TOKEN_VARIABLE).is_some() => Some(Source::TokenVariable),
            (None, None) => None,
        }
    }

    /// Gives `link`, which leads to these servers, what proves who logs in, and whom to believe.
    ///
    /// # Errors
    /// In words: a file that cannot be used, flags that mean nothing together, a way on which the
    /// password would be seen.
    pub fn equip(
        &self,
        papers: &PaperArgs,
        servers: &[Server],
        link: &mut Link,
    ) -> Result<(), String> {
        if let Some(trust) = papers.trust(servers)? {
            link.trust(trust).map_err(|error| error.to_string())?;
        }
        let Some(source) = self.source() else { return Ok(()) };
        // What is wrong with a file is told now, and not when the server is there.
        source.read()?;
        link.log_in_by(move || source.read()).map_err(|error| match self.in_clear {
            false if !error.to_string().contains("raw TCP") => {
                format!("{error}, or --in-clear where that does not matter")
            }
            _ => format!("{error} (--login)"),
        })
    }
}

impl Source {
    fn read(&self) -> Result<Credentials, String> {
        match self {
            Self::Password { user, file } => {
                let password = match file {
                    Some(file) => read_line("--password-file", file)?,
                    None => variable(PASSWORD_VARIABLE).ok_or_else(|| {
                        let or = format!("or {PASSWORD_VARIABLE} in the environment");
                        format!("--user: its password is wanted: --password-file FILE, {or}")
                    })?,
                };
                Credentials::basic(user, &password).map_err(|error| format!("--user: {error}"))
            }
            Self::TokenFile(file) => {
                let token = read_line("--token-file", file)?;
                let named = |error| format!("--token-file: {}: {error}", file.display());
                Credentials::bearer(token.trim()).map_err(named)
            }
            Self::TokenVariable => {
                let token = variable(TOKEN_VARIABLE).unwrap_or_default();
                Credentials::bearer(token.trim())
                    .map_err(|error| format!("{TOKEN_VARIABLE}: {error}"))
            }
        }
    }
}

fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(Zeroizing::new)
}

/// The first line of a file.
fn read_line(flag: &str, path: &Path) -> Result<Zeroizing<String>, String> {
    let named = |what: String| format!("{flag}: {}: {what}", path.display());
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize + 1));
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > SECRET_BYTES_MAX {
        return Err(named(format!("it is longer than {SECRET_BYTES_MAX} bytes")));
    }
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err(named("its first line is empty".into())),
    }
}
