//! Drives one agent over TCP and TLS from a plain blocking loop.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use mio::{Token, Waker};

use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::event::{
    CallId, Event, Failure, Output, Request, RouteId, StreamId, StreamState,
};
use crate::client::line::Line;
use crate::client::pass::Pass;
use crate::client::pipe::Read;
use crate::client::settings::Settings;
use crate::client::stream::Stream;
use crate::client::way::Way;
use crate::reactor::clock::Clock;
use crate::reactor::poller::Poller;
use crate::reactor::signals::Signals;
use crate::reactor::url::Server;

/// Routes of one agent.
pub const ROUTES_MAX: usize = 16;

/// Wakes the loop from another thread.
const WAKER: Token = Token(0);
/// Signals of the process.
const SIGNALS: Token = Token(1);
/// Added to the place of a way: its connection for commands.
const LINES: usize = 2;
/// Added to the number of a stream.
const STREAMS: usize = LINES + 2 * ROUTES_MAX;

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
    pub(crate) agent: Agent,
    /// First those of the routes, then as many for their logins.
    pub(crate) ways: Vec<Way>,
    pub(crate) pass: Pass,
    clock: Clock,
    poller: Poller,
    streams: BTreeMap<StreamId, Stream>,
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
        Self::over(vec![server], settings, seed)
    }

    /// A link over several routes, the one to prefer first. They may lead to one server or to
    /// several that are fed with the same numbers; with [`Settings::duplicates`] the agent keeps
    /// documents on them at the same time. How many there are needs not be in the settings.
    ///
    /// ```no_run
    /// use ahm::client::link::Link;
    /// use ahm::client::settings::Settings;
    /// use ahm::reactor::url::Server;
    ///
    /// let both = ["http://127.0.0.1:8080", "http://127.0.0.1:9080"];
    /// let servers = both.map(|url| Server::parse(url, "/ahm/").unwrap());
    /// let settings = Settings { duplicates: 1, ..Settings::default() };
    /// let mut link = Link::over(servers.to_vec(), settings, 1)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// From the operating system; without a server, and with more than [`ROUTES_MAX`].
    pub fn over(servers: Vec<Server>, settings: Settings, seed: u64) -> io::Result<Self> {
        if servers.is_empty() || servers.len() > ROUTES_MAX {
            let detail = format!("a link has 1 to {ROUTES_MAX} routes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, detail));
        }
        let settings = Settings { routes: servers.len() as u8, ..settings };
        Ok(Self {
            agent: Agent::new(settings, seed),
            ways: servers.iter().chain(&servers).cloned().map(Way::to).collect(),
            pass: Pass::default(),
            clock: Clock::start(),
            poller: Poller::new(64)?,
            streams: BTreeMap::new(),
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
        let busy =
            |way: &Way| !way.waiting.is_empty() || way.line.as_ref().is_some_and(Line::is_waiting);
        let waits = |streams: &BTreeMap<_, Stream>| streams.values().any(Stream::is_waiting);
        while (self.ways.iter().any(busy) || waits(&self.streams)) && self.now() < until {
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
        let until = [self.agent.poll_timeout(), self.lines_timeout()].into_iter().flatten().min();
        let mut wait = until.map(|until| until.since(now)).into_iter().chain(timeout).min();
        if !self.again.is_empty() || self.agent.has_events() {
            // No edge would tell of that.
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
                Token(number @ LINES..STREAMS) => {
                    self.line_ready(number - LINES, (readable, writable), now);
                }
                Token(number) => {
                    let stream = StreamId((number - STREAMS) as u64);
                    self.stream_ready(stream, (readable, writable), now);
                }
            }
            self.drain(now);
        }
        self.ready = ready;
        for way in 0..self.ways.len() {
            let line = self.ways[way].line.as_ref();
            if line.and_then(Line::timeout).is_some_and(|at| at <= now) {
                self.lose_line(way, &late(), now);
            }
        }
        for stream in self.streams.values_mut() {
            if stream.timeout().is_some_and(|at| at <= now) {
                fail(&mut self.agent, stream.give_up(), &late(), now);
            }
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
                Output::OpenStream { stream, route, request } => {
                    self.open_stream(stream, route, &request, now);
                }
                Output::CloseStream { stream } => {
                    if let Some(mut stream) = self.streams.remove(&stream) {
                        fail(&mut self.agent, stream.give_up(), &closed(), now);
                    }
                }
                Output::Login { call, route, request } => {
                    self.log_in(route, (call, request), now);
                }
                Output::Call { call, route, request } => {
                    self.ways[usize::from(route.0)].waiting.push_back((call, request));
                }
            }
        }
        for way in 0..self.ways.len() {
            self.send_calls(way, now);
        }
    }

    fn open_stream(&mut self, stream: StreamId, route: RouteId, request: &Request, now: Instant) {
        let way = &mut self.ways[usize::from(route.0)];
        let token = Token(stream.0 as usize + STREAMS);
        let wait = (self.poller.registry(), token);
        let dialed = way.peer().and_then(|peer| Stream::dial((route, peer), wait, request, now));
        match dialed {
            Ok(dialed) => drop(self.streams.insert(stream, dialed)),
            Err(failure) => {
                way.addresses.pop(); // the next attempt goes to the next address
                end(&mut self.agent, stream, &failure, now);
            }
        }
    }

    fn stream_ready(&mut self, id: StreamId, ready: (bool, bool), now: Instant) {
        // Out of the table while it is at work; what the agent closes meanwhile is dropped below.
        let Some(mut stream) = self.streams.remove(&id) else { return };
        let read = match stream.ready(ready) {
            Ok(true) => stream.read(id, &mut self.buffer, &mut self.agent, now),
            Ok(false) => Read::Blocked,
            Err(failure) => {
                self.ways[usize::from(stream.route.0)].addresses.pop();
                return self.lose_stream(id, stream, &failure, now);
            }
        };
        match read {
            Read::Over(failure) => return self.lose_stream(id, stream, &failure, now),
            Read::More => self.again.push(Token(id.0 as usize + STREAMS)),
            Read::Blocked => {}
        }
        self.streams.insert(id, stream);
    }

    /// A document's connection is over, and with it the commands beside it.
    fn lose_stream(&mut self, id: StreamId, mut stream: Stream, failure: &Failure, now: Instant) {
        end(&mut self.agent, id, failure, now);
        fail(&mut self.agent, stream.give_up(), failure, now);
    }

    fn lines_timeout(&self) -> Option<Instant> {
        let lines = self.ways.iter().filter_map(|way| way.line.as_ref()?.timeout());
        lines.chain(self.streams.values().filter_map(Stream::timeout)).min()
    }

    fn send_calls(&mut self, at: usize, now: Instant) {
        let way = &mut self.ways[at];
        if way.waiting.is_empty() {
            return;
        }
        // The newest: the one before it is about to be closed.
        let route = RouteId(at as u8);
        let mut streams = self.streams.iter_mut().rev();
        if let Some((&id, stream)) = streams.find(|(_, stream)| stream.takes_calls(route)) {
            if let Err(failure) = stream.send(&mut way.waiting, &way.server, now)
                && let Some(stream) = self.streams.remove(&id)
            {
                self.lose_stream(id, stream, &failure, now);
            }
            return;
        }
        let wait = (self.poller.registry(), Token(LINES + at));
        if let Err(failure) = way.send(wait, now) {
            if way.line.is_some() {
                return self.lose_line(at, &failure, now);
            }
            let calls = std::mem::take(&mut way.waiting).into_iter().map(|(call, _)| call);
            fail(&mut self.agent, calls.collect(), &failure, now);
        }
    }

    fn line_ready(&mut self, at: usize, ready: (bool, bool), now: Instant) {
        let Self { ways, agent, buffer, again, .. } = self;
        let Some(line) = &mut ways[at].line else { return };
        let read = line.ready(ready, buffer, now, |answered| {
            let (status, wait) = (answered.status, answered.retry_after);
            agent.handle_answer(answered.call, status, wait, answered.body, now);
        });
        match read {
            Read::Over(failure) => self.lose_line(at, &failure, now),
            Read::More => again.push(Token(LINES + at)),
            Read::Blocked => {}
        }
    }

    /// The connection for commands is over; whoever has no answer is told so.
    fn lose_line(&mut self, at: usize, failure: &Failure, now: Instant) {
        let Some(line) = self.ways[at].line.take() else { return };
        fail(&mut self.agent, line.unanswered(), failure, now);
    }
}

fn closed() -> Failure {
    Failure::Broken("the connection was closed".into())
}

fn late() -> Failure {
    Failure::Broken("no answer in time".into())
}

/// Commands were lost with their connection.
fn fail(agent: &mut Agent, calls: Vec<CallId>, failure: &Failure, now: Instant) {
    calls.into_iter().for_each(|call| agent.handle_lost(call, failure.clone(), now));
}

/// A document's connection is over.
fn end(agent: &mut Agent, stream: StreamId, failure: &Failure, now: Instant) {
    match failure {
        Failure::Untrusted(detail) => agent.handle_untrusted(stream, detail, now),
        Failure::Broken(detail) => agent.handle_end(stream, detail, now),
        _ => agent.handle_end(stream, "the connection is lost", now),
    }
}
