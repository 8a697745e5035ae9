//! A blocking publisher over HTTP, for the private listener.
//!
//! # What is promised
//!
//! Lines are sent in batches (`POST /publish`), and each line's fate is told once, in order:
//!
//! - [`Fate::Taken`]: it is in its topic's log at that place.
//! - [`Fate::Refused`]: it is not, and will not be.
//! - [`Fate::Unknown`]: the connection was lost after the whole batch was written and before it was
//!   answered. The server may or may not have taken it, and a message that the server numbers
//!   cannot be told from a new one: so it is **not sent again**.
//!
//! A batch is repeated only where it is known that none of its lines was taken:
//!
//! - the server answered 429 or 503 in its own words, which it does only before it takes a line: it
//!   is sent again after the longer of `Retry-After` and a back-off with jitter;
//! - it was not written to its end, so that the server cannot have the whole of it;
//! - it was written behind a request whose answer said that the connection closes: a server reads
//!   no further request then;
//! - it was refused as too large: it is sent again in two halves.
//!
//! With a `depth` of 1, the default, one batch is on its way at a time while the next fills, and
//! the order of lines is the order in the logs, also over repetitions. A greater depth writes
//! batches ahead of the answers: then a batch that is repeated comes after those written behind it.
//!
//! A single message with an epoch and an offset of its own ([`Publisher::publish`]) can always be
//! repeated: the server knows it by its number and takes it once.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value;

use crate::base::backoff::Backoff;
use crate::base::hidden::Hidden;
use crate::base::random::Random;
use crate::base::time::Span;
use crate::http::exchange::{put_body, put_head};
use crate::reactor::beyond::Trust;
use crate::reactor::clock::Clock;
use crate::reactor::url::Server;
use crate::resource::batch::Batch;
use crate::resource::caller::{Caller, Response};
use crate::resource::outcome::{Fate, Outcome, PostError, Reply, position};
use crate::wire::command::encode_query;

/// How a publisher behaves.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of one batch at most, unless one line is larger.
    pub batch_bytes_max: usize,
    /// Lines of one batch at most.
    pub batch_lines_max: usize,
    /// Batches on their way at a time.
    pub depth: usize,
    /// Connecting, writing and waiting for an answer fail when nothing moves for this long.
    pub timeout: Span,
    /// For how long the same batch is tried.
    pub retry_for: Span,
    /// The waits between.
    pub backoff: Backoff,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
}

/// Without the token.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("depth", &self.depth)
            .field("retry_for", &self.retry_for)
            .field("token", &self.token.as_ref().map(|_| Hidden))
            .finish_non_exhaustive()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_bytes_max: 256 * 1024,
            batch_lines_max: 1_000,
            depth: 1,
            timeout: Span::from_secs(30),
            retry_for: Span::from_secs(60),
            backoff: Backoff::default(),
            token: None,
        }
    }
}

/// A blocking publisher.
///
/// ```no_run
/// use ahm::base::name::TopicName;
/// use ahm::reactor::url::Server;
/// use ahm::resource::post::{Publisher, Settings};
///
/// let server = Server::parse("http://127.0.0.1:8081", "/").unwrap();
/// let mut publisher = Publisher::new(server, Settings::default(), 1).for_resource("fx");
/// publisher.push(1, "EURUSD", b"1.09214 1.09217")?;
/// publisher.flush()?;
/// for outcome in publisher.take_outcomes() {
///     println!("{outcome:?}");
/// }
/// # Ok::<(), ahm::resource::outcome::PostError>(())
/// ```
#[derive(Debug)]
pub struct Publisher {
    pub(crate) server: Server,
    /// What is believed of a server that is spoken to by TLS.
    pub(crate) trust: Option<Trust>,
    pub(crate) settings: Settings,
    resource: Option<String>,
    random: Random,
    clock: Clock,
    pub(crate) caller: Option<Caller>,
    filling: Batch,
    /// To be written, in order.
    todo: VecDeque<Batch>,
    /// Written, not yet answered.
    in_flight: VecDeque<Batch>,
    outcomes: Vec<Outcome>,
    repeated: u64,
}

impl Publisher {
    /// A publisher to the private listener at `server`. The first connection is made when there is
    /// something to send.
    pub fn new(server: Server, settings: Settings, seed: u64) -> Self {
        Self {
            server,
            trust: None,
            settings,
            resource: None,
            random: Random::from_number(seed),
            clock: Clock::start(),
            caller: None,
            filling: Batch::default(),
            todo: VecDeque::new(),
            in_flight: VecDeque::new(),
            outcomes: Vec::new(),
            repeated: 0,
        }
    }

