//! Where resource servers dial in: a thread that listens to each until it has said which part of
//! this server it wants to talk to, and then hands the connection to that shard.
//!
//! It says nothing itself but why somebody is sent away, and it decides nothing but whether the
//! greeting is one and the key is right; the shard gets every byte that was read, and greets. So
//! connections of the protocol live in one place, and no shard ever waits for strangers.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use mio::Token;

use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::greeting::check_hello;
use crate::reactor::clock::Clock;
use crate::reactor::poller::Poller;
use crate::reactor::tls_shake::Shaken;
use crate::reactor::transport::{Io, Transport};
use crate::resource::driver_door::Door;
use crate::resource::protection::Protection;
use crate::server::handle::put;
use crate::shard::guest::Guest;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;
use crate::wire::resource::{Frame, Role};
use crate::wire::resource_decode::Decoder;
use crate::wire::resource_encode::put_frame;

/// The waker's token; listeners have those below it, connections all others.
const END: Token = Token(usize::MAX);
const EVENTS_MAX: usize = 256;
/// Connections that have not said yet what they want.
const WAITING_MAX: usize = 256;
/// How long they may take for it.
const PATIENCE: Span = Span::from_secs(5);
/// Bytes that they may need for it.
const BYTES_MAX: usize = 4 * 1024;
/// How long a listener that could not accept is left alone.
const ACCEPT_RETRY: Span = Span::from_millis(5);

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Reception {
    addresses: Vec<Address>,
    ender: Ender,
    thread: Option<JoinHandle<()>>,
}

/// Ends a reception, from any thread.
#[derive(Clone)]
pub(crate) struct Ender {
    ends: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
}

impl Ender {
    /// Nobody is let in any more; does not wait for that.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::warn!("the listener for resource servers cannot be woken: {error}");
        }
    }
}

impl fmt::Debug for Ender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ender").finish_non_exhaustive()
    }
}

impl Reception {
    /// Listens there, and has those that show the key (if it is none, all) go to the shards.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or the process has no descriptor or thread left.
    pub(crate) fn start(
        (listen, tls): (&[Address], &Protection),
        key: String,
        shards: Vec<Sender<Mail>>,
    ) -> io::Result<Self> {
        let opened = listen.iter().map(|address| Door::open(address, tls));
        let opened = opened.collect::<io::Result<Vec<_>>>()?;
        let (mut doors, addresses): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let poller = Poller::new(EVENTS_MAX)?;
        for (index, door) in doors.iter_mut().enumerate() {
            door.register(poller.registry(), Token(END.0 - 1 - index))?;
        }
        let ender = Ender { ends: Arc::default(), waker: poller.waker(END)? };
        let ends = Arc::clone(&ender.ends);
        let room = Room { poller, clock: Clock::start(), callers: HashMap::new(), key, shards };
        let thread = std::thread::Builder::new().name("reception".into()).spawn(move || {
            if let Err(error) = room.run(&mut doors, &ends) {
                log::error!("resource servers cannot dial in any more: {error}");
            }
        })?;
        Ok(Self { addresses, ender, thread: Some(thread) })
    }

    /// The addresses that it listens on.
    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What ends it.
    pub(crate) fn ender(&self) -> Ender {
        self.ender.clone()
    }
}

impl Drop for Reception {
    fn drop(&mut self) {
        self.ender.end();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the listener for resource servers has panicked");
        }
    }
}

/// Somebody who has not said yet what is wanted.
struct Caller {
    transport: Transport,
    name: String,
    received: Vec<u8>,
    until: Instant,
}

impl Caller {
    /// Whether it can be read, once TLS is set up on its connection.
    fn is_ready(&mut self) -> io::Result<bool> {
        match &mut self.transport {
            Transport::Tls(secure) if secure.is_handshaking() => {
                Ok(matches!(secure.shake()?, Shaken::Done(_)))
            }
            transport => transport.flush().map(|_| true),
        }
    }
}

struct Room {
    poller: Poller,
    clock: Clock,
    callers: HashMap<usize, Caller>,
    key: String,
    shards: Vec<Sender<Mail>>,
}

