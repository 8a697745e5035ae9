//! What `ahm subscribe` prints of each event.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::base::id::{Epoch, Offset};
use crate::base::name::TopicName;
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::client::event::{ChannelKey, Event, Failure, RouteId, StreamState};
use crate::http::date::http_date;

/// How a message is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Name, a TAB, the payload with its line ends escaped.
    Text {
        /// Epoch and offset stand between them.
        offsets: bool,
    },
    /// One JSON object.
    Json,
    /// The payload alone.
    Raw,
}

/// Prints events: messages to `out`, everything else to `err`.
#[derive(Debug)]
pub struct Printer<O, E> {
    format: Format,
    quiet: bool,
    names: HashMap<ChannelKey, TopicName>,
    /// The ways to servers, as the person at the terminal has written them.
    routes: Vec<String>,
    /// Whether a document runs.
    live: bool,
    /// Channels that are not over.
    open: HashSet<ChannelKey>,
    /// What was told of those that are tried again.
    refused: HashMap<ChannelKey, String>,
    messages: u64,
    last_failure: String,
    not_renewed: String,
    over: Option<String>,
    broken_pipe: bool,
    line: Vec<u8>,
    out: O,
    err: E,
}

impl<O: Write, E: Write> Printer<O, E> {
    /// A printer for these channels. `quiet`: nothing is told of connections and sessions.
    pub fn new(
        format: Format,
        quiet: bool,
        names: HashMap<ChannelKey, TopicName>,
        out: O,
        err: E,
    ) -> Self {
        Self {
            format,
            quiet,
            open: names.keys().copied().collect(),
            names,
            routes: Vec::new(),
            live: false,
            refused: HashMap::new(),
            messages: 0,
            last_failure: String::new(),
            not_renewed: String::new(),
            over: None,
            broken_pipe: false,
            line: Vec::new(),
            out,
            err,
        }
    }

    /// Names the ways to servers in what it tells, where there are several.
    #[must_use]
    pub fn over_routes(mut self, routes: Vec<String>) -> Self {
        self.routes = routes;
        self
    }

    /// Messages printed.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Why nothing more will come, once that is so.
    pub fn over(&self) -> Option<String> {
        self.over.clone()
    }

    /// Whether the reader of the output has left.
    pub fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// In words.
    pub fn flush(&mut self) -> Result<(), String> {
        self.out.flush().map_err(|error| {
            self.broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
            format!("standard output: {error}")
        })
    }

    /// Prints an event.
    ///
    /// # Errors
    /// From `out`; that `err` takes nothing is ignored.
    pub fn print(&mut self, event: &Event, now: Instant) -> io::Result<()> {
        match event {
            Event::Message { .. } => self.message(event)?,
            Event::Gap { channel, ep, n, missing } => self.gap(*channel, *ep, *n, *missing)?,
            Event::Closed { channel, end } => self.closed(*channel, *end)?,
            Event::Refused { channel, failure, retry_in } => {
                let (name, failure) = (self.name(*channel), describe(failure));
                match retry_in {
                    // Told once, however often it is tried.
                    Some(_) if self.refused.get(channel) == Some(&failure) => {}
                    Some(_) => {
                        self.note(&format!("{name}: {failure}; it is tried again and again"));
                        self.refused.insert(*channel, failure);
                    }
                    None => {
                        self.tell(&format!("{name}: {failure}"));
                        self.leave(*channel, format!("{name}: {failure}"));
                    }
                }
            }
            Event::Session { scs, mid, new: true, route, .. } => {
                let way = self.way(*route);
                self.note(&format!("{way}session {mid} on {scs}"));
            }
            Event::Lost { route, failure } => {
                self.last_failure = format!("{}{}", self.way(*route), describe(failure));
                if self.live && self.routes.len() > 1 {
                    // It is told even where others go on and no state changes.
                    self.note(&self.last_failure.clone());
                }
            }
            Event::State(state) => self.state(*state, now),
            Event::Opened { channel, .. } => {
                if self.refused.remove(channel).is_some() {
                    self.note(&format!("{}: open", self.name(*channel)));
                }
            }
            Event::Known { .. } | Event::Expiring { .. } | Event::NotRenewed { .. } => {
                self.proof(event);
            }
            Event::Session { .. } | Event::Sent { .. } | Event::RoundTrip(_) => {}
        }
        Ok(())
    }

