//! The publisher: posts messages when they are due, whatever has become of the ones before.
//!
//! An open loop. A publisher that waits for answers slows down with the server, and then the
//! delays that everybody else would have felt are never measured. Here each message carries the
//! moment it was due, and what cannot leave in time leaves later with that same moment in it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};

use crate::base::id::Epoch;
use crate::base::time::{Instant, Span};
use crate::cli::bench::address::Server;
use crate::cli::bench::pace::Message;
use crate::cli::bench::peer::courier::{Answer, Courier};
use crate::cli::bench::plan::Plan;
use crate::cli::bench::sink::{histogram, record};
use crate::cli::bench::stamp::{STAMP_BYTES, Stamp};
use crate::reactor::beyond::{Beyond, unproved};
use crate::reactor::clock::Clock;
use crate::reactor::tls_shake::Shaken;
use crate::reactor::transport::{Io, Transport};

/// Requests are not made while more than this waits for the socket; they stay due.
const OUT_BYTES_MAX: usize = 1024 * 1024;
/// The poller counts in milliseconds; shorter waits, and the end of longer ones, are timed finely.
const FINE: Span = Span::from_millis(2);
const MILLISECOND: Span = Span::from_millis(1);
/// How long an answer may take when nothing else is to be done, unless `--drain` is longer.
const PATIENCE: Span = Span::from_secs(10);

/// How far the publisher is; read by the thread of the subscribers.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages that were due so far and have been written.
    pub written: AtomicU64,
    /// Messages that the server has taken.
    pub accepted: AtomicU64,
    /// Messages that the server has refused.
    pub refused: AtomicU64,
    /// Set by the subscribers: give up.
    pub stop: AtomicBool,
}

/// What became of the messages.
#[derive(Debug)]
pub struct Published {
    /// Messages taken, by topic.
    pub accepted: Vec<u64>,
    /// Sequence number of the last message taken, by topic.
    pub newest: Vec<u64>,
    /// Messages refused.
    pub refused: u64,
    /// Status and answer of the first refusal.
    pub refusal: Option<String>,
    /// How much later than due the measured messages were given to the socket.
    pub late: Histogram<u64>,
}

impl Published {
    /// Nothing yet, of so many topics.
    pub fn none(topics: usize) -> Self {
        Self {
            accepted: vec![0; topics],
            newest: vec![0; topics],
            refused: 0,
            refusal: None,
            late: histogram(),
        }
    }
}

/// A message that has no answer yet.
#[derive(Clone, Copy, Debug)]
struct Sent {
    topic: usize,
    seq: u64,
}

/// One connection to the private listener.
#[derive(Debug)]
pub struct Publisher<'p> {
    plan: &'p Plan,
    clock: Clock,
    transport: Transport,
    /// Who is spoken to by TLS.
    beyond: Option<Beyond>,
    poll: Poll,
    events: Events,
    courier: Courier,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    unanswered: VecDeque<Sent>,
    /// Messages taken, all topics together.
    accepted: u64,
    published: Published,
}

impl<'p> Publisher<'p> {
    /// Connects to `server`.
    ///
    /// # Errors
    /// A sentence: no connection.
    pub fn connect(plan: &'p Plan, server: &Server, clock: Clock) -> Result<Self, String> {
        let failed = |error: io::Error| format!("publisher: {}: {error}", server.address);
        let stream = StdStream::connect(server.address).map_err(failed)?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(failed)?;
        let transport = Transport::Plain(TcpStream::from_std(stream));
        let trust = plan.tls.trust.as_ref().filter(|_| server.secure);
        let beyond = trust.map(|trust| trust.beyond(server.host())).transpose().map_err(failed)?;
        let transport = match &beyond {
            Some(beyond) => beyond.protect(transport),
            None => Ok(transport),
        };
        let mut transport = transport.map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        transport.register(poll.registry(), Token(0)).map_err(failed)?;
        let courier = Courier::new(plan, server, Epoch(clock.unix_micros_at_start().max(1)));
        let mut publisher = Self {
            plan,
            clock,
            transport,
            beyond,
            poll,
            events: Events::with_capacity(8),
            out: courier.greeting().to_vec(),
            courier,
            written: 0,
            input: Vec::new(),
            unanswered: VecDeque::new(),
            accepted: 0,
            published: Published::none(plan.topics),
        };
        publisher.shake()?;
        Ok(publisher)
    }

    /// Sets up TLS, if there is to be any.
    fn shake(&mut self) -> Result<(), String> {
        let until = self.clock.now() + PATIENCE;
        while let Transport::Tls(secure) = &mut self.transport {
            match secure.shake() {
                Ok(Shaken::Done(_)) => return Ok(()),
                Ok(_) if self.clock.now() < until => {}
                Ok(_) => return Err("publisher: TLS is not set up in time".into()),
                Err(error) => return Err(self.lost("TLS", &error)),
            }
            self.edge(Span::from_millis(100))?;
        }
        Ok(())
    }

    /// Why there is no connection any more, in words.
    fn lost(&self, what: &str, error: &io::Error) -> String {
        match self.beyond.as_ref().and_then(|beyond| unproved(beyond, error)) {
            Some(words) => format!("publisher: {words}"),
            None => format!("publisher: {what}: {error}"),
        }
    }

