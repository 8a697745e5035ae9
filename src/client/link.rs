//! Drives one agent over TCP from a plain blocking loop.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use mio::{Token, Waker};

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::event::{CallId, Event, Output, Request, StreamId, StreamState};
use crate::client::pipe::{Pipe, Read, put_request};
use crate::client::settings::Settings;
use crate::http::exchange::Part;
use crate::reactor::clock::Clock;
use crate::reactor::poller::Poller;
use crate::reactor::signals::Signals;
use crate::reactor::url::Server;

/// Wakes the loop from another thread.
const WAKER: Token = Token(0);
/// The kept connection for commands.
const CALLS: Token = Token(1);
/// Signals of the process.
const SIGNALS: Token = Token(2);
/// Added to the number of a stream.
const STREAMS: usize = 3;

/// Commands on the wire at a time.
const CALLS_MAX: usize = 32;
/// Bytes of an answer to a command.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// A command must be answered within this span after the last answer.
const ANSWER_TIMEOUT: Span = Span::from_secs(10);

/// The kept connection for commands. Answers come in the order of the commands.
#[derive(Debug)]
struct Calls {
    pipe: Pipe,
    in_flight: VecDeque<CallId>,
    /// The answer that is being read.
    status: u16,
    retry_after: Option<Span>,
    persistent: bool,
    body: Vec<u8>,
    /// The last command that found the line empty, or the last answer.
    since: Instant,
}

/// One agent with its connections.
///
/// ```no_run
/// use std::ops::ControlFlow;
/// use ahm::client::event::{Event, parse_topic};
/// use ahm::client::link::Link;
/// use ahm::client::settings::Settings;
/// use ahm::reactor::url::Server;
/// use ahm::wire::command::OpenRequest;
///
/// let server = Server::parse("http://127.0.0.1:8080", "/ahm/").unwrap();
/// let mut link = Link::new(server, Settings::default(), 1)?;
/// let now = link.now();
/// link.agent().subscribe(OpenRequest::new(parse_topic("fx/EURUSD").unwrap()), now).unwrap();
/// link.run(|_agent, event| {
///     if let Event::Message { payload, .. } = event {
///         println!("{}", String::from_utf8_lossy(&payload));
///     }
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Link {
    agent: Agent,
    server: Server,
    clock: Clock,
    poller: Poller,
    /// Not yet tried, the next last; looked up again when all were tried.
    addresses: Vec<SocketAddr>,
    streams: BTreeMap<StreamId, Pipe>,
    calls: Option<Calls>,
    waiting: VecDeque<(CallId, Request)>,
    /// Connections that may have more to read without an edge.
    again: Vec<Token>,
    ready: Vec<(Token, bool, bool)>,
    buffer: Vec<u8>,
    signals: Option<Signals>,
    interrupted: bool,
}

impl Link {
    /// A link to `server`. Links with different seeds spread their waits.
    ///
    /// # Errors
    /// From the operating system.
    pub fn new(server: Server, settings: Settings, seed: u64) -> io::Result<Self> {
        Ok(Self {
            agent: Agent::new(settings, seed),
            server,
            clock: Clock::start(),
            poller: Poller::new(64)?,
            addresses: Vec::new(),
            streams: BTreeMap::new(),
            calls: None,
            waiting: VecDeque::new(),
            again: Vec::new(),
            ready: Vec::new(),
            buffer: vec![0; 64 * 1024],
            signals: None,
            interrupted: false,
        })
    }

    /// The agent, for commands.
    pub fn agent(&mut self) -> &mut Agent {
        &mut self.agent
    }

    /// Now, on the link's clock.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A waker that ends a [`Link::turn`] from another thread.
    ///
    /// # Errors
    /// From the operating system. Only one can be made.
    pub fn waker(&self) -> io::Result<Arc<Waker>> {
        self.poller.waker(WAKER)
    }