    /// What is told of who we are to the server.
    fn proof(&mut self, event: &Event) {
        match event {
            Event::Known { route, user, expires, .. } => {
                let who = user
                    .as_ref()
                    .map_or_else(|| "nobody in particular".to_owned(), |user| format!("{user:?}"));
                let until = expires.map_or(String::new(), |at| format!(", until {}", date(at)));
                self.not_renewed.clear();
                self.note(&format!("{}logged in as {who}{until}", self.way(*route)));
            }
            Event::Expiring { route, within } => {
                let (way, seconds) = (self.way(*route), within.as_millis() / 1000);
                self.note(&format!("{way}the session ends in {seconds} s unless it is renewed"));
            }
            Event::NotRenewed { route, failure } => {
                let text = format!("{}not renewed: {}", self.way(*route), describe(failure));
                // Told once, however often it is tried.
                if text != self.not_renewed {
                    self.tell(&format!("{text}; it is tried again while there is time"));
                    self.not_renewed = text;
                }
            }
            _ => {}
        }
    }

    /// Which of several ways it was, for the beginning of a line.
    fn way(&self, route: RouteId) -> String {
        match self.routes.get(usize::from(route.0)) {
            Some(name) if self.routes.len() > 1 => format!("{name}: "),
            _ => String::new(),
        }
    }

    fn message(&mut self, event: &Event) -> io::Result<()> {
        let Event::Message { channel, ep, n, snapshot, folded, payload } = event else {
            return Ok(());
        };
        self.messages += 1;
        self.line.clear();
        match self.format {
            Format::Raw => self.line.extend_from_slice(payload),
            Format::Text { offsets } => {
                put_name(&mut self.line, &self.names, *channel);
                if offsets {
                    self.line.extend_from_slice(format!("{ep}:{n}\t").as_bytes());
                }
                put_escaped(&mut self.line, payload);
            }
            Format::Json => {
                let name = self.name(*channel);
                let mut object = json!({"name": name, "ep": ep.to_string(), "n": n.0});
                match std::str::from_utf8(payload) {
                    Ok(text) => object["payload"] = text.into(),
                    Err(_) => {
                        object["payload"] = STANDARD.encode(payload).into();
                        object["base64"] = true.into();
                    }
                }
                if *snapshot {
                    object["snapshot"] = true.into();
                }
                if *folded > 0 {
                    object["folded"] = (*folded).into();
                }
                self.line.extend_from_slice(object.to_string().as_bytes());
            }
        }
        self.line.push(b'\n');
        self.out.write_all(&self.line)
    }

    fn gap(
        &mut self,
        channel: ChannelKey,
        ep: Epoch,
        n: Offset,
        missing: Option<u64>,
    ) -> io::Result<()> {
        let name = self.name(channel);
        let count = match missing {
            Some(1) => "1 message is missing".to_string(),
            Some(count) => format!("{count} messages are missing"),
            None => "messages may be missing, nobody knows how many".to_string(),
        };
        self.tell(&format!("{name}: {count}; the next is after {ep}:{n}"));
        let event = json!({"event": "gap", "name": name, "ep": ep.to_string(), "n": n.0,
            "missing": missing});
        self.json_event(&event)
    }

    fn closed(&mut self, channel: ChannelKey, end: ChannelEnd) -> io::Result<()> {
        let name = self.name(channel);
        self.tell(&format!("{name}: the channel ended: {}", end.word()));
        if !matches!(end, ChannelEnd::Gone | ChannelEnd::Closed | ChannelEnd::Expired) {
            self.leave(channel, format!("{name}: {}", end.word()));
        }
        self.json_event(&json!({"event": "closed", "name": name, "end": end.word()}))
    }

    fn json_event(&mut self, event: &serde_json::Value) -> io::Result<()> {
        if self.format == Format::Json { writeln!(self.out, "{event}") } else { Ok(()) }
    }

    fn state(&mut self, state: StreamState, now: Instant) {
        let failure = std::mem::take(&mut self.last_failure);
        self.live = matches!(state, StreamState::Live | StreamState::Quiet);
        match state {
            StreamState::Waiting(until) => {
                let wait = until.since(now).as_millis();
                self.note(&format!("{failure}; again in {wait} ms"));
            }
            StreamState::Quiet => self.note("nothing is heard of the server; waiting"),
            StreamState::Stopped => {
                self.over.get_or_insert_with(|| {
                    if failure.is_empty() { "stopped".into() } else { failure }
                });
            }
            StreamState::Live => self.note("live"),
            StreamState::Idle | StreamState::Connecting => {}
        }
    }

