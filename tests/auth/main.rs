//! Clients that prove who they are, with passwords, tokens, scripts and programs of others: curl,
//! OpenSSL, Python, a shell.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod certificates;
mod passwords;
mod programs;
mod reading;
mod scripts;
mod secrets;
mod site;
mod support;
mod tokens;