    /// Names in [`Publisher::push`] are subjects of `resource`; without this they are
    /// `RESOURCE/SUBJECT`.
    #[must_use]
    pub fn for_resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Adds a message to the batch that fills; `line` is the caller's number for it. Blocks when
    /// the batch is full and so many as allowed are on their way.
    ///
    /// # Errors
    /// [`PostError::Input`] for what cannot stand in a line; [`PostError::GaveUp`].
    pub fn push(&mut self, line: u64, name: &str, payload: &[u8]) -> Result<(), PostError> {
        if name.bytes().any(|byte| byte == b'\t' || byte == b'\n') {
            return Err(PostError::Input("a name has no TAB and no line end"));
        }
        if payload.contains(&b'\n') {
            return Err(PostError::Input("the payload of a line has no line end"));
        }
        let bytes = name.len() + payload.len() + 2;
        let full = self.filling.body.len() + bytes > self.settings.batch_bytes_max;
        if full || self.filling.lines.len() >= self.settings.batch_lines_max {
            self.send()?;
        }
        self.filling.add(line, name, payload);
        Ok(())
    }

    /// Puts what was pushed on its way, without waiting for its answer unless there are too many
    /// on their way.
    ///
    /// # Errors
    /// [`PostError::GaveUp`].
    pub fn send(&mut self) -> Result<(), PostError> {
        if !self.filling.lines.is_empty() {
            let backoff = self.settings.backoff;
            let batch = std::mem::take(&mut self.filling);
            self.todo.push_back(Batch { backoff, ..batch });
        }
        while !self.todo.is_empty() {
            self.step()?;
        }
        Ok(())
    }

    /// Puts everything on its way and waits for all answers.
    ///
    /// # Errors
    /// [`PostError::GaveUp`].
    pub fn flush(&mut self) -> Result<(), PostError> {
        self.send()?;
        while !(self.todo.is_empty() && self.in_flight.is_empty()) {
            self.step()?;
        }
        Ok(())
    }

