//! Asking a program of this machine: it sees its environment and nothing else, says what it has to
//! say, and ends in time or is killed.

use std::io::{ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::auth::answer::ANSWER_BYTES_MAX;
use crate::auth::evidence::Evidence;
use crate::reactor::process::kill_group;
use crate::server::desk::{Said, Until};

/// Runs it: no arguments, no shell, nothing to read, and what it writes to its standard output is
/// its answer. Any exit status but 0 refuses the client.
///
/// # Errors
///
/// Why there is no answer, without anything of what was asked or answered.
pub(crate) fn run(path: &str, evidence: &Evidence, until: Until<'_>) -> Result<Said, String> {
    // A pair of sockets, since a pipe has no bounded wait.
    let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::null())
        .process_group(0);
    for (name, value) in evidence.environment() {
        command.env(name, value.as_str());
    }
    let child = command.spawn().map_err(|error| format!("{path}: {error}"))?;
    // The command holds its end of the pair as long as it lives, and secrets.
    drop(command);
    let mut running = Running(child);
    let output = read_all(ours, until)?;
    let status = running.wait(until)?;
    match status.code() {
        Some(0) => Ok(Said::Answer(output)),
        Some(_) => Ok(Said::Refused(output, false)),
        None => Err("the program was killed".into()),
    }
}

/// A program that is killed, with all that it has started, unless it has ended.
struct Running(Child);

impl Running {
    fn wait(&mut self, until: Until<'_>) -> Result<ExitStatus, String> {
        // It has closed its output, so it is about to end.
        let mut pause = std::time::Duration::from_micros(200);
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
            let wait = until.wait().ok_or("the program has not ended in time")?;
            // pause: no call waits for a child and for the end of a time; it ends any moment now.
            std::thread::sleep(pause.min(wait));
            pause *= 2;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            if let Err(error) = kill_group(&mut self.0) {
                log::warn!("auth: a program could not be killed: {error}");
            }
            // It has been killed: this takes no time, and leaves no zombie behind.
            if let Err(error) = self.0.wait() {
                log::warn!("auth: a program was lost: {error}");
            }
        }
    }
}

fn read_all(mut from: UnixStream, until: Until<'_>) -> Result<Vec<u8>, String> {
    let mut output = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let wait = until.wait().ok_or("the program has not answered in time")?;
        from.set_read_timeout(Some(wait)).map_err(|error| error.to_string())?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(output),
            Ok(count) => output.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error.to_string()),
        }
        if output.len() > ANSWER_BYTES_MAX {
            return Err("the program says more than anybody needs".into());
        }
    }
}
