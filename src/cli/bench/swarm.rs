//! Subscribers of one role, on one thread: sockets registered once, edge-triggered, one shared
//! buffer.

use std::collections::HashMap;
use std::io::{self, Read};

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::base::time::{Instant, Span};
use crate::cli::bench::copies::Copies;
use crate::cli::bench::dial;
use crate::cli::bench::peer::feed::Feed;
use crate::cli::bench::plan::{Plan, Role};
use crate::cli::bench::roles::{Awake, WAKING_BYTES, Waking};
use crate::cli::bench::sink::{Gauge, Sink, Topics, histogram, record};
use crate::cli::bench::tally::Slot;
use crate::reactor::clock::Clock;

/// Bytes of the buffer that all streams are read into.
const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers that one stream may fill before the others have their turn.
const READS_PER_TURN: usize = 2;
/// Streams that may be between connect and opened at once: fewer than the smallest usual backlog
/// (128) holds. A connection that finds the backlog full tries again only after a second.
const PENDING_MAX: usize = 120;
/// Broken streams that are closed in one turn: a thousand at once would be felt by the others.
const CLOSES_PER_TURN: usize = 4;

#[derive(Debug)]
pub(crate) enum Phase {
    /// Connecting: nothing has been sent.
    Dialing,
    /// The request is out; the head of the answer so far.
    Asked(Vec<u8>),
    Streaming(Feed),
    /// Open, and not read for now.
    Stalled(Feed),
    Gone,
}

#[derive(Debug)]
pub(crate) struct Subscriber {
    /// `None` when it is gone.
    pub(crate) stream: Option<TcpStream>,
    pub(crate) phase: Phase,
    /// Names its session in a target.
    session: Option<Box<str>>,
    /// Open channels.
    pub(crate) open: u32,
    hint: u32,
    pub(crate) begun: Instant,
}

/// What one turn found for a stream.
enum Progress {
    /// The socket is empty: its next edge will come.
    Empty,
    /// There may be more; no edge will say so.
    More,
}

/// The streams of one role, on one thread.
#[derive(Debug)]
pub struct Swarm<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) role: Role,
    /// The number of the first stream.
    pub(crate) first: usize,
    pub(crate) count: usize,
    pub(crate) clock: Clock,
    pub(crate) poll: Poll,
    events: Option<Events>,
    pub(crate) buffer: Box<[u8]>,
    pub(crate) subscribers: Vec<Subscriber>,
    pub(crate) slots: Vec<Slot>,
    /// What both streams of each subscriber came to, in runs with two servers.
    pub copies: Copies,
    /// Streams of a server that is killed may break from then on.
    pub breaks_from: Instant,
    /// Broken streams that are not closed yet.
    broken: Vec<TcpStream>,
    topics: Topics,
    /// Streams that stopped reading because their turn was over.
    again: Vec<usize>,
    /// Streams with all their channels open.
    pub(crate) open: usize,
    pub(crate) waking: HashMap<usize, Waking>,
    /// Whether streams that are lost are expected back.
    pub(crate) returning: bool,
    /// Streams that have woken up and seen something fresh.
    pub awake: Vec<Awake>,
    /// Streams that came to nothing on their way back.
    pub failed: Vec<usize>,
    /// When stalled streams were dropped by the server.
    pub dropped: Vec<Instant>,
    /// What arrived.
    pub gauge: Gauge,
    /// Time from connect to the last opened frame, for each stream.
    pub opening: Histogram<u64>,
    /// When bytes last came.
    pub heard: Instant,
    /// The first thing that went wrong with a stream, with its number.
    pub problem: Option<String>,
}

impl<'p> Swarm<'p> {
    /// A swarm without any stream.
    ///
    /// # Errors
    /// The system gives no poller.
    pub fn new(plan: &'p Plan, role: Role, clock: Clock) -> io::Result<Self> {
        let numbers = plan.numbers(role);
        let count = numbers.len();
        Ok(Self {
            plan,
            role,
            first: numbers.start,
            count,
            clock,
            poll: Poll::new()?,
            events: Some(Events::with_capacity(1024)),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            subscribers: Vec::with_capacity(count),
            slots: vec![Slot::default(); count * plan.per],
            copies: Copies::new(plan),
            breaks_from: Instant::NEVER,
            broken: Vec::new(),
            topics: Topics::new(),
            again: Vec::new(),
            open: 0,
            waking: HashMap::new(),
            returning: false,
            awake: Vec::new(),
            failed: Vec::new(),
            dropped: Vec::new(),
            gauge: Gauge::new(clock),
            opening: histogram(),
            heard: clock.now(),
            problem: None,
        })
    }

