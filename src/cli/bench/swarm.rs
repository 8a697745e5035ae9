//! All subscribers, on one thread: sockets registered once, edge-triggered, one shared buffer.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use hdrhistogram::Histogram;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::cli::bench::lines::{Lines, Shape};
use crate::cli::bench::plan::Plan;
use crate::cli::bench::sink::{Gauge, Sink, Topics, histogram, record};
use crate::cli::bench::tally::{Mode, Slot};
use crate::http::response::{ResponseFraming, parse_response};
use crate::reactor::clock::Clock;

/// Bytes of the buffer that all streams are read into.
const BUFFER_BYTES: usize = 256 * 1024;
/// Buffers that one stream may fill before the others have their turn.
const READS_PER_TURN: usize = 2;
/// Streams that may be between connect and opened at once: fewer than the smallest usual backlog
/// (128) holds. A connection that finds the backlog full tries again only after a second.
const PENDING_MAX: usize = 120;

#[derive(Debug)]
enum Phase {
    /// Connecting: nothing has been sent.
    Dialing,
    /// The request is out; the head of the answer so far.
    Asked(Vec<u8>),
    Streaming(Lines),
    /// Open and never read again.
    Stalled,
    Gone,
}

#[derive(Debug)]
struct Subscriber {
    stream: TcpStream,
    phase: Phase,
    /// Open channels.
    open: u32,
    hint: u32,
    begun: Instant,
}

/// What one turn found for a stream.
enum Progress {
    /// The socket is empty: its next edge will come.
    Empty,
    /// There may be more; no edge will say so.
    More,
}

