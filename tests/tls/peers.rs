//! Programs that speak TLS and were not written here: curl and OpenSSL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

/// What curl says about `https://HOST:PORT/PATH`, where HOST is looked for at that address.
pub fn curl(address: SocketAddr, host: &str, ca: &str, path: &str, more: &[&str]) -> Output {
    let (port, ip) = (address.port(), address.ip());
    Command::new("curl")
        .args(["-sS", "--max-time", "20", "--cacert", ca])
        .args(["--resolve", &format!("{host}:{port}:{ip}")])
        .args(more)
        .arg(format!("https://{host}:{port}{path}"))
        .stdin(Stdio::null())
        .output()
        .expect("curl")
}

pub fn text(output: &Output) -> String {
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    shown + &String::from_utf8_lossy(&output.stderr)
}

/// What `openssl s_client` says of a connection that it closes at once.
pub fn openssl(address: SocketAddr, host: &str, more: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-servername", host])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    text(&output)
}

/// `openssl s_client` with somebody who types.
pub struct Typist {
    child: Child,
    reader: BufReader<std::process::ChildStdout>,
}

impl Typist {
    pub fn new(address: SocketAddr, host: &str, more: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &address.to_string(), "-servername", host])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        let reader = BufReader::new(child.stdout.take().unwrap());
        Self { child, reader }
    }

    /// One whose lines may be commands to OpenSSL, by their first letters, and who reads what that
    /// says of them, too.
    pub fn commanding(address: SocketAddr, host: &str, more: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "exec openssl s_client \"$@\" 2>&1", "openssl", "-quiet", "-no_ign_eof"])
            .args(["-connect", &address.to_string(), "-servername", host])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl");
        let reader = BufReader::new(child.stdout.take().unwrap());
        Self { child, reader }
    }

    pub fn send(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Whatever comes until the connection ends.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        text
    }

    /// The next line that contains `what`.
    pub fn line_with(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            let count = self.reader.read_line(&mut line).unwrap();
            assert!(count > 0, "the connection ended before {what:?} came");
            if line.contains(what) {
                return line.trim_end().to_string();
            }
        }
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
