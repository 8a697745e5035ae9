//! A proxy that passes bytes on and breaks connections: one thread, one loop, any number of pairs.

use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use crate::faults::{Counts, Faults, Profile};
use crate::pair::{Next, Pair};

const WAKER: Token = Token(0);
const LISTENER: Token = Token(1);
/// Added to twice the place of a pair; the odd one of the two is its connection to the server.
const PAIRS: usize = 2;

/// What proxy and test share.
#[derive(Debug)]
struct Shared {
    /// Where connections lead.
    target: Mutex<SocketAddr>,
    counts: Counts,
    connections: AtomicU64,
    /// No more faults: what is stalled goes on.
    calm: AtomicBool,
    over: AtomicBool,
}

/// A running proxy. Dropping it ends it.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Proxy {
    /// Begins to pass connections on to `target`.
    pub fn start(target: SocketAddr, profile: Profile, seed: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind("127.0.0.1:0".parse().map_err(io::Error::other)?)?;
        let address = listener.local_addr()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            counts: Counts::default(),
            connections: AtomicU64::new(0),
            calm: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let mut work = Loop {
            poll,
            listener,
            shared: Arc::clone(&shared),
            profile,
            seed,
            pairs: Slab::new(),
            timers: BinaryHeap::new(),
            again: Vec::new(),
            calm: false,
        };
        let thread = thread::Builder::new().name("proxy".into()).spawn(move || work.run())?;
        Ok(Self { address, shared, waker, thread: Some(thread) })
    }

    /// The faults so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// The connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections from now on lead to `target`.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// Ends all faults.
    pub fn calm(&self) {
        self.shared.calm.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        let _ = self.waker.wake();
        let outcome = self.thread.take().map(JoinHandle::join);
        if let Some(Ok(Err(error))) = outcome {
            eprintln!("the proxy ended with an error: {error}");
        }
    }
}

/// A moment at which a pair is to be looked at; the earliest is the greatest.
#[derive(Debug, PartialEq, Eq)]
struct Timer {
    at: Instant,
    pair: usize,
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.at.cmp(&self.at).then(other.pair.cmp(&self.pair))
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Loop {
    poll: Poll,
    listener: TcpListener,
    shared: Arc<Shared>,
    profile: Profile,
    seed: u64,
    pairs: Slab<Pair>,
    /// A timer of a pair that is gone, or was put off, wakes whoever is there in vain.
    timers: BinaryHeap<Timer>,
    /// Pairs that have used up their turn.
    again: Vec<usize>,
    calm: bool,
}

impl Loop {
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.shared.over.load(Ordering::Acquire) {
            let now = Instant::now();
            let next = self.timers.peek().map(|timer| timer.at.saturating_duration_since(now));
            let wait = if self.again.is_empty() { next } else { Some(Duration::ZERO) };
            // Rounded up: a timer that is due in a moment would be waited for in a circle.
            let wait = wait.map(|wait| match wait.is_zero() {
                true => wait,
                false => Duration::from_millis(wait.as_millis() as u64 + 1),
            });
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                outcome => outcome?,
            }
            let mut due = std::mem::take(&mut self.again);
            events.iter().for_each(|event| self.event(event, &mut due));
            let now = Instant::now();
            while self.timers.peek().is_some_and(|timer| timer.at <= now) {
                due.extend(self.timers.pop().map(|timer| timer.pair));
            }
            if !self.calm && self.shared.calm.load(Ordering::Acquire) {
                self.calm = true;
                self.pairs.iter_mut().for_each(|(_, pair)| pair.calm());
                due.extend(self.pairs.iter().map(|(at, _)| at));
            }
            due.sort_unstable();
            due.dedup();
            due.into_iter().for_each(|pair| self.serve(pair));
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, due: &mut Vec<usize>) {
        let number = match event.token() {
            WAKER => return,
            LISTENER => return self.accept(due),
            Token(number) => number - PAIRS,
        };
        if let Some(pair) = self.pairs.get_mut(number / 2) {
            let broken = event.is_error();
            let readable = event.is_readable() || event.is_read_closed() || broken;
            let writable = event.is_writable() || event.is_write_closed() || broken;
            pair.ready(number % 2, readable, writable);
            due.push(number / 2);
        }
    }

    fn accept(&mut self, due: &mut Vec<usize>) {
        while let Ok((client, _)) = self.listener.accept() {
            let number = self.shared.connections.fetch_add(1, Ordering::Relaxed);
            let faults = (!self.calm).then(|| Faults::new(self.profile, self.seed, number));
            let target = *self.shared.target.lock().unwrap();
            let entry = self.pairs.vacant_entry();
            let tokens = [0, 1].map(|side| Token(PAIRS + 2 * entry.key() + side));
            due.push(entry.key());
            if let Ok(pair) = Pair::new(client, target, self.poll.registry(), tokens, faults) {
                entry.insert(pair);
            }
        }
    }

    fn serve(&mut self, at: usize) {
        let Some(pair) = self.pairs.get_mut(at) else { return };
        match pair.turn(Instant::now(), &self.shared.counts) {
            Next::Over => drop(self.pairs.remove(at)),
            Next::Again => self.again.push(at),
            Next::Wait(timer) => {
                self.timers.extend(timer.map(|when| Timer { at: when, pair: at }));
            }
        }
    }
}
