//! A server of several parts as one station of a switchboard: whoever dials it says which part is
//! meant, and talks to that from then on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::links::{Links, Output};
use crate::link::peer::{End, Other};
use crate::link::station::Station;
use crate::mem::slab::Slots;
use crate::testing::gateway::Gateway;
use crate::wire::resource::Frame;
use crate::wire::resource_decode::Decoder;

/// Bytes of a frame before it is known which part is meant.
const FRAME_BYTES: usize = 4_096;

/// Where a connection is.
#[derive(Debug)]
enum Guest {
    /// It has not said yet which part it wants; what it has said.
    AtTheDoor(Vec<u8>),
    /// At that part, under that key.
    In(usize, Key),
}

/// The server. Its parts share nothing but the address.
#[derive(Debug)]
pub struct House {
    parts: Vec<Rc<RefCell<Gateway>>>,
    guests: Slots<Guest>,
    /// The keys of the parts' connections, in this station's words.
    inside: BTreeMap<(usize, Key), Key>,
    /// Connections that were closed before they came to a part.
    outputs: Vec<Output>,
}

impl House {
    /// A server of these parts.
    pub fn new(parts: Vec<Rc<RefCell<Gateway>>>) -> Self {
        let (guests, inside) = (Slots::new(0), BTreeMap::new());
        Self { parts, guests, inside, outputs: Vec::new() }
    }

    fn with(&self, link: Key, act: impl FnOnce(&mut Gateway, Key)) {
        if let Some(Guest::In(part, inner)) = self.guests.get(link) {
            act(&mut self.parts[*part].borrow_mut(), *inner);
        }
    }

    fn own(&mut self, part: usize, inner: Key) -> Key {
        let guests = &mut self.guests;
        *self.inside.entry((part, inner)).or_insert_with(|| guests.insert(Guest::In(part, inner)))
    }

    fn translate(&mut self, part: usize, output: Output) -> Output {
        match output {
            Output::Dial(inner, address) => Output::Dial(self.own(part, inner), address),
            Output::Send(inner) => Output::Send(self.own(part, inner)),
            Output::Close(inner) => {
                let link = self.own(part, inner);
                self.inside.remove(&(part, inner));
                self.guests.remove(link);
                Output::Close(link)
            }
        }
    }

    fn wait_for_part(&mut self, link: Key, bytes: &[u8], now: Instant) {
        let Some(Guest::AtTheDoor(received)) = self.guests.get_mut(link) else { return };
        received.extend_from_slice(bytes);
        let mut wanted = None;
        let heard = Decoder::new(FRAME_BYTES).push(received, |frame| {
            if let Frame::Part { part } = frame {
                wanted = wanted.or(Some(part));
            }
        });
        if heard.is_err() {
            self.guests.remove(link);
            return self.outputs.push(Output::Close(link));
        }
        let Some(part) = wanted.map(|part| part as usize % self.parts.len()) else { return };
        let received = std::mem::take(received);
        let mut gateway = self.parts[part].borrow_mut();
        let inner = gateway.handle_accepted(now);
        if let Some(guest) = self.guests.get_mut(link) {
            *guest = Guest::In(part, inner);
        }
        self.inside.insert((part, inner), link);
        gateway.handle_received(inner, &received, now);
    }
}

impl Station for House {
    fn links(&mut self) -> &mut Links {
        unreachable!("its parts keep their connections to themselves")
    }

    fn on_greeted(&mut self, _link: Key) {}

    fn on_frame(&mut self, _link: Key, _frame: &Frame<'_>) {}

    fn on_over(&mut self, _link: Key, _other: Option<Other>, _end: End) {}

    fn handle_accepted(&mut self, _now: Instant) -> Key {
        self.guests.insert(Guest::AtTheDoor(Vec::new()))
    }

    fn handle_connected(&mut self, link: Key, now: Instant) {
        self.with(link, |gateway, inner| gateway.handle_connected(inner, now));
    }

    fn handle_failed(&mut self, link: Key, now: Instant) {
        match self.guests.get(link) {
            Some(Guest::In(..)) => {
                self.with(link, |gateway, inner| gateway.handle_failed(inner, now));
            }
            Some(Guest::AtTheDoor(_)) => drop(self.guests.remove(link)),
            None => {}
        }
    }

    fn handle_received(&mut self, link: Key, bytes: &[u8], now: Instant) {
        self.with(link, |gateway, inner| gateway.handle_received(inner, bytes, now));
        self.wait_for_part(link, bytes, now);
    }

    fn handle_writable(&mut self, link: Key, now: Instant) {
        self.with(link, |gateway, inner| gateway.handle_writable(inner, now));
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.parts.iter().for_each(|part| part.borrow_mut().handle_timeout(now));
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.parts.iter().filter_map(|part| part.borrow_mut().poll_timeout()).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop() {
            return Some(output);
        }
        for part in 0..self.parts.len() {
            let output = self.parts[part].borrow_mut().poll_output();
            if let Some(output) = output {
                return Some(self.translate(part, output));
            }
        }
        None
    }

    fn transmit(&mut self, link: Key, now: Instant, write: &mut dyn FnMut(&[u8]) -> (usize, bool)) {
        self.with(link, |gateway, inner| gateway.transmit(inner, now, write));
    }
}
