//! The real binary as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub public: SocketAddr,
    /// Where publishers connect.
    pub private: SocketAddr,
}

impl Server {
    /// Starts `ahm serve` on free ports with these `settings` (of `--set`) and `resources`.
    pub fn start(settings: &[String], resources: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"]);
        command.args(["--shards", "2", "--log-level", "error"]);
        command.args(["--set", "registry.listen=off"]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        command.args(resources.iter().flat_map(|resource| ["--resource", resource]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut address = |name: &str| {
            let line = lines.next().expect("the server says where it is").unwrap();
            line.strip_prefix(name).unwrap().parse().unwrap()
        };
        let (public, private) = (address("listening http://"), address("private http://"));
        Self { child, public, private }
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