/// Every stream of the run.
#[derive(Debug)]
pub struct Swarm<'p> {
    plan: &'p Plan,
    clock: Clock,
    poll: Poll,
    events: Option<Events>,
    buffer: Box<[u8]>,
    subscribers: Vec<Subscriber>,
    slots: Vec<Slot>,
    topics: Topics,
    /// Streams that stopped reading because their turn was over.
    again: Vec<usize>,
    /// Streams with all their channels open.
    open: usize,
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
    pub fn new(plan: &'p Plan, clock: Clock) -> io::Result<Self> {
        Ok(Self {
            plan,
            clock,
            poll: Poll::new()?,
            events: Some(Events::with_capacity(1024)),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            subscribers: Vec::with_capacity(plan.streams()),
            slots: vec![Slot::default(); plan.streams() * plan.per],
            topics: Topics::new(),
            again: Vec::new(),
            open: 0,
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

    /// True once every stream of the run is open.
    pub fn is_open(&self) -> bool {
        self.open == self.plan.streams()
    }

    /// Streams that are connected or about to be.
    pub fn begun(&self) -> usize {
        self.subscribers.len()
    }

    /// Begins connections until `count` have been begun, as far as not too many are on their way.
    ///
    /// # Errors
    /// A sentence: the system has no socket, no port or no way to the server.
    pub fn dial(&mut self, count: usize) -> Result<(), String> {
        let count = count.min(self.plan.streams()).min(self.open + PENDING_MAX);
        while self.subscribers.len() < count {
            let at = self.subscribers.len();
            let stream = self.connect(at).map_err(|error| format!("connection {at}: {error}"))?;
            let (phase, begun) = (Phase::Dialing, self.clock.now());
            self.subscribers.push(Subscriber { stream, phase, open: 0, hint: 0, begun });
        }
        Ok(())
    }

    fn connect(&self, at: usize) -> io::Result<TcpStream> {
        let address = self.plan.server.address;
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if !self.plan.sources.is_empty() {
            let source = self.plan.sources[at % self.plan.sources.len()];
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let mut stream = TcpStream::from_std(socket.into());
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
        let server = &self.plan.server;
        let subscriber = &mut self.subscribers[at];
        if let Ok(Some(error)) | Err(error) = subscriber.stream.take_error() {
            return Err(format!("connect to {}: {error}", server.address));
        }
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ahm-bench\r\nAccept: text/html\r\n\r\n",
            self.plan.target(at),
            server.authority,
        );
        match subscriber.stream.write(request.as_bytes()) {
            Ok(count) if count == request.len() => {
                subscriber.phase = Phase::Asked(Vec::new());
                Ok(())
            }
            // A fresh socket's buffer holds far more than the longest target allowed.
            Ok(_) => Err("the request did not fit into an empty socket".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            Err(error) => Err(format!("request: {error}")),
        }
    }

    fn read(&mut self, at: usize, to_the_end: bool) {
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
        if matches!(subscriber.phase, Phase::Dialing | Phase::Stalled | Phase::Gone) {
            return Ok(Progress::Empty);
        }
        let count = match subscriber.stream.read(&mut self.buffer) {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Empty),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Progress::More),
            Err(error) => return Err(format!("read: {error}")),
        };
        self.heard = self.gauge.look();
        self.take(at, count)?;
        let empty = count < self.buffer.len() && !to_the_end;
        Ok(if empty { Progress::Empty } else { Progress::More })
    }

    /// Hands the first `count` bytes of the buffer to stream `at`.
    fn take(&mut self, at: usize, count: usize) -> Result<(), String> {
        let Self { plan, buffer, subscribers, slots, topics, gauge, .. } = self;
        let subscriber = &mut subscribers[at];
        let mut bytes = &buffer[..count];
        let body;
        if let Phase::Asked(head) = &mut subscriber.phase {
            head.extend_from_slice(bytes);
            let Some((shape, consumed)) = document(head)? else { return Ok(()) };
            body = head.split_off(consumed);
            bytes = &body;
            subscriber.phase = Phase::Streaming(Lines::new(shape));
        }
        let Phase::Streaming(lines) = &mut subscriber.phase else { return Ok(()) };
        let was_open = subscriber.open as usize == plan.per;
        let mut sink = Sink {
            plan,
            stream: at,
            slots: &mut slots[at * plan.per..][..plan.per],
            hint: &mut subscriber.hint,
            open: &mut subscriber.open,
            topics,
            gauge,
            problem: None,
        };
        lines.push(bytes, |line| sink.line(line)).map_err(|broken| broken.0.to_owned())?;
        if let Some(problem) = sink.problem {
            return Err(problem);
        }
        if lines.is_over() {
            return Err("the server ended the document".to_owned());
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
        if at >= self.plan.subscribers {
            // Its edges are of no interest any more; the socket stays and fills up.
            let _ = self.poll.registry().deregister(&mut subscriber.stream);
            subscriber.phase = Phase::Stalled;
        }
    }

    fn cut(&mut self, at: usize, problem: &str) {
        let subscriber = &mut self.subscribers[at];
        let _ = self.poll.registry().deregister(&mut subscriber.stream);
        subscriber.phase = Phase::Gone;
        self.gauge.tally.ended += 1;
        if self.problem.is_none() {
            self.problem = Some(format!("stream {at}: {problem}"));
        }
    }

    /// Deliveries that `accepted` messages of each topic should have made.
    pub fn expected(&self, accepted: &[u64]) -> u64 {
        let channels = 0..self.plan.subscribers * self.plan.per;
        let topic = |at: usize| self.plan.topic(at / self.plan.per, at % self.plan.per);
        channels.map(|at| accepted[topic(at)]).sum()
    }

    /// Places where `accepted` messages of each topic should have arrived, or in mode `latest` the
    /// `newest`, and have not.
    pub fn missing(&self, accepted: &[u64], newest: &[u64]) -> u64 {
        let per = self.plan.per;
        let slots = &self.slots[..self.plan.subscribers * per];
        let missing = slots.iter().enumerate().map(|(at, slot)| {
            let topic = self.plan.topic(at / per, at % per);
            match self.plan.mode {
                Mode::Queue => accepted[topic].saturating_sub(slot.unique),
                Mode::Latest => u64::from(slot.last_seq < newest[topic]),
            }
        });
        missing.sum()
    }
}

/// The framing of a document and the length of its head; `None` while the head is not complete.
fn document(head: &[u8]) -> Result<Option<(Shape, usize)>, String> {
    let parsed = parse_response(head).map_err(|error| format!("answer: {error:?}"))?;
    let Some((parts, consumed)) = parsed else {
        let fits = head.len() <= limits::HEAD_BYTES_MAX;
        return if fits { Ok(None) } else { Err("answer: the head has no end".to_owned()) };
    };
    if parts.status != 200 {
        let body = &head[consumed..][..(head.len() - consumed).min(300)];
        let body = String::from_utf8_lossy(body);
        return Err(format!("the server answered {}: {}", parts.status, body.trim()));
    }
    let chunked = matches!(parts.framing, ResponseFraming::Chunked);
    Ok(Some((if chunked { Shape::Chunked } else { Shape::Plain }, consumed)))
}