    /// Publishes one message, numbered 0, to each topic, so that all of them exist.
    ///
    /// # Errors
    /// A sentence: the connection broke or a message was refused.
    pub fn prime(mut self, progress: &Progress) -> Result<(), String> {
        for topic in 0..self.plan.topics {
            let stamp = Stamp { due: Instant::ZERO, seq: 0, run: self.plan.run };
            self.put(topic, stamp, STAMP_BYTES);
        }
        self.finish(progress)?;
        match self.published.refusal {
            Some(refusal) => Err(format!("the first message of a topic was refused: {refusal}")),
            None => Ok(()),
        }
    }

    /// Publishes every message of the run, the first at `start`, and waits for the last answer.
    ///
    /// # Errors
    /// A sentence: the connection broke, so that nobody knows what was taken.
    pub fn run(mut self, start: Instant, progress: &Progress) -> Result<Published, String> {
        let measured = start + self.plan.warmup;
        let (mut next, count) = (0, self.plan.messages());
        while next < count && !progress.stop.load(Ordering::Relaxed) {
            let now = self.clock.now();
            while next < count && self.out.len() < OUT_BYTES_MAX {
                let Message { due, topic, seq, size } = self.plan.pace.message(next);
                let due = start + due;
                if due > now {
                    break;
                }
                if due >= measured {
                    record(&mut self.published.late, now.since(due));
                }
                self.put(topic, Stamp { due, seq, run: self.plan.run }, size);
                next += 1;
            }
            self.exchange(progress)?;
            progress.written.store(next, Ordering::Relaxed);
            if next < count {
                self.wait(self.plan.due(start, next))?;
            }
        }
        self.finish(progress)?;
        Ok(self.published)
    }

    fn put(&mut self, topic: usize, stamp: Stamp, size: usize) {
        self.courier.put(topic, stamp, size, &mut self.out);
        self.unanswered.push_back(Sent { topic, seq: stamp.seq });
    }

    /// Writes what waits and takes the answers that have come, without blocking.
    fn exchange(&mut self, progress: &Progress) -> Result<(), String> {
        match self.transport.send(&[IoSlice::new(&self.out[self.written..])]) {
            Ok((count, _)) => self.written += count,
            Err(error) => return Err(self.lost("write", &error)),
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written >= OUT_BYTES_MAX / 2 {
            self.out.drain(..self.written);
            self.written = 0;
        }
        self.answers()?;
        progress.accepted.store(self.accepted, Ordering::Relaxed);
        progress.refused.store(self.published.refused, Ordering::Relaxed);
        Ok(())
    }

    fn answers(&mut self) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.transport.read(&mut buffer) {
                Io::Bytes(count) | Io::All(count) => self.input.extend_from_slice(&buffer[..count]),
                Io::Blocked => break,
                Io::Closed => return Err("publisher: the server closed the connection".into()),
                Io::Failed(error) => return Err(self.lost("read", &error)),
            }
        }
        let mut taken = 0;
        while let Some((answer, length)) = self.courier.answer(&self.input[taken..])? {
            taken += length;
            match answer {
                Answer::Taken | Answer::Refused(_) if self.unanswered.is_empty() => {
                    return Err(format!("publisher: nothing asked for this answer: {answer:?}"));
                }
                Answer::Taken => self.taken(1),
                Answer::AllTaken => self.taken(self.unanswered.len()),
                Answer::Refused(refusal) => {
                    self.unanswered.pop_front();
                    self.published.refused += 1;
                    self.published.refusal.get_or_insert(refusal);
                }
                Answer::Ping(pong) => self.out.extend_from_slice(pong),
                Answer::Nothing => {}
            }
        }
        self.input.drain(..taken);
        Ok(())
    }

    /// The oldest messages without an answer have been taken.
    fn taken(&mut self, count: usize) {
        for sent in self.unanswered.drain(..count) {
            self.accepted += 1;
            self.published.accepted[sent.topic] += 1;
            self.published.newest[sent.topic] = sent.seq;
        }
    }

    /// Waits until `due`, or less long if the socket has something for us.
    fn wait(&mut self, due: Instant) -> Result<(), String> {
        let span = due.since(self.clock.now());
        if !self.out.is_empty() {
            // The socket is full: its edge will tell, a message may fall due before.
            self.edge(span.min(FINE))
        } else if span >= FINE + MILLISECOND {
            self.edge(Span::from_millis((span - FINE).as_millis()))
        } else {
            std::thread::park_timeout(span.to_std());
            Ok(())
        }
    }

    fn edge(&mut self, span: Span) -> Result<(), String> {
        match self.poll.poll(&mut self.events, Some(span.to_std())) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(format!("publisher: poll: {error}"))
            }
            _ => Ok(()),
        }
    }

    /// Writes the rest and waits for the last answer.
    fn finish(&mut self, progress: &Progress) -> Result<(), String> {
        let span = PATIENCE.max(self.plan.drain);
        let mut patience = self.clock.now() + span;
        let mut before = usize::MAX;
        self.out.extend_from_slice(self.courier.farewell());
        loop {
            self.exchange(progress)?;
            if self.unanswered.is_empty() {
                let _ = self.transport.shutdown_write();
                return Ok(());
            }
            let now = self.clock.now();
            if self.unanswered.len() < before {
                before = self.unanswered.len();
                patience = now + span;
            }
            if now >= patience || progress.stop.load(Ordering::Relaxed) {
                return Err(format!("publisher: {before} messages were never answered"));
            }
            self.edge(Span::from_millis(100))?;
        }
    }
}