    /// Has SIGINT, SIGTERM and SIGHUP of the process stop the agent instead of killing the process.
    ///
    /// # Errors
    /// From the operating system.
    pub fn watch_signals(&mut self) -> io::Result<()> {
        let mut signals = Signals::new()?;
        signals.register(self.poller.registry(), SIGNALS)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Whether a signal has stopped the agent.
    pub fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Runs until `each` breaks or the agent has stopped; then ends the session.
    ///
    /// # Errors
    /// From the operating system's polling; troubles with the server are events.
    pub fn run(
        &mut self,
        mut each: impl FnMut(&mut Agent, Event) -> ControlFlow<()>,
    ) -> io::Result<()> {
        loop {
            while let Some(event) = self.agent.poll_event() {
                let stopped = event == Event::State(StreamState::Stopped);
                if each(&mut self.agent, event).is_break() || stopped {
                    return self.close(Span::from_secs(1));
                }
            }
            self.turn(None)?;
        }
    }

    /// Ends the session, and waits up to `within` for the farewell to be answered.
    ///
    /// # Errors
    /// From the operating system's polling.
    pub fn close(&mut self, within: Span) -> io::Result<()> {
        let until = self.now() + within;
        let now = self.now();
        self.agent.stop(now);
        self.drain(now);
        while (self.calls.as_ref().is_some_and(|calls| !calls.in_flight.is_empty())
            || !self.waiting.is_empty())
            && self.now() < until
        {
            self.turn(Some(until.since(self.now())))?;
        }
        Ok(())
    }

    /// One turn: waits until something happens, at most for `timeout`, and handles it. What it
    /// means for the consumer is then in the agent's `poll_event`.
    ///
    /// # Errors
    /// From the operating system's polling.
    pub fn turn(&mut self, timeout: Option<Span>) -> io::Result<()> {
        let now = self.clock.now();
        self.drain(now);
        let until = [self.agent.poll_timeout(), self.calls_timeout()].into_iter().flatten().min();
        let mut wait = until.map(|until| until.since(now)).into_iter().chain(timeout).min();
        if !self.again.is_empty() {
            wait = Some(Span::ZERO);
        }
        self.poller.poll(wait)?;
        let now = self.clock.now();
        let mut ready = std::mem::take(&mut self.ready);
        let again = std::mem::take(&mut self.again);
        ready.extend(again.into_iter().map(|token| (token, true, false)));
        ready.extend(self.poller.events().map(|it| (it.token, it.readable, it.writable)));
        for (token, readable, writable) in ready.drain(..) {
            match token {
                WAKER => {}
                SIGNALS => self.take_signals(now),
                CALLS => self.calls_ready(readable, writable, now),
                Token(number) => {
                    let stream = StreamId((number - STREAMS) as u64);
                    self.stream_ready(stream, readable, writable, now);
                }
            }
            self.drain(now);
        }
        self.ready = ready;
        if self.calls_timeout().is_some_and(|at| at <= now) {
            self.lose_calls(now);
        }
        if self.agent.poll_timeout().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now);
        }
        self.drain(now);
        Ok(())
    }

    fn take_signals(&mut self, now: Instant) {
        let Some(signals) = &mut self.signals else { return };
        if signals.pending().count() > 0 {
            self.interrupted = true;
            self.agent.stop(now);
        }
    }

    /// Does what the agent asks for.
    fn drain(&mut self, now: Instant) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::OpenStream { stream, request, .. } => {
                    self.open_stream(stream, &request, now)
                }
                Output::CloseStream { stream } => drop(self.streams.remove(&stream)),
                Output::Call { call, request, .. } => self.waiting.push_back((call, request)),
            }
        }
        self.send_calls(now);
    }

    fn dial(&mut self, token: Token, body_bytes_max: u64) -> Result<Pipe, String> {
        if self.addresses.is_empty() {
            self.addresses = self.server.resolve().map_err(|error| error.to_string())?;
            self.addresses.reverse();
        }
        let address = self.addresses.last().ok_or("the host has no address")?;
        let pipe = Pipe::dial(*address, self.poller.registry(), token, body_bytes_max);
        pipe.map_err(|error| {
            self.addresses.pop();
            error.to_string()
        })
    }

    fn open_stream(&mut self, stream: StreamId, request: &Request, now: Instant) {
        let pipe = self.dial(Token(stream.0 as usize + STREAMS), u64::MAX).and_then(|mut pipe| {
            put_request(pipe.out(), &self.server, request);
            pipe.flush().map(|()| pipe)
        });
        match pipe {
            Ok(pipe) => drop(self.streams.insert(stream, pipe)),
            Err(detail) => self.agent.handle_end(stream, &detail, now),
        }
    }

    fn stream_ready(&mut self, stream: StreamId, readable: bool, writable: bool, now: Instant) {
        // Out of the table while it is at work; what the agent closes meanwhile is dropped below.
        let Some(mut pipe) = self.streams.remove(&stream) else { return };
        if writable && let Err(detail) = pipe.flush() {
            self.addresses.pop(); // the next attempt goes to the next address
            self.agent.handle_end(stream, &detail, now);
            return;
        }
        let mut read = Read::Blocked;
        if readable {
            let agent = &mut self.agent;
            let mut whole = false;
            read = pipe.read(&mut self.buffer, |part| match part {
                Part::Head { status, retry_after, .. } => {
                    agent.handle_head(stream, status, retry_after, now);
                }
                Part::Body(bytes) => agent.handle_bytes(stream, bytes, now),
                Part::End => whole = true,
            });
            if whole {
                read = Read::Over("the document ended".into());
            }
        }
        match read {
            Read::Over(detail) => {
                self.agent.handle_end(stream, &detail, now);
                return;
            }
            Read::More => self.again.push(Token(stream.0 as usize + STREAMS)),
            Read::Blocked => {}
        }
        self.streams.insert(stream, pipe);
    }

    fn calls_timeout(&self) -> Option<Instant> {
        let calls = self.calls.as_ref().filter(|calls| !calls.in_flight.is_empty())?;
        Some(calls.since + ANSWER_TIMEOUT)
    }

    fn send_calls(&mut self, now: Instant) {
        if self.waiting.is_empty() {
            return;
        }
        if self.calls.is_none() {
            match self.dial(CALLS, ANSWER_BYTES_MAX) {
                Ok(pipe) => {
                    let (in_flight, body) = (VecDeque::new(), Vec::new());
                    let (retry_after, since) = (None, now);
                    self.calls = Some(Calls {
                        pipe,
                        in_flight,
                        status: 0,
                        retry_after,
                        persistent: true,
                        body,
                        since,
                    });
                }
                Err(_) => {
                    self.fail_waiting(now);
                    return;
                }
            }
        }
        let Some(calls) = &mut self.calls else { return };
        while calls.in_flight.len() < CALLS_MAX
            && let Some((call, request)) = self.waiting.pop_front()
        {
            if calls.in_flight.is_empty() {
                calls.since = now;
            }
            put_request(calls.pipe.out(), &self.server, &request);
            calls.in_flight.push_back(call);
        }
        if calls.pipe.flush().is_err() {
            self.lose_calls(now);
        }
    }

    fn calls_ready(&mut self, readable: bool, writable: bool, now: Instant) {
        let Some(mut calls) = self.calls.take() else { return };
        let mut over = writable && calls.pipe.flush().is_err();
        if readable && !over {
            let Calls { pipe, in_flight, status, retry_after, persistent, body, since } =
                &mut calls;
            let agent = &mut self.agent;
            let read = pipe.read(&mut self.buffer, |part| match part {
                Part::Head { status: code, retry_after: wait, persistent: kept } => {
                    (*status, *retry_after, *persistent) = (code, wait, kept);
                    body.clear();
                }
                Part::Body(bytes) => body.extend_from_slice(bytes),
                Part::End => {
                    *since = now;
                    // Behind this connection is a server without our session: another connection
                    // may come to the one that has it.
                    over |= *status == ErrorCode::WrongServer.status();
                    if let Some(call) = in_flight.pop_front() {
                        agent.handle_answer(call, *status, *retry_after, body, now);
                    }
                }
            });
            match read {
                Read::Over(_) => over = true,
                Read::More => self.again.push(CALLS),
                Read::Blocked => {}
            }
            // Kept no longer than the answer that says so.
            over |= !*persistent && pipe.is_idle();
        }
        self.calls = Some(calls);
        if over {
            self.lose_calls(now);
        }
    }

    /// The connection for commands is over; whoever has no answer is told so.
    fn lose_calls(&mut self, now: Instant) {
        let Some(calls) = self.calls.take() else { return };
        for call in calls.in_flight {
            self.agent.handle_failure(call, now);
        }
    }

    fn fail_waiting(&mut self, now: Instant) {
        for (call, _) in std::mem::take(&mut self.waiting) {
            self.agent.handle_failure(call, now);
        }
    }
}