impl Room {
    fn run(mut self, doors: &mut [Door], ends: &AtomicBool) -> io::Result<()> {
        let mut next = 0;
        let mut accept_at = Some(Instant::ZERO);
        loop {
            let moments = self.callers.values().map(|caller| caller.until).chain(accept_at);
            let now = self.clock.now();
            self.poller.poll(moments.min().map(|at| at.since(now)))?;
            if ends.load(Ordering::Acquire) {
                return Ok(());
            }
            let ready: Vec<usize> = self.poller.events().map(|ready| ready.token.0).collect();
            let now = self.clock.now();
            let is_door = |token: &usize| *token < END.0 && END.0 - 1 - *token < doors.len();
            if ready.iter().any(is_door) || accept_at.is_some_and(|at| at <= now) {
                accept_at = self.accept(doors, &mut next, now);
            }
            for token in ready {
                self.read(token);
            }
            self.end_silent(now);
        }
    }

    /// Lets in who waits; when to try again, if somebody could not be let in.
    fn accept(&mut self, doors: &mut [Door], next: &mut usize, now: Instant) -> Option<Instant> {
        for door in doors {
            loop {
                match door.accept() {
                    Ok(Some(transport)) => self.welcome(transport, next, now),
                    Ok(None) => break,
                    Err(error) => {
                        log::warn!("accept: {error}");
                        return Some(now + ACCEPT_RETRY);
                    }
                }
            }
        }
        None
    }

    fn welcome(&mut self, mut transport: Transport, next: &mut usize, now: Instant) {
        let name = name(&transport);
        if self.callers.len() >= WAITING_MAX {
            let what = "too many connections have not said what they want: closed";
            return log::warn!("{name}: {what}");
        }
        let token = *next;
        // Far from those of the listeners, whatever happens.
        *next = (token + 1) % (usize::MAX / 2);
        if let Err(error) = transport.register(self.poller.registry(), Token(token)) {
            return log::warn!("{name}: {error}");
        }
        let until = now + PATIENCE;
        let caller = Caller { transport, name, received: Vec::new(), until };
        self.callers.insert(token, caller);
    }

    fn read(&mut self, token: usize) {
        let mut buffer = [0; BYTES_MAX];
        loop {
            let Some(caller) = self.callers.get_mut(&token) else { return };
            match caller.is_ready() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.lose(token, &format!("TLS handshake: {error}")),
            }
            match caller.transport.read(&mut buffer) {
                Io::Bytes(count) | Io::All(count) => {
                    caller.received.extend_from_slice(&buffer[..count]);
                    match hear(&caller.received, &self.key) {
                        Heard::TooLittle => {}
                        Heard::Part(part, who) => return self.hand_over(token, part, &who),
                        Heard::Wrong(what) => return self.send_away(token, &what),
                    }
                }
                Io::Blocked => return,
                Io::Closed => return self.lose(token, "closed before it said what it wants"),
                Io::Failed(error) => return self.lose(token, &error.to_string()),
            }
        }
    }

    fn hand_over(&mut self, token: usize, part: u32, who: &str) {
        let Some(mut caller) = self.callers.remove(&token) else { return };
        if let Err(error) = caller.transport.deregister(self.poller.registry()) {
            return log::warn!("{}: {error}", caller.name);
        }
        let shard = part as usize % self.shards.len();
        log::debug!("resource server {who} has come from {} to shard {shard}", caller.name);
        let Caller { transport, received, .. } = caller;
        let guest = Guest { transport, received, expected: Vec::new() };
        // A shard that is gone needs no guests.
        let _ = put(&self.shards[shard], Mail::Guest(Box::new(guest)));
    }

    fn send_away(&mut self, token: usize, reason: &str) {
        let Some(mut caller) = self.callers.remove(&token) else { return };
        log::warn!("{}: not let in as a resource server: {reason}", caller.name);
        let mut bytes = Vec::new();
        put_frame(&mut bytes, &Frame::Bye { reason });
        // Whoever does not take these few bytes now has to do without.
        let _ = caller.transport.write_vectored(&[IoSlice::new(&bytes)]);
    }

    fn lose(&mut self, token: usize, why: &str) {
        if let Some(caller) = self.callers.remove(&token) {
            log::debug!("{}: {why}", caller.name);
        }
    }

    fn end_silent(&mut self, now: Instant) {
        let silent = self.callers.iter().filter(|(_, caller)| caller.until <= now);
        let silent: Vec<usize> = silent.map(|(token, _)| *token).collect();
        let what = format!("it has not said within {PATIENCE} which part it wants");
        silent.into_iter().for_each(|token| self.send_away(token, &what));
    }
}

