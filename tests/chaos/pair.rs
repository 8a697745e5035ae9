//! One connection through the proxy: two sockets, two ways, and what goes wrong on them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::faults::{Counts, Fault, Faults, Way};

/// Bytes that one way holds.
const BUFFER_BYTES: usize = 16 * 1024;
/// Reads and writes of one way before others have their turn.
const STEPS_MAX: usize = 8;
/// Between two writes of a trickle.
const TRICKLE_PAUSE: Duration = Duration::from_millis(1);
/// For so long what is read is delayed.
const DELAY_FOR: Duration = Duration::from_secs(1);

/// When a pair is to be looked at again.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Never: it is over.
    Over,
    /// As soon as others have had their turn.
    Again,
    /// When its sockets say so, or at this moment.
    Wait(Option<Instant>),
}

/// Why a pair is over.
enum End {
    /// Both sides are told in order.
    Order,
    /// Both are reset.
    Reset,
}

/// Bytes on one way.
#[derive(Debug)]
struct Lane {
    buffer: Vec<u8>,
    written: usize,
    source_ended: bool,
    /// The receiver was told the end; what still comes is thrown away.
    closed: bool,
    /// Nothing is passed on before.
    until: Option<Instant>,
    delay: Duration,
    delay_until: Option<Instant>,
    trickle: u32,
    left: Option<u32>,
}

impl Lane {
    fn new() -> Self {
        Self {
            buffer: Vec::new(),
            written: 0,
            source_ended: false,
            closed: false,
            until: None,
            delay: Duration::ZERO,
            delay_until: None,
            trickle: 0,
            left: None,
        }
    }
}

#[derive(Debug)]
struct Side {
    stream: Option<TcpStream>,
    readable: bool,
    writable: bool,
}

/// One connection through the proxy.
#[derive(Debug)]
pub struct Pair {
    /// The client's, the server's.
    sides: [Side; 2],
    /// By [`Way`].
    lanes: [Lane; 2],
    faults: Option<Faults>,
    next: Option<(Instant, Fault)>,
    /// One side is gone, the other is kept until then.
    orphan: Option<Instant>,
    /// Nothing is passed on until then, and then both are reset.
    hole: Option<Instant>,
}

const fn sides_of(way: Way) -> (usize, usize) {
    match way {
        Way::Up => (0, 1),
        Way::Down => (1, 0),
    }
}

