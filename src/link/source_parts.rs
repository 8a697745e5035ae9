//! Consumers that a source has dialled: they learn what is served here without any registry, and
//! each of their parts has a connection of its own.
//!
//! Part 0 of a consumer leads: the others are dialled once it is there and has said how many there
//! are. So a consumer that is away costs one attempt at a time, however many parts it had, and one
//! that was started anew with fewer is not asked for those that are gone.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::links::Links;
use crate::link::source::Source;
use crate::link::source_dial::Dial;
use crate::link::source_error::SourceError;
use crate::wire::resource::{Frame, Role};

impl Source {
    /// A connection to that part of a consumer was made by another way than dialling. It begins
    /// like one that was dialled, and is not dialled again when it ends.
    pub fn handle_attached(&mut self, part: u32, now: Instant) -> Key {
        self.links.set_now(now);
        let link = self.links.adopt(part);
        self.attached.insert(link);
        link
    }

    /// The names of all resources that are served here.
    ///
    /// # Errors
    ///
    /// If this source stops.
    pub fn resources(&self) -> Result<impl Iterator<Item = &str>, SourceError> {
        match self.leaving {
            None => Ok(self.offices.iter().map(|office| office.served.name.as_str())),
            Some(_) => Err(SourceError::Stopped),
        }
    }

    /// Whether it may be dialled: a part other than the first only while that is there.
    pub(crate) fn is_led(&self, dial: &Dial) -> bool {
        let leads = |other: &Dial| other.part == 0 && is_to(other, dial);
        let is_there = |other: &Dial| other.link.is_some_and(|link| self.lanes.contains_key(&link));
        dial.part == 0 || self.dials.iter().any(|other| leads(other) && is_there(other))
    }

    /// Whether a consumer of this connection is to be told what is served here.
    pub(crate) fn is_host(&self, link: Key) -> bool {
        let is_dialled = |dial: &Dial| dial.role() == Role::Consumer && dial.link() == Some(link);
        self.attached.contains(&link) || self.dials.iter().any(is_dialled)
    }

    /// The connections of consumers that know what is served here.
    pub(crate) fn hosts(&self) -> Vec<Key> {
        self.lanes.keys().copied().filter(|link| self.is_host(*link)).collect()
    }

    /// A consumer that was dialled has greeted.
    pub(crate) fn register_with(&mut self, link: Key) {
        for office in self.offices.iter().filter(|office| office.withdrawn.is_none()) {
            let handle = office.served.handle(&[]);
            self.links.send(link, &Frame::Register { resource: &office.served.name, handle });
        }
    }

    /// A consumer says of how many parts it consists.
    pub(crate) fn take_parts(&mut self, link: Key, parts: u32) {
        if self.attached.contains(&link) {
            return; // whoever attached it knows
        }
        let Some(at) = self.dials.iter().position(|dial| dial.link() == Some(link)) else {
            return self.links.break_off(link, "parts are for who has dialled");
        };
        let now = self.links.now();
        if parts == 0 {
            // It is served to its end, and whoever comes next to the address may be there already.
            self.attached.insert(link);
            (self.dials[at].link, self.dials[at].due) = (None, now + self.retry());
            return;
        }
        let address = self.dials[at].address.clone();
        let is_there = |dial: &Dial| dial.role() == Role::Consumer && dial.address == address;
        for dial in self.dials.extract_if(.., |dial| is_there(dial) && dial.part >= parts) {
            leave_part(&mut self.links, &dial);
        }
        for part in 0..parts {
            if !self.dials.iter().any(|dial| is_there(dial) && dial.part == part) {
                self.dials.push(Dial::new(address.clone(), Role::Consumer, part, now));
            }
        }
        self.dial_due();
    }
}

fn is_to(one: &Dial, other: &Dial) -> bool {
    one.role() == other.role() && one.address == other.address
}

fn leave_part(links: &mut Links, dial: &Dial) {
    if let Some(link) = dial.link() {
        links.leave(link, "there is no such part any more");
    }
}