fn name(transport: &Transport) -> String {
    match transport {
        Transport::Unix(_) => "a process of this machine".into(),
        Transport::Plain(_) | Transport::Tls(_) => {
            transport.peer_addr().map_or_else(|_| "somebody".into(), |peer| peer.to_string())
        }
    }
}

/// What the first bytes of a connection come to.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    TooLittle,
    /// Which part is wanted, and by whom.
    Part(u32, String),
    Wrong(String),
}

fn hear(received: &[u8], key: &str) -> Heard {
    let mut decoder = Decoder::new(BYTES_MAX);
    let (mut greeted, mut heard) = (None, Heard::TooLittle);
    let outcome = decoder.push(received, |frame| {
        if heard != Heard::TooLittle {
            return; // it is for the shard
        }
        heard = match (&greeted, frame) {
            (None, Frame::Hello { version, role, name, key: shown, instance, .. }) => {
                greeted = Some(format!("{name} ({:016x})", instance.0));
                match check_hello(version, shown, key) {
                    Err(why) => Heard::Wrong(why.into()),
                    Ok(()) if role != Role::Resource => {
                        Heard::Wrong("only resource servers dial this address".into())
                    }
                    Ok(()) => Heard::TooLittle,
                }
            }
            (None, _) => Heard::Wrong("the first frame is no Hello".into()),
            (Some(who), Frame::Part { part }) => Heard::Part(part, who.clone()),
            (Some(_), _) => Heard::Wrong("no Part follows the Hello".into()),
        };
    });
    match (heard, outcome) {
        (Heard::TooLittle, Err(error)) => {
            Heard::Wrong(format!("it does not speak the protocol: {error}"))
        }
        (Heard::TooLittle, Ok(())) if received.len() >= BYTES_MAX => {
            Heard::Wrong(format!("{BYTES_MAX} bytes without saying which part it wants"))
        }
        (heard, _) => heard,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::resource::InstanceId;

    fn hello(version: u32, role: Role, key: &'static str) -> Frame<'static> {
        let (instance, heartbeat) = (InstanceId(5), Span::from_secs(1));
        Frame::Hello { version, role, instance, heartbeat, name: "rates", key }
    }

    fn said(frames: &[Frame<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| put_frame(&mut bytes, frame));
        bytes
    }

    fn wrong(bytes: &[u8], key: &str) -> String {
        match hear(bytes, key) {
            Heard::Wrong(what) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_greeting_and_a_part_are_enough_in_any_split() {
        let good = hello(1, Role::Resource, "open sesame 1234");
        let pong = Frame::Pong { stamp: 1 };
        let bytes = said(&[good.clone(), Frame::Part { part: 7 }]);
        for end in 0..bytes.len() {
            assert_eq!(hear(&bytes[..end], "open sesame 1234"), Heard::TooLittle, "{end}");
        }
        let part = Heard::Part(7, "rates (0000000000000005)".into());
        assert_eq!(hear(&bytes, "open sesame 1234"), part);
        assert_eq!(hear(&bytes, ""), part);
        let more = said(&[good, Frame::Part { part: 7 }, pong]);
        assert_eq!(hear(&more, ""), part);
    }

    #[test]
    fn who_is_not_let_in_is_told_why() {
        let good = || hello(1, Role::Resource, "shown");
        let mut web = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        web.resize(80, b'x');
        let cases = [
            (said(&[hello(0, Role::Resource, "")]), "there is no version 0"),
            (said(&[hello(1, Role::Consumer, "")]), "only resource servers dial this address"),
            (said(&[Frame::Pong { stamp: 1 }]), "the first frame is no Hello"),
            (said(&[good(), Frame::Pong { stamp: 1 }]), "no Part follows the Hello"),
            (said(&[good(), good()]), "no Part follows the Hello"),
            (web, "it does not speak the protocol: no frame has the kind 69"),
            (vec![0xff; 16], "it does not speak the protocol"),
            (vec![0xa1, 0x20], "it does not speak the protocol: a frame of 4129 bytes is too"),
        ];
        for (bytes, wanted) in cases {
            let said = wrong(&bytes, "");
            assert!(said.starts_with(wanted), "{said}, not {wanted}");
        }
        let said = wrong(&said(&[good()]), "demanded");
        assert_eq!(said, "the key is not the one that is demanded here");
    }
}