    /// The fates that have become known since the last time, in the order of the lines as long as
    /// no batch had to be repeated.
    pub fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Batches that were sent again.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Lines whose fate is not known yet, and those that were never sent.
    pub fn open_lines(&self) -> impl Iterator<Item = u64> + '_ {
        let batches = self.in_flight.iter().chain(&self.todo).chain([&self.filling]);
        batches.flat_map(|batch| batch.lines.iter().copied())
    }

    /// Writes the next batch, or where enough are on their way reads the next answer.
    fn step(&mut self) -> Result<(), PostError> {
        if self.in_flight.len() < self.settings.depth.max(1)
            && let Some(mut batch) = self.todo.pop_front()
        {
            let request = self.batch_request(&batch);
            if self.in_flight.is_empty()
                && let Err(error) = self.connect(&mut batch)
            {
                self.todo.push_front(batch);
                return Err(error);
            }
            // A connection with answers outstanding is there; if it breaks, reading them tells.
            let written = self.caller.as_mut().map(|caller| caller.write(&request));
            batch.written = matches!(written, Some(Ok(())));
            let broken = !batch.written;
            self.in_flight.push_back(batch);
            if !broken {
                return Ok(());
            }
        }
        let outcome = match &mut self.caller {
            Some(caller) => caller.read(),
            None => Err("there is no connection".into()),
        };
        match (outcome, self.in_flight.pop_front()) {
            (Ok(response), Some(batch)) => self.answer(batch, &response),
            (Err(why), Some(batch)) => {
                self.in_flight.push_front(batch);
                self.lose_connection(&why)
            }
            (_, None) => Ok(()),
        }
    }

    fn answer(&mut self, batch: Batch, response: &Response) -> Result<(), PostError> {
        let whole = batch.written;
        let reply = Reply::parse(response);
        let result = match &reply.refusal {
            None => {
                self.tell_lines(&batch, &reply.value);
                Ok(())
            }
            Some((_, detail)) if reply.pressed => self.repeat(batch, response.retry_after, detail),
            Some(_) if response.status == 413 && batch.lines.len() > 1 => {
                let (first, second) = batch.halves();
                self.todo.push_front(second);
                self.todo.push_front(first);
                self.repeated += 1;
                Ok(())
            }
            Some((_, detail)) if !reply.ours => {
                self.tell_all(&batch, &Fate::Unknown(detail.clone()));
                Ok(())
            }
            Some((error, detail)) => {
                let (error, detail) = (error.clone(), detail.clone());
                self.tell_all(&batch, &Fate::Refused { error, detail });
                Ok(())
            }
        };
        if !response.persistent || !whole {
            // The server reads no further request on this connection.
            self.caller = None;
            while let Some(batch) = self.in_flight.pop_back() {
                self.repeated += 1;
                self.todo.push_front(batch);
            }
        }
        result
    }

    /// The connection broke before the first of the batches on their way was answered.
    fn lose_connection(&mut self, why: &str) -> Result<(), PostError> {
        let caller = self.caller.take();
        if caller.is_some_and(|caller| caller.unproved().is_some()) {
            while let Some(batch) = self.in_flight.pop_back() {
                self.todo.push_front(batch);
            }
            return Err(PostError::GaveUp(why.to_owned()));
        }
        let mut result = Ok(());
        for batch in std::mem::take(&mut self.in_flight) {
            if batch.written {
                self.tell_all(&batch, &Fate::Unknown(why.to_owned()));
            } else {
                result = self.repeat(batch, Span::ZERO, why);
            }
        }
        result
    }

    fn repeat(&mut self, mut batch: Batch, wait: Span, why: &str) -> Result<(), PostError> {
        self.repeated += 1;
        let result = self.wait(&mut batch, wait, why);
        self.todo.push_front(batch);
        result
    }

    /// Waits before the next attempt, unless the batch has been tried for long enough.
    pub(crate) fn wait(
        &mut self,
        batch: &mut Batch,
        at_least: Span,
        why: &str,
    ) -> Result<(), PostError> {
        let now = self.clock.now();
        let until = *batch.until.get_or_insert(now + self.settings.retry_for);
        let wait = batch.backoff.wait(&mut self.random).max(at_least);
        if now + wait > until {
            return Err(PostError::GaveUp(why.to_owned()));
        }
        // pause: the caller blocks by contract, and the server asked for this time.
        std::thread::sleep(wait.to_std());
        Ok(())
    }

    fn batch_request(&self, batch: &Batch) -> Vec<u8> {
        let target = match &self.resource {
            Some(resource) => format!("publish?{}", encode_query(&[("resource", resource)])),
            None => "publish".into(),
        };
        self.request(&target, &batch.body)
    }

    /// A whole request.
    pub(crate) fn request(&self, target: &str, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 256);
        let target = format!("{}{target}", self.server.path());
        put_head(&mut out, "POST", &target, self.server.authority());
        if let Some(token) = &self.settings.token {
            out.extend_from_slice(format!("Authorization: Bearer {token}\r\n").as_bytes());
        }
        put_body(&mut out, Some(body));
        out
    }

    fn tell_all(&mut self, batch: &Batch, fate: &Fate) {
        let told = batch.lines.iter().map(|&line| Outcome { line, fate: fate.clone() });
        self.outcomes.extend(told);
    }

    fn tell_lines(&mut self, batch: &Batch, value: &Value) {
        let lines = value.get("lines").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (at, &line) in batch.lines.iter().enumerate() {
            let entry = lines.get(at).and_then(Value::as_object);
            let word = |name| entry.and_then(|entry| entry.get(name)?.as_str()).map(str::to_owned);
            let fate = match (entry.and_then(position), word("error")) {
                (_, Some(error)) => {
                    Fate::Refused { error, detail: word("detail").unwrap_or_default() }
                }
                (Some(place), None) => Fate::Taken(place),
                (None, None) => Fate::Unknown("the answer does not tell of this line".into()),
            };
            self.outcomes.push(Outcome { line, fate });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};

    use super::*;
    use crate::base::name::TopicName;
    use crate::wire::command::Position;

    /// One request as it came: its target and its body.
    type Asked = (String, String);

    /// Reads a request; `None` at the end of the connection.
    fn asked(stream: &mut TcpStream) -> Option<Asked> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
        let target = head.split(' ').nth(1).unwrap().to_owned();
        Some((target, String::from_utf8(body).unwrap()))
    }

    /// A server that gives each request the next answer; an empty one closes the connection.
    fn script(answers: &'static [(u16, &'static str)]) -> (Publisher, JoinHandle<Vec<Asked>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = thread::spawn(move || {
            let (mut seen, mut answers) = (Vec::new(), answers.iter());
            while answers.len() > 0 {
                let (mut stream, _) = listener.accept().unwrap();
                while let Some(request) = asked(&mut stream) {
                    seen.push(request);
                    let Some((status, body)) = answers.next().filter(|(status, _)| *status > 0)
                    else {
                        break;
                    };
                    let length = body.len();
                    let close = if *status == 413 { "Connection: close\r\n" } else { "" };
                    let head =
                        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{close}\r\n");
                    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
                    if answers.len() == 0 || *status == 413 {
                        break;
                    }
                }
            }
            seen
        });
        let settings = Settings {
            backoff: Backoff { base: Span::from_millis(1), ..Backoff::default() },
            ..Settings::default()
        };
        (Publisher::new(Server::parse(&url, "/").unwrap(), settings, 1), thread)
    }

    fn fates(publisher: &mut Publisher) -> Vec<String> {
        let outcomes = publisher.take_outcomes().into_iter();
        let told = outcomes.map(|Outcome { line, fate }| match fate {
            Fate::Taken(at) => format!("{line} {at}"),
            Fate::Refused { error, .. } => format!("{line} {error}"),
            Fate::Unknown(_) => format!("{line} unknown"),
        });
        told.collect()
    }

    #[test]
    fn each_line_has_its_fate() {
        let body = r#"{"ok":true,"taken":1,"lines":[{"ep":"a","n":7},{"error":"too-large"}]}"#;
        let answers = Box::leak(Box::new([(200, body)]));
        let (publisher, server) = script(answers);
        let mut publisher = publisher.for_resource("r");
        publisher.push(1, "s", b"x\ty").unwrap();
        publisher.push(5, "", b"").unwrap();
        assert_eq!(publisher.push(6, "s", b"a\nb").map_err(|_| ()), Err(()));
        publisher.flush().unwrap();
        assert_eq!(fates(&mut publisher), ["1 a:7", "5 too-large"]);
        let body = "s\tx\ty\n\t\n".to_string();
        assert_eq!(server.join().unwrap(), [("/publish?resource=r".to_string(), body)]);
    }

    #[test]
    fn what_was_certainly_not_taken_is_sent_again() {
        let (mut publisher, server) = script(&[
            (503, r#"{"ok":false,"error":"busy","detail":"x"}"#),
            (429, r#"{"ok":false,"error":"too-many","detail":"x"}"#),
            (413, r#"{"ok":false,"error":"too-large","detail":"x"}"#),
            (200, r#"{"ok":true,"taken":1,"lines":[{"ep":"a","n":1}]}"#),
            (200, r#"{"ok":true,"taken":2,"lines":[{"ep":"a","n":2},{"ep":"a","n":3}]}"#),
        ]);
        for line in 1..4 {
            publisher.push(line, "r/s", b"x").unwrap();
        }
        publisher.flush().unwrap();
        assert_eq!(fates(&mut publisher), ["1 a:1", "2 a:2", "3 a:3"]);
        let bodies: Vec<_> = server.join().unwrap().into_iter().map(|(_, body)| body).collect();
        let (one, all) = ("r/s\tx\n", "r/s\tx\nr/s\tx\nr/s\tx\n");
        assert_eq!(bodies, [all, all, all, one, &one.repeat(2)]);
    }

    #[test]
    fn what_may_have_been_taken_is_not_sent_again() {
        let (mut publisher, server) = script(&[
            (0, ""),
            (502, "bad gateway"),
            (403, r#"{"ok":false,"error":"forbidden","detail":"x"}"#),
        ]);
        for line in 1..4 {
            publisher.push(line, "r/s", b"x").unwrap();
            publisher.send().unwrap();
        }
        publisher.flush().unwrap();
        assert_eq!(fates(&mut publisher), ["1 unknown", "2 unknown", "3 forbidden"]);
        assert_eq!(server.join().unwrap().len(), 3);
    }

    #[test]
    fn a_message_with_its_own_number_is_sent_until_its_fate_is_known() {
        let (mut publisher, server) = script(&[
            (0, ""),
            (200, r#"{"ok":true,"ep":"k2","n":7,"dup":true}"#),
            (409, r#"{"ok":false,"error":"conflict","detail":"x","ep":"k3","n":9}"#),
            (0, ""),
        ]);
        let name = TopicName::new("r", "a/b c").unwrap();
        let at = Position::parse("k2:7");
        assert_eq!(publisher.publish(&name, b"x", at, true), Ok((at.unwrap(), true)));
        let Err(PostError::Refused { last, .. }) = publisher.publish(&name, b"x", at, false) else {
            panic!("refused");
        };
        assert_eq!(last, Position::parse("k3:9"));
        let unknown = publisher.publish(&name, b"x", None, false);
        assert!(matches!(unknown, Err(PostError::Unknown(_))));
        let targets: Vec<_> =
            server.join().unwrap().into_iter().map(|(target, _)| target).collect();
        let first = "/publish/r/a%2Fb%20c?epoch=k2&n=7&snapshot=1";
        let second = "/publish/r/a%2Fb%20c?epoch=k2&n=7";
        assert_eq!(targets, [first, first, second, "/publish/r/a%2Fb%20c"]);
    }

    #[test]
    fn a_server_that_stays_away_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let settings = Settings { retry_for: Span::from_millis(20), ..Settings::default() };
        let mut publisher = Publisher::new(Server::parse(&url, "/").unwrap(), settings, 1);
        publisher.push(9, "r/s", b"x").unwrap();
        assert!(matches!(publisher.flush(), Err(PostError::GaveUp(_))));
        assert_eq!(publisher.open_lines().collect::<Vec<_>>(), [9]);
    }
}
