//! The plainest possible client.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Nothing here takes so long unless it is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A document, and what it has brought.
pub struct Reader {
    stream: TcpStream,
    pub text: String,
}

impl Reader {
    pub fn open(server: impl ToSocketAddrs, target: &str) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET /ahm/{target} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self { stream, text: String::new() }
    }

    pub fn until(&mut self, is_enough: impl Fn(&str) -> bool) {
        let mut buffer = [0; 4_096];
        while !is_enough(&self.text) {
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }

    /// A channel is open.
    pub fn until_channel(&mut self) {
        self.until(|text| frame(text, "<p o ").is_some());
    }

    /// A message says this.
    pub fn until_says(&mut self, payload: &str) {
        self.until(|text| text.contains(&format!(">{payload}\n")));
    }

    /// So many messages have said this since the last time, and no channel has ended.
    pub fn until_say(&mut self, count: usize, payload: &str) {
        let end = format!(">{payload}");
        let says = |text: &str| {
            text.lines().filter(|line| line.starts_with("<p c=") && line.ends_with(&end)).count()
        };
        self.until(|text| says(text) >= count);
        assert!(!self.text.contains("<p x "), "{}", self.text);
        self.text.clear();
    }

    /// Does something in the session of the document; the answer.
    pub fn command(&self, command: &str) -> String {
        let value = |name| attribute(&self.text, "<p i ", name);
        let me = format!("scs={}&mid={}&k={}", value("scs"), value("mid"), value("k"));
        let server = self.stream.peer_addr().unwrap();
        let mut answer = Self::open(server, &format!("{command}&{me}"));
        answer.until(|text| text.contains("\r\n\r\n") && text.trim_end().ends_with('}'));
        answer.text
    }

    /// The number of its first channel.
    pub fn cid(&self) -> String {
        attribute(&self.text, "<p o ", "c")
    }

    /// Sends on its first channel; what becomes of that.
    pub fn send(&self, n: u64, data: &str) -> String {
        let answer = self.command(&format!("send?cid={}&n={n}&data={data}", self.cid()));
        let outcome = answer.split_once("\"outcome\":\"").unwrap_or_else(|| panic!("{answer}")).1;
        outcome.split('"').next().unwrap().to_string()
    }
}

fn frame<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    // One that is not whole has no end of its line.
    let (whole, _) = text.rsplit_once('\n')?;
    whole.lines().find(|line| line.starts_with(start))
}

fn attribute(text: &str, start: &str, name: &str) -> String {
    let frame = frame(text, start).unwrap_or_else(|| panic!("no {start} in {text}"));
    let value = frame.split_once(&format!(" {name}=")).unwrap().1;
    value.split([' ', '>']).next().unwrap().to_string()
}