    /// Streams with all their channels open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// True once every stream is open.
    pub fn is_open(&self) -> bool {
        self.open == self.count
    }

    /// Streams there are when all are open.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Begins connections until `count` have been begun, as far as not too many are on their way.
    /// Where the server is near they stand at once, and are asked without waiting for that edge.
    ///
    /// # Errors
    /// A sentence: the system has no socket, no port or no way to the server.
    pub fn dial(&mut self, count: usize) -> Result<(), String> {
        let count = count.min(self.count).min(self.open + PENDING_MAX);
        while self.subscribers.len() < count {
            let at = self.subscribers.len();
            let stream = self.connect(at).map_err(|error| format!("connection {at}: {error}"))?;
            let (stream, session) = (Some(stream), None);
            let (phase, begun) = (Phase::Dialing, self.clock.now());
            self.subscribers.push(Subscriber { stream, phase, session, open: 0, hint: 0, begun });
            if let Err(problem) = self.ask(at) {
                self.cut(at, &problem);
            }
        }
        Ok(())
    }

    /// A socket for stream `number`, with the token `at`.
    pub(crate) fn connect(&self, at: usize) -> io::Result<TcpStream> {
        let Plan { sources, receive_buffer, .. } = self.plan;
        let number = self.first + at;
        let server = self.plan.server_of(number);
        let source = (!sources.is_empty()).then(|| sources[number % sources.len()]);
        let receive_buffer = receive_buffer.filter(|_| self.role == Role::Stalled);
        let mut stream = dial::connect(server.address, source, receive_buffer)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(at), interest)?;
        Ok(stream)
    }

    /// Waits at most `timeout` and handles what there is.
    ///
    /// # Errors
    /// A sentence: the poller failed.
    pub fn turn(&mut self, timeout: Span) -> Result<(), String> {
        let timeout = if self.again.is_empty() { timeout } else { Span::ZERO };
        let mut events = self.events.take().expect("put back at the end of every turn");
        let polled = self.poll.poll(&mut events, Some(timeout.to_std()));
        match polled {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(format!("poll: {error}"));
            }
            _ => {}
        }
        self.broken.truncate(self.broken.len().saturating_sub(CLOSES_PER_TURN));
        let again = std::mem::take(&mut self.again);
        for event in &events {
            self.event(event);
        }
        events.clear();
        self.events = Some(events);
        for at in again {
            self.read(at, true);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event) {
        let at = event.token().0;
        if matches!(self.subscribers[at].phase, Phase::Stalled(_)) {
            if event.is_error() || event.is_write_closed() {
                self.dropped.push(self.clock.now());
                (self.subscribers[at].stream, self.subscribers[at].phase) = (None, Phase::Gone);
            }
            return;
        }
        if matches!(self.subscribers[at].phase, Phase::Dialing) {
            if !event.is_writable() && !event.is_error() {
                return;
            }
            if let Err(problem) = self.ask(at) {
                self.cut(at, &problem);
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            // Only who knows that no end is waiting behind the bytes may stop at a short read.
            self.read(at, event.is_read_closed() || event.is_error());
        }
    }

    /// The connection stands, or failed: sends the request.
    fn ask(&mut self, at: usize) -> Result<(), String> {
        let number = self.first + at;
        let subscriber = &mut self.subscribers[at];
        let Some(stream) = &mut subscriber.stream else { return Ok(()) };
        let server = self.plan.server_of(number);
        let request = match &subscriber.session {
            None => self.plan.hello(number),
            Some(session) => {
                let slots = &self.slots[at * self.plan.per..][..self.plan.per];
                let last: Vec<String> = slots.iter().filter_map(Slot::position).collect();
                dial::request(server, &self.plan.target_again(session, &last.join(",")), dial::HTML)
            }
        };
        if dial::ask(stream, server, &request)? {
            let feed = self.plan.feed();
            subscriber.phase = feed.map_or_else(|| Phase::Asked(Vec::new()), Phase::Streaming);
        }
        Ok(())
    }

    pub(crate) fn read(&mut self, at: usize, to_the_end: bool) {
        for _ in 0..READS_PER_TURN {
            match self.read_once(at, to_the_end) {
                Ok(Progress::More) => {}
                Ok(Progress::Empty) => return,
                Err(problem) => return self.cut(at, &problem),
            }
        }
        self.again.push(at);
    }

    fn read_once(&mut self, at: usize, to_the_end: bool) -> Result<Progress, String> {
        let subscriber = &mut self.subscribers[at];
        let Some(stream) = &mut subscriber.stream else { return Ok(Progress::Empty) };
        if matches!(subscriber.phase, Phase::Dialing | Phase::Stalled(_) | Phase::Gone) {
            return Ok(Progress::Empty);
        }
        let waking = !self.waking.is_empty() && self.waking.contains_key(&at);
        let room = if waking { WAKING_BYTES } else { self.buffer.len() };
        let count = match stream.read(&mut self.buffer[..room]) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Empty),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Progress::More),
            Err(error) => return Err(format!("read: {error}")),
        };
        self.heard = self.gauge.look();
        (self.gauge.oldest, self.gauge.youngest) = (Instant::NEVER, Instant::ZERO);
        self.take(at, count)?;
        if waking {
            self.look_for_fresh(at, count);
        }
        let empty = count < room && !to_the_end;
        Ok(if empty { Progress::Empty } else { Progress::More })
    }

    /// Hands the first `count` bytes of the buffer to stream `at`.
    fn take(&mut self, at: usize, count: usize) -> Result<(), String> {
        let Self { plan, buffer, subscribers, slots, copies, topics, gauge, .. } = self;
        let subscriber = &mut subscribers[at];
        let (mut bytes, mut replies, mut begins) = (&buffer[..count], Vec::new(), false);
        let body;
        if let Phase::Asked(head) = &mut subscriber.phase {
            head.extend_from_slice(bytes);
            let Some((feed, consumed)) = plan.peer.answered(head)? else { return Ok(()) };
            body = head.split_off(consumed);
            (bytes, begins) = (&body, true);
            replies = plan.peer.reply(plan, self.first + at);
            subscriber.phase = Phase::Streaming(feed);
        }
        let Phase::Streaming(feed) = &mut subscriber.phase else { return Ok(()) };
        let was_open = subscriber.open as usize == plan.per;
        let mut sink = Sink {
            plan,
            stream: self.first + at,
            pairing: copies.of(plan.reader(self.first + at), plan.per),
            session: &mut subscriber.session,
            slots: &mut slots[at * plan.per..][..plan.per],
            hint: &mut subscriber.hint,
            open: &mut subscriber.open,
            topics,
            gauge,
            problem: None,
        };
        if begins {
            feed.begin(&mut sink);
        }
        feed.push(bytes, &mut sink, &mut replies)?;
        if let Some(problem) = sink.problem {
            return Err(problem);
        }
        if let Some(stream) = &mut subscriber.stream
            && !replies.is_empty()
        {
            dial::say(stream, &replies)?;
        }
        if !was_open && subscriber.open as usize == plan.per {
            self.opened(at);
        }
        Ok(())
    }

    fn opened(&mut self, at: usize) {
        self.open += 1;
        let subscriber = &mut self.subscribers[at];
        record(&mut self.opening, self.clock.now().since(subscriber.begun));
        if self.role == Role::Stalled
            && let Some(stream) = &mut subscriber.stream
            && let Phase::Streaming(feed) = std::mem::replace(&mut subscriber.phase, Phase::Gone)
        {
            // Only its end is of interest; the socket stays and fills up.
            let _ = self.poll.registry().reregister(stream, Token(at), Interest::WRITABLE);
            subscriber.phase = Phase::Stalled(feed);
        }
    }

    /// The stream is over; what is still to be said about it depends on what it was for.
    pub(crate) fn cut(&mut self, at: usize, problem: &str) {
        if self.may_break(at) {
            let subscriber = &mut self.subscribers[at];
            self.broken.extend(subscriber.stream.take());
            (subscriber.open, subscriber.phase) = (0, Phase::Gone);
            self.copies.cut += 1;
            return;
        }
        let subscriber = &mut self.subscribers[at];
        let was_open = subscriber.open as usize == self.plan.per;
        (subscriber.stream, subscriber.open, subscriber.phase) = (None, 0, Phase::Gone);
        if self.returning {
            self.slots[at * self.plan.per..][..self.plan.per]
                .iter_mut()
                .for_each(|slot| slot.open = false);
            self.open -= usize::from(was_open);
            self.failed.push(at);
            return;
        }
        self.gauge.tally.ended += 1;
        if self.problem.is_none() {
            self.problem = Some(format!("stream {}: {problem}", self.first + at));
        }
    }
}