    /// A channel is over for good; with the last one, everything is.
    fn leave(&mut self, channel: ChannelKey, reason: String) {
        self.open.remove(&channel);
        if self.open.is_empty() {
            self.over = Some(reason);
        }
    }

    fn name(&self, channel: ChannelKey) -> String {
        self.names.get(&channel).map(ToString::to_string).unwrap_or_default()
    }

    fn note(&mut self, text: &str) {
        if !self.quiet {
            self.tell(text);
        }
    }

    /// Tells something on the standard error.
    pub fn tell(&mut self, text: &str) {
        let _ = writeln!(self.err, "ahm subscribe: {text}");
    }
}

fn date(unix_seconds: u64) -> String {
    String::from_utf8_lossy(&http_date(unix_seconds)).into_owned()
}

fn put_name(line: &mut Vec<u8>, names: &HashMap<ChannelKey, TopicName>, channel: ChannelKey) {
    if let Some(name) = names.get(&channel) {
        line.extend_from_slice(name.as_str().as_bytes());
    }
    line.push(b'\t');
}

/// Appends `payload` so that it is one line of text, from which it can be had back.
fn put_escaped(line: &mut Vec<u8>, payload: &[u8]) {
    for chunk in payload.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'\\' => line.extend_from_slice(b"\\\\"),
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                b'\t' => line.push(byte),
                0..0x20 | 0x7f => put_hex(line, byte),
                _ => line.push(byte),
            }
        }
        chunk.invalid().iter().for_each(|byte| put_hex(line, *byte));
    }
}

fn put_hex(line: &mut Vec<u8>, byte: u8) {
    line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Refused { code, status, detail } => {
            let mut text = code.map_or_else(|| format!("HTTP {status}"), |code| code.to_string());
            if !detail.is_empty() {
                let _ = write!(text, ": {detail}");
            }
            text
        }
        Failure::Broken(detail) | Failure::Untrusted(detail) => detail.clone(),
        Failure::Silent => "the server has gone silent".into(),
        Failure::Ended(word) => format!("the server ended the document: {word}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::event::parse_topic;

    fn printed(format: Format, events: &[Event]) -> (String, String) {
        let names = HashMap::from([(ChannelKey(1), parse_topic("a/b").unwrap())]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer::new(format, true, names, &mut out, &mut err);
        for event in events {
            printer.print(event, Instant::ZERO).unwrap();
        }
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn message(payload: &[u8], folded: u64) -> Event {
        let (channel, ep, n) = (ChannelKey(1), Epoch(71), Offset(5));
        Event::Message { channel, ep, n, snapshot: false, folded, payload: payload.to_vec() }
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let odd = message(b"x\ty\\\n\r\0\xff\xc3\xa4", 0);
        let (out, _) = printed(Format::Text { offsets: true }, std::slice::from_ref(&odd));
        assert_eq!(out, "a/b\t1z:5\tx\ty\\\\\\n\\r\\x00\\xffä\n");
        let (out, _) = printed(Format::Text { offsets: false }, &[message(b"1.1 1.2", 0)]);
        assert_eq!(out, "a/b\t1.1 1.2\n");
        let (out, _) = printed(Format::Raw, &[message(b"x", 0)]);
        assert_eq!(out, "x\n");
        let (out, _) = printed(Format::Json, &[odd, message(b"x", 3)]);
        let lines: Vec<serde_json::Value> =
            out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let payload = STANDARD.encode(b"x\ty\\\n\r\0\xff\xc3\xa4");
        let first = json!({"name":"a/b","ep":"1z","n":5,"payload":payload,"base64":true});
        assert_eq!(lines[0], first);
        let second = json!({"name":"a/b","ep":"1z","n":5,"payload":"x","folded":3});
        assert_eq!(lines[1], second);
    }

    #[test]
    fn gaps_are_told_even_to_the_quiet() {
        let gap =
            |missing| Event::Gap { channel: ChannelKey(1), ep: Epoch(1), n: Offset(9), missing };
        let (out, err) = printed(Format::Text { offsets: false }, &[gap(Some(2))]);
        assert_eq!(out, "");
        assert_eq!(err, "ahm subscribe: a/b: 2 messages are missing; the next is after 1:9\n");
        let (out, _) = printed(Format::Json, &[gap(None)]);
        let line: serde_json::Value = serde_json::from_str(&out).unwrap();
        let told = json!({"event":"gap","name":"a/b","ep":"1","n":9,"missing":null});
        assert_eq!(line, told);
    }
}