fn reset(stream: Option<TcpStream>) {
    if let Some(stream) = stream {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

impl Pair {
    /// Connects `client` with `target`.
    pub fn new(
        mut client: TcpStream,
        target: SocketAddr,
        registry: &Registry,
        tokens: [Token; 2],
        faults: Option<Faults>,
    ) -> io::Result<Self> {
        let mut server = TcpStream::connect(target)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut client, tokens[0], interest)?;
        registry.register(&mut server, tokens[1], interest)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let side = |stream| Side { stream: Some(stream), readable: false, writable: false };
        let mut pair = Self {
            sides: [side(client), side(server)],
            lanes: [Lane::new(), Lane::new()],
            faults,
            next: None,
            orphan: None,
            hole: None,
        };
        pair.draw(Instant::now());
        Ok(pair)
    }

    /// A socket has something to say.
    pub fn ready(&mut self, side: usize, readable: bool, writable: bool) {
        self.sides[side].readable |= readable;
        self.sides[side].writable |= writable;
    }

    /// No more faults.
    pub fn calm(&mut self) {
        (self.faults, self.next) = (None, None);
        let now = Instant::now();
        for at in [&mut self.orphan, &mut self.hole].into_iter().flatten() {
            *at = now;
        }
        for lane in &mut self.lanes {
            (lane.until, lane.delay_until, lane.left, lane.trickle) = (None, None, None, 0);
        }
    }

    fn draw(&mut self, from: Instant) {
        let next = self.faults.as_mut().map(Faults::next);
        self.next = next.map(|(wait, fault)| (from + wait, fault));
    }

    /// Passes on what there is, and does what is due.
    pub fn turn(&mut self, now: Instant, counts: &Counts) -> Next {
        if let Some((at, fault)) = self.next.filter(|(at, _)| *at <= now) {
            counts.add(fault);
            self.draw(at);
            if self.strike(fault, now) {
                return Next::Over;
            }
        }
        if let Some(until) = self.orphan.or(self.hole) {
            if until > now {
                return Next::Wait(Some(until));
            }
            if self.hole.is_some() {
                self.sides.iter_mut().for_each(|side| reset(side.stream.take()));
            }
            return Next::Over;
        }
        let mut again = false;
        for way in Way::BOTH {
            match self.pass(way, now) {
                Ok(busy) => again |= busy,
                Err(End::Order) => return Next::Over,
                Err(End::Reset) => {
                    self.sides.iter_mut().for_each(|side| reset(side.stream.take()));
                    return Next::Over;
                }
            }
        }
        if self.lanes.iter().all(|lane| lane.closed) {
            return Next::Over;
        }
        if again {
            return Next::Again;
        }
        let next = self.next.map(|(at, _)| at).into_iter();
        Next::Wait(next.chain(self.lanes.iter().filter_map(|lane| lane.until)).min())
    }

    /// Lets `fault` happen; true: the pair is over.
    fn strike(&mut self, fault: Fault, now: Instant) -> bool {
        match fault {
            Fault::Reset(way) => {
                reset(self.sides[sides_of(way).1].stream.take());
                return true;
            }
            Fault::Orphan(way, span) => {
                reset(self.sides[sides_of(way).1].stream.take());
                self.orphan = Some(now + span);
            }
            Fault::Hole(span) => self.hole = Some(now + span),
            Fault::HalfClose(way) => self.close(way),
            Fault::Stall(way, span) => self.lane(way).until = Some(now + span),
            Fault::Delay(way, span) => {
                self.lane(way).delay = span;
                self.lane(way).delay_until = Some(now + DELAY_FOR);
            }
            Fault::Trickle(way, writes) => self.lane(way).trickle = writes,
            Fault::Cut(way, bytes) => self.lane(way).left = Some(bytes),
        }
        false
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        &mut self.lanes[way as usize]
    }

    fn close(&mut self, way: Way) {
        if let Some(stream) = &self.sides[sides_of(way).1].stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
        let lane = self.lane(way);
        (lane.closed, lane.written) = (true, 0);
        lane.buffer.clear();
    }

    /// Passes bytes on; true: more could be done at once.
    fn pass(&mut self, way: Way, now: Instant) -> Result<bool, End> {
        for _ in 0..STEPS_MAX {
            let lane = &mut self.lanes[way as usize];
            if lane.until.is_some_and(|until| until > now) {
                return Ok(false);
            }
            lane.until = None;
            let moved = match lane.written < lane.buffer.len() {
                true => self.write(way, now)?,
                false if lane.source_ended => {
                    if !lane.closed {
                        self.close(way);
                    }
                    return Ok(false);
                }
                false => self.read(way, now)?,
            };
            if !moved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&mut self, way: Way, now: Instant) -> Result<bool, End> {
        let source = &mut self.sides[sides_of(way).0];
        let lane = &mut self.lanes[way as usize];
        let Some(stream) = source.stream.as_mut().filter(|_| source.readable) else {
            return Ok(false);
        };
        lane.buffer.resize(BUFFER_BYTES, 0);
        lane.written = 0;
        let outcome = stream.read(&mut lane.buffer);
        lane.buffer.truncate(*outcome.as_ref().unwrap_or(&0));
        match outcome {
            Ok(0) => lane.source_ended = true,
            Ok(_) if lane.closed => lane.buffer.clear(),
            Ok(_) if lane.delay_until.is_some_and(|until| until > now) => {
                lane.until = Some(now + lane.delay);
            }
            Ok(_) => {}
            Err(error) if is_passing(&error) => {
                source.readable = error.kind() == io::ErrorKind::Interrupted;
                return Ok(source.readable);
            }
            Err(_) => return Err(End::Reset),
        }
        Ok(true)
    }

    fn write(&mut self, way: Way, now: Instant) -> Result<bool, End> {
        let target = &mut self.sides[sides_of(way).1];
        let lane = &mut self.lanes[way as usize];
        let Some(stream) = target.stream.as_mut().filter(|_| target.writable) else {
            return Ok(false);
        };
        let mut bytes = &lane.buffer[lane.written..];
        if lane.trickle > 0 {
            let piece = self.faults.as_mut().map_or(1, Faults::piece);
            bytes = &bytes[..bytes.len().min(piece)];
        }
        if let Some(left) = lane.left {
            bytes = &bytes[..bytes.len().min(left as usize)];
            if bytes.is_empty() {
                return Err(End::Order);
            }
        }
        match stream.write(bytes) {
            Ok(count) => {
                lane.written += count;
                lane.left = lane.left.map(|left| left - count as u32);
                if lane.trickle > 0 {
                    lane.trickle -= 1;
                    lane.until = Some(now + TRICKLE_PAUSE);
                }
                Ok(true)
            }
            Err(error) if is_passing(&error) => {
                target.writable = error.kind() == io::ErrorKind::Interrupted;
                Ok(target.writable)
            }
            Err(_) => Err(End::Reset),
        }
    }
}

/// Whether the socket only has to be asked later.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), WouldBlock | NotConnected | Interrupted)
}
