//! Kills a server in the middle of a run, and nobody else.

use std::fs::{read_dir, read_link, read_to_string};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::time::Instant;
use crate::reactor::clock::Clock;

/// A server that may be killed: known to be one of the run's servers, and of the same user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its process.
    pub pid: u32,
    /// Which of the run's servers it is, from 0.
    pub server: usize,
}

impl Victim {
    /// Process `pid`, if it belongs to the user of this one and listens on one of `addresses`,
    /// those of the run's servers, on this machine.
    ///
    /// # Errors
    /// A sentence: it is not such a process.
    pub fn find(pid: u32, addresses: &[Option<SocketAddr>]) -> Result<Self, String> {
        let not = |what: &str| format!("--kill {pid}: {what}");
        if pid <= 1 || pid == std::process::id() {
            return Err(not("not a process that may be killed"));
        }
        let user = |path: String| read_to_string(path).ok().and_then(|text| user(&text));
        let theirs = user(format!("/proc/{pid}/status")).ok_or_else(|| not("no such process"))?;
        if user("/proc/self/status".into()) != Some(theirs) {
            return Err(not("a process of another user"));
        }
        let sockets = sockets(pid).ok_or_else(|| not("its files cannot be looked at"))?;
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(read_to_string);
        let tables: String = tables.into_iter().flatten().collect();
        // A port of another machine says nothing about who listens on this one.
        let here = |address: &SocketAddr| address.ip().is_loopback();
        let server = addresses.iter().position(|address| {
            let port = address.filter(here).map(|address| address.port());
            let mut inodes = port.into_iter().flat_map(|port| listeners(&tables, port));
            inodes.any(|inode| sockets.contains(&inode))
        });
        let server = server.ok_or_else(|| not("does not listen where --url or --dup lead"))?;
        Ok(Self { pid, server })
    }

    /// Kills it at `at`, unless `over` is set and this thread unparked before. False: it was not
    /// killed.
    pub fn kill_at(self, at: Instant, clock: Clock, over: &AtomicBool) -> bool {
        while clock.now() < at {
            if over.load(Ordering::Acquire) {
                return false;
            }
            std::thread::park_timeout(at.since(clock.now()).to_std());
        }
        // By the shell: the system call itself is not safe to make from here.
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -KILL \"$0\"", &self.pid.to_string()]);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().is_ok_and(|status| status.success())
    }
}

/// The real user in the text of `/proc/PID/status`.
fn user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The inodes of the sockets that process `pid` has open.
fn sockets(pid: u32) -> Option<Vec<u64>> {
    let files = read_dir(format!("/proc/{pid}/fd")).ok()?;
    let inode = |link: std::path::PathBuf| {
        let name = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
        name.parse().ok()
    };
    Some(files.flatten().filter_map(|file| inode(read_link(file.path()).ok()?)).collect())
}

/// The inodes of the sockets in the text of `/proc/net/tcp` that listen on `port`.
fn listeners(table: &str, port: u16) -> impl Iterator<Item = u64> {
    table.lines().filter_map(move |line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (_, local) = fields.next()?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let listens = u16::from_str_radix(local, 16) == Ok(port) && state == "0A";
        fields.nth(5).filter(|_| listens)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_who_listens_on_the_port_is_found() {
        let line = |local, remote, state, inode| {
            format!(" 0: {local} {remote} {state} 00:00 00:00 00 1000 0 {inode} 1 0\n")
        };
        let table = " sl local_address rem_address st tx rx tr retr uid timeout inode\n".to_owned()
            + &line("0100007F:1F90", "00000000:0000", "0A", 77)
            + &line("0100007F:1F90", "0100007F:9C40", "01", 78)
            + &line("0100007F:1F91", "00000000:0000", "0A", 79);
        assert_eq!(listeners(&table, 8080).collect::<Vec<_>>(), [77]);
        assert_eq!(listeners(&table, 8082).count(), 0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let table = read_to_string("/proc/net/tcp").unwrap();
        let own = sockets(std::process::id()).unwrap();
        assert!(listeners(&table, port).any(|inode| own.contains(&inode)));
    }

    #[test]
    fn nobody_else_is_killed() {
        assert_eq!(user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(1000));
        let address = Some("127.0.0.1:80".parse().unwrap());
        for pid in [0, 1, std::process::id(), u32::MAX] {
            assert!(Victim::find(pid, &[address]).is_err(), "{pid}");
        }
        // A process of ours that is no server.
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let error = Victim::find(child.id(), &[None, address]).unwrap_err();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success(), "it has lived to its end");
        assert!(error.contains("does not listen"), "{error}");
    }

    #[test]
    fn a_run_that_is_over_kills_nobody() {
        let (victim, over) = (Victim { pid: u32::MAX, server: 0 }, AtomicBool::new(true));
        assert!(!victim.kill_at(Instant::NEVER, Clock::start(), &over));
    }
}
